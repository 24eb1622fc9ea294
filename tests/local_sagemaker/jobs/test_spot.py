"""Spot: interruptions, empty disks, restored checkpoints, waiting."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.emulator import BUCKET, LocalSageMaker, ask

pytestmark = pytest.mark.docker

# Told to stop, it ends between two steps, where its files fit together; begun again, it has five steps to go.
COUNTER = """\
cd /opt/ml/checkpoints; touch /opt/ml/model/rest
trap 'stop=yes' TERM
step=$(cat step 2> /dev/null || echo 0); echo begins at $step with $(ls) and $(ls /opt/ml/model)
if [ $step -gt 0 ]; then STEPS=$((step + 5)); fi
while [ $step -lt $STEPS ]; do
    if [ "$stop" ]; then exit 0; fi
    sleep 0.1; step=$((step + 1))
    echo $step > new && mv new step; touch at-$step; rm -f at-$((step - 2))
    if [ $step = 5 ]; then echo five; fi
done
cp step /opt/ml/model/"""


def spot(steps: int, prefix: str, **fields: Any) -> dict[str, Any]:
    return {
        "Environment": {"SCRIPT": COUNTER, "STEPS": str(steps)},
        "EnableManagedSpotTraining": True,
        "StoppingCondition": {"MaxRuntimeInSeconds": 900, "MaxWaitTimeInSeconds": 900},
        "CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/{prefix}"},
    } | fields


def left_at(step: int) -> set[str]:
    """Return what COUNTER's folder holds after a step."""
    return {"step", f"at-{step - 1}", f"at-{step}"}


def test_an_interrupted_job_goes_on_from_its_checkpoint_with_empty_disks(sagemaker: LocalSageMaker) -> None:
    name = sagemaker.create(**spot(10_000, "checkpoints/spot"))
    sagemaker.wait_for(name, "five")
    ask(sagemaker, f"jobs/training/{name}/interrupt", {})
    job = sagemaker.wait(name)
    assert job["TrainingJobStatus"] == "Completed", job
    statuses = [transition["Status"] for transition in job["SecondaryStatusTransitions"]]
    assert statuses.count("Interrupted") == 1
    assert statuses[statuses.index("Interrupted") + 1] == "Starting"
    first, _, second = sagemaker.lines(name)
    assert first == "begins at 0 with and rest"
    step = int(second.split()[2])
    assert 5 <= step < 10_000
    # What the job had deleted is gone in S3 too, and nothing but the checkpoint has survived.
    assert second.split() == ["begins", "at", f"{step}", "with", *sorted(left_at(step)), "and", "rest"]
    last = step + 5
    assert sagemaker.archive(job["ModelArtifacts"]["S3ModelArtifacts"])["step"] == f"{last}\n".encode()
    assert set(sagemaker.keys("checkpoints/spot/")) == {f"checkpoints/spot/{file}" for file in left_at(last)}
    assert job["BillableTimeInSeconds"] <= job["TrainingTimeInSeconds"]


def test_a_fault_interrupts_a_job_after_so_many_seconds_of_training(sagemaker: LocalSageMaker) -> None:
    ask(sagemaker, "faults", {"kind": "interrupt", "job": "interrupted", "after": [1, 1.2]})
    job = sagemaker.run(**spot(30, "checkpoints/fault", TrainingJobName="interrupted"))
    assert job["TrainingJobStatus"] == "Completed", job
    transitions = job["SecondaryStatusTransitions"]
    statuses = [transition["Status"] for transition in transitions]
    assert statuses.count("Interrupted") == 1
    began, interrupted = (transitions[statuses.index(status)]["StartTime"] for status in ("Training", "Interrupted"))
    assert (interrupted - began).total_seconds() >= 1


def test_checkpoints_are_in_s3_while_the_job_runs(sagemaker: LocalSageMaker) -> None:
    name = sagemaker.create(**spot(10_000, "checkpoints/live"))
    sagemaker.wait_until(name, lambda _: "checkpoints/live/step" in sagemaker.keys("checkpoints/live/"))
    sagemaker.client("sagemaker").stop_training_job(TrainingJobName=name)
    assert sagemaker.wait(name)["TrainingJobStatus"] == "Stopped"


def test_max_wait_counts_the_waiting(sagemaker: LocalSageMaker) -> None:
    ask(sagemaker, "faults", {"kind": "capacity", "job": "waits", "seconds": 600})
    condition = {"MaxRuntimeInSeconds": 1, "MaxWaitTimeInSeconds": 2}
    job = sagemaker.run(**spot(10, "checkpoints/wait", TrainingJobName="waits", StoppingCondition=condition))
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxWaitTimeExceeded")
    messages = [transition["StatusMessage"] for transition in job["SecondaryStatusTransitions"]]
    assert "Insufficient capacity error from EC2 while launching instances, retrying!" in messages


def test_no_capacity_at_all(sagemaker: LocalSageMaker) -> None:
    ask(sagemaker, "faults", {"kind": "capacity", "job": "never"})
    job = sagemaker.run(TrainingJobName="never")
    assert job["FailureReason"].startswith("CapacityError: Unable to provision requested ML compute capacity.")


def test_only_a_spot_job_can_be_interrupted(sagemaker: LocalSageMaker) -> None:
    from local_sagemaker.client import ServerError

    name = sagemaker.create("while :; do sleep 0.05; done")
    sagemaker.wait_until(name, lambda job: job["SecondaryStatus"] == "Training")
    with pytest.raises(ServerError, match="is no spot job"):
        ask(sagemaker, f"jobs/training/{name}/interrupt", {})
    sagemaker.client("sagemaker").stop_training_job(TrainingJobName=name)
    sagemaker.wait(name)
