"""Rules in a container beside the job: statuses that change while it runs, actions, files, the end marker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from local_sagemaker.client import start_server, stop_server
from local_sagemaker.state import State
from tests.helpers.emulator import BUCKET, IMAGE, LocalSageMaker

pytestmark = pytest.mark.docker

STOP = '[{\\"name\\": \\"stoptraining\\", \\"training_job_prefix\\": \\"any\\"}]'


def ruled(image: str = IMAGE, **parameters: str) -> dict[str, Any]:
    rule = {
        "RuleConfigurationName": "Rule",
        "RuleEvaluatorImage": image,
        "RuleParameters": {"rule_to_invoke": "LossNotDecreasing"} | parameters,
    }
    return {"DebugHookConfig": {"S3OutputPath": f"s3://{BUCKET}/debug"}, "DebugRuleConfigurations": [rule]}


def verdict(job: dict[str, Any]) -> tuple[str, str | None]:
    (status,) = job["DebugRuleEvaluationStatuses"]
    return status["RuleEvaluationStatus"], status.get("StatusDetails")


def test_a_verdict_comes_while_the_job_runs_and_stops_it(sagemaker: LocalSageMaker) -> None:
    name = sagemaker.create(
        "cd /opt/ml/output; mkdir -p tensors; touch tensors/bad; trap 'exit 0' TERM; while :; do sleep 0.05; done",
        **ruled(action_json=STOP),
    )
    job = sagemaker.wait(name)
    assert job["TrainingJobStatus"] == "Stopped"
    assert verdict(job) == ("IssuesFound", "step 3")
    sagemaker.wait_until(name, lambda _: f"output/{name}/rule-output/Rule/report.html" in sagemaker.keys("output/"))
    assert sagemaker.keys(f"debug/{name}/") == [
        f"debug/{name}/debug-output/bad",
        f"debug/{name}/debug-output/training_job_end.ts",
    ]


def test_a_healthy_job_gets_its_verdict_after_its_end(sagemaker: LocalSageMaker) -> None:
    job = sagemaker.run("sleep 1", **ruled())
    assert job["TrainingJobStatus"] == "Completed"
    done = sagemaker.wait_until(job["TrainingJobName"], lambda job: verdict(job)[0] != "InProgress")
    assert verdict(done)[0] == "NoIssuesFound"


def test_system_metrics_come_from_the_platform(sagemaker: LocalSageMaker) -> None:
    job = sagemaker.run(
        "timeout 4 sh -c 'while :; do :; done'; true",  # the engine reads once a second
        ProfilerConfig={"S3OutputPath": f"s3://{BUCKET}/profile", "ProfilingIntervalInMilliseconds": 100},
    )
    prefix = f"profile/{job['TrainingJobName']}/profiler-output/system"
    keys = sagemaker.keys(prefix)
    assert f"{prefix}/training_job_end.ts" in keys
    files = [key for key in keys if key.startswith(f"{prefix}/incremental/")]
    assert all(key.endswith(".algo-1.json") for key in files)
    lines = [json.loads(line) for key in files for line in sagemaker.read(f"s3://{BUCKET}/{key}").splitlines()]
    assert {line["Type"] for line in lines} >= {"cpu", "memory", "i/o", "network"}
    busy = [line["Value"] for line in lines if line["Dimension"] == "ContainerCPUUtilization"]
    assert busy
    assert max(busy) > 0.5


def test_update_training_job_reaches_the_container(sagemaker: LocalSageMaker) -> None:
    name = sagemaker.create(
        "until grep -q 1000 /opt/ml/input/config/profilerconfig.json; do sleep 0.05; done; echo seen",
        ProfilerConfig={"S3OutputPath": f"s3://{BUCKET}/profile", "ProfilingIntervalInMilliseconds": 500},
    )
    sagemaker.wait_until(name, lambda job: job["SecondaryStatus"] == "Training")
    sagemaker.client("sagemaker").update_training_job(
        TrainingJobName=name,
        ProfilerConfig={"S3OutputPath": f"s3://{BUCKET}/profile", "ProfilingIntervalInMilliseconds": 1000},
    )
    assert sagemaker.wait(name)["TrainingJobStatus"] == "Completed"
    assert sagemaker.lines(name) == ["seen"]


HOSTILE = {
    "a FIFO": "mkfifo statuses.json; sleep 1",
    "endless zeros": "ln -s /dev/zero statuses.json; sleep 1",
    "a large file": "truncate -s 3000000000 statuses.json; sleep 1",
    "another document": "echo '{}' > statuses.json; sleep 1",
    "a status that is none": "echo '[{}]' > statuses.json; sleep 1",
    "no JSON": "printf '[[[[[' > statuses.json; sleep 1",
    "nothing at all": "exit 7",
}


def test_no_rules_container_stops_a_job_or_the_server(sagemaker: LocalSageMaker) -> None:
    names = {case: sagemaker.create(**ruled(hostile=script)) for case, script in HOSTILE.items()}
    for case, name in names.items():
        assert sagemaker.wait(name)["TrainingJobStatus"] == "Completed", case
        done = sagemaker.wait_until(name, lambda job: verdict(job)[0] != "InProgress", timeout=60)
        status, details = verdict(done)
        assert status == "Error", case
        reason = "ended with exit code 7" if case == "nothing at all" else "statuses that cannot be read"
        assert reason in str(details), case


@pytest.mark.usefixtures("sagemaker")  # it makes the image
def test_links_that_an_earlier_rules_container_has_left_are_not_written_through(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("the owner's")
    state = State(tmp_path / "state")
    server = LocalSageMaker(start_server(state, ["--jobs", "1"]))
    try:
        server.client("s3").create_bucket(Bucket=BUCKET)
        before = server.create("sleep 60")
        name = server.create(**ruled())
        left = state.folder / "jobs" / "training" / name / "rules"
        left.mkdir(parents=True)
        (left / "rules.json").symlink_to(outside)
        (left / "files").symlink_to(tmp_path / "nowhere")
        server.client("sagemaker").stop_training_job(TrainingJobName=before)
        assert server.wait(name)["TrainingJobStatus"] == "Completed"
        server.wait_until(name, lambda job: verdict(job)[0] == "NoIssuesFound")
    finally:
        stop_server(state)
    assert outside.read_text() == "the owner's"
