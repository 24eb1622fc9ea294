"""One training job from CreateTrainingJob to its end, in real containers."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import docker
import pytest

from local_sagemaker.server import LocalServer
from tests.helpers.emulator import BUCKET, LocalSageMaker, channel

pytestmark = pytest.mark.docker

CONFIG = "for file in /opt/ml/input/config/*; do echo \"file $(basename $file) $(tr -d '\\n' < $file)\"; done"


def statuses(job: dict[str, Any]) -> list[str]:
    return [transition["Status"] for transition in job["SecondaryStatusTransitions"]]


def test_a_job_that_completes(sagemaker: LocalSageMaker) -> None:
    sagemaker.put("train/a/one.txt", "one")
    sagemaker.put("train/two.txt", "two")
    script = (
        "cd /opt/ml; find input/data -type f; env | grep TRAINING_JOB; echo loss=0.5; echo loss=0.25 >&2; id -u;"
        " echo weights > model/weights; echo text > output/data/text; ulimit -n; df -k /dev/shm | tail -1"
    )
    job = sagemaker.run(script, InputDataConfig=[channel("train", "train")])
    assert job["TrainingJobStatus"] == "Completed"
    assert statuses(job) == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    times = [(phase["StartTime"], phase["EndTime"]) for phase in job["SecondaryStatusTransitions"]]
    assert [end for _, end in times] == [*(start for start, _ in times[1:]), times[-1][0]]
    assert (job["TrainingStartTime"], job["TrainingEndTime"]) == (times[1][0], times[-1][0])
    whole = int(job["TrainingEndTime"].timestamp()) - int(job["TrainingStartTime"].timestamp())
    assert job["TrainingTimeInSeconds"] == job["BillableTimeInSeconds"] == whole
    assert sagemaker.archive(job["ModelArtifacts"]["S3ModelArtifacts"]) == {"weights": b"weights\n"}
    name = job["TrainingJobName"]
    assert sagemaker.archive(f"s3://{BUCKET}/output/{name}/output/output.tar.gz") == {"text": b"text\n"}
    lines = sagemaker.lines(name)
    assert {"input/data/train/a/one.txt", "input/data/train/two.txt", "input/data/train-manifest"} <= set(lines)
    assert f"TRAINING_JOB_NAME={name}" in lines
    assert f"TRAINING_JOB_ARN={job['TrainingJobArn']}" in lines
    assert str(os.getuid()) in lines
    assert job["FinalMetricDataList"][0]["MetricName"] == "loss"
    assert job["FinalMetricDataList"][0]["Value"] in (0.5, 0.25)  # stdout and stderr have no order between them


def test_all_seven_config_files(sagemaker: LocalSageMaker) -> None:
    job = sagemaker.run(
        CONFIG,
        HyperParameters={"epochs": "3", "flag": "True"},
        CheckpointConfig={"S3Uri": f"s3://{BUCKET}/checkpoints/config/"},
        DebugHookConfig={"S3OutputPath": f"s3://{BUCKET}/", "HookParameters": {"save_interval": "10"}},
        TensorBoardOutputConfig={"S3OutputPath": f"s3://{BUCKET}/"},
        ProfilerConfig={"S3OutputPath": f"s3://{BUCKET}/", "ProfilingIntervalInMilliseconds": 500},
    )
    lines = [line.split(" ", 2) for line in sagemaker.lines(job["TrainingJobName"]) if line.startswith("file ")]
    files = {name: json.loads(content) for _, name, content in lines}
    assert files["hyperparameters.json"] == {"epochs": "3", "flag": "True"}
    assert files["inputdataconfig.json"] == {}
    assert files["resourceconfig.json"]["current_host"] == "algo-1"
    assert files["resourceconfig.json"]["hosts"] == ["algo-1"]
    assert files["checkpointconfig.json"]["LocalPath"] == "/opt/ml/checkpoints"
    assert files["debughookconfig.json"]["LocalPath"] == "/opt/ml/output/tensors"
    assert files["debughookconfig.json"]["HookParameters"] == {"save_interval": "10"}
    assert files["tensorboardoutputconfig.json"]["LocalPath"] == "/opt/ml/output/tensorboard"
    assert files["profilerconfig.json"]["ProfilingParameters"]["LocalPath"] == "/opt/ml/output/profiler/"
    assert len(files) == 7


def test_a_failure_file_is_the_failure_reason(sagemaker: LocalSageMaker) -> None:
    job = sagemaker.run(
        "cd /opt/ml/output; echo 'The train channel is empty.' > failure; echo kept > data/log; exit 11"
    )
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"] == "AlgorithmError: The train channel is empty., exit code: 11"
    assert statuses(job)[-2:] == ["Uploading", "Failed"]
    assert "ModelArtifacts" not in job or "S3ModelArtifacts" not in job["ModelArtifacts"]
    assert sagemaker.keys(f"output/{job['TrainingJobName']}/") == [
        f"output/{job['TrainingJobName']}/output/output.tar.gz"
    ]


def test_a_long_failure_file_is_cut_and_a_link_in_its_place_is_not_followed(sagemaker: LocalSageMaker) -> None:
    long = sagemaker.run("head -c 5000 /dev/zero | tr '\\0' x > /opt/ml/output/failure; exit 1")
    assert len(long["FailureReason"]) == 1024
    assert long["FailureReason"].endswith("xxx, exit code: 1")
    link = sagemaker.run("ln -s /etc/hostname /opt/ml/output/failure; exit 1")
    assert link["FailureReason"] == "AlgorithmError: , exit code: 1"


def test_stop_lets_the_job_save_what_it_has(sagemaker: LocalSageMaker) -> None:
    name = sagemaker.create(
        "trap 'echo saved > /opt/ml/model/weights; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    )
    sagemaker.wait_for(name, "ready")
    sagemaker.client("sagemaker").stop_training_job(TrainingJobName=name)
    job = sagemaker.wait(name)
    assert job["TrainingJobStatus"] == "Stopped"
    assert statuses(job)[-3:] == ["Stopping", "Uploading", "Stopped"]
    assert sagemaker.archive(job["ModelArtifacts"]["S3ModelArtifacts"]) == {"weights": b"saved\n"}


def test_a_job_that_is_deaf_to_sigterm_is_killed_in_the_end(sagemaker: LocalSageMaker) -> None:
    name = sagemaker.create("trap '' TERM; echo ready; while :; do sleep 0.05; done")
    sagemaker.wait_for(name, "ready")
    sagemaker.client("sagemaker").stop_training_job(TrainingJobName=name)
    job = sagemaker.wait(name)
    assert job["TrainingJobStatus"] == "Stopped"
    times = {transition["Status"]: transition["StartTime"] for transition in job["SecondaryStatusTransitions"]}
    assert 2 <= (times["Uploading"] - times["Stopping"]).total_seconds() < 20


def test_max_runtime(sagemaker: LocalSageMaker) -> None:
    job = sagemaker.run("while :; do sleep 0.05; done", StoppingCondition={"MaxRuntimeInSeconds": 2})
    assert job["TrainingJobStatus"] == "Stopped"
    assert job["SecondaryStatus"] == "MaxRuntimeExceeded"


def test_uncompressed_output(sagemaker: LocalSageMaker) -> None:
    job = sagemaker.run(
        "cd /opt/ml; mkdir model/a; echo 1 > model/a/b; ln -s /etc/passwd model/link; echo 2 > output/data/c",
        OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/plain", "CompressionType": "NONE"},
    )
    name = job["TrainingJobName"]
    assert job["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://{BUCKET}/plain/{name}/output/model/"
    assert sagemaker.keys(f"plain/{name}/") == [f"plain/{name}/output/data/c", f"plain/{name}/output/model/a/b"]


def test_what_cannot_start_says_why(sagemaker: LocalSageMaker) -> None:
    specification = {"TrainingImage": "no-such-image:anywhere", "TrainingInputMode": "File"}
    missing = sagemaker.run(AlgorithmSpecification=specification)
    assert missing["TrainingJobStatus"] == "Failed"
    assert missing["FailureReason"].startswith("ClientError: no-such-image:anywhere is not in this machine's engine")
    entrypoint = sagemaker.request()["AlgorithmSpecification"] | {"ContainerEntrypoint": ["/no/such/program"]}
    unknown = sagemaker.run(AlgorithmSpecification=entrypoint)
    assert "CannotStartContainerError" in unknown["FailureReason"]
    assert "/no/such/program" in unknown["FailureReason"]


def test_entrypoint_and_arguments_replace_the_images_own(sagemaker: LocalSageMaker) -> None:
    usual = sagemaker.request()["AlgorithmSpecification"]
    both = {"ContainerEntrypoint": ["echo", "entry"], "ContainerArguments": ["and", "arguments"]}
    job = sagemaker.run(AlgorithmSpecification=usual | both)
    assert sagemaker.lines(job["TrainingJobName"]) == ["entry and arguments"]
    alone = sagemaker.run(AlgorithmSpecification=usual | {"ContainerEntrypoint": ["echo", "alone"]})
    assert sagemaker.lines(alone["TrainingJobName"]) == ["alone"]


def test_nothing_of_an_ended_job_stays(sagemaker: LocalSageMaker, server: LocalServer) -> None:
    job = sagemaker.run(
        "mkdir /opt/ml/output/locked; touch /opt/ml/output/locked/file; chmod 000 /opt/ml/output/locked"
    )
    name = job["TrainingJobName"]
    folder = server.jobs.store.folder("training", name)
    assert {path.name for path in folder.iterdir()} <= {"job.json", "log"}
    engine = docker.from_env()
    try:
        assert engine.containers.list(all=True, filters={"label": f"distilbert-trainer.job={name}"}) == []
    finally:
        engine.close()
    sagemaker.client("sagemaker").delete_training_job(TrainingJobName=name)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("fields", "script"),
    [
        ({"OutputDataConfig": {"S3OutputPath": "s3://no-such-bucket/output"}}, "true"),
        ({"CheckpointConfig": {"S3Uri": "s3://no-such-bucket/c"}}, "echo c > /opt/ml/checkpoints/c"),
        (
            {"TensorBoardOutputConfig": {"S3OutputPath": "s3://no-such-bucket/t"}},
            "mkdir -p /opt/ml/output/tensorboard; echo t > /opt/ml/output/tensorboard/t",
        ),
    ],
    ids=["output", "checkpoints", "TensorBoard"],
)
def test_a_bucket_that_is_not_there_fails_the_job(
    sagemaker: LocalSageMaker, fields: dict[str, Any], script: str
) -> None:
    job = sagemaker.run(script, **fields)
    assert job["TrainingJobStatus"] == "Failed", job
    assert job["FailureReason"].startswith("ClientError: Artifact upload failed:")
    assert "NoSuchBucket" in job["FailureReason"]
    ends_as_it_does = sagemaker.run(f"{script}; exit 7", **fields)
    assert ends_as_it_does["FailureReason"] == "AlgorithmError: , exit code: 7"


def test_a_request_without_stopping_condition_may_run_for_a_day(sagemaker: LocalSageMaker) -> None:
    request = sagemaker.request("true")
    del request["StoppingCondition"]
    sagemaker.client("sagemaker").create_training_job(**request)
    job = sagemaker.wait(request["TrainingJobName"])
    assert job["TrainingJobStatus"] == "Completed", job
    assert job["StoppingCondition"] == {"MaxRuntimeInSeconds": 86_400}


def test_two_jobs_of_one_name_in_two_regions_run_at_once(server: LocalServer, sagemaker: LocalSageMaker) -> None:
    regions = {region: sagemaker.client("sagemaker", region) for region in ("us-east-1", "eu-west-1")}
    name = sagemaker.request()["TrainingJobName"]
    for region, client in regions.items():
        script = f"echo {region}; until [ -e /opt/ml/input/go ]; do sleep 0.05; done; echo {region} > /opt/ml/model/m"
        output = {"S3OutputPath": f"s3://{BUCKET}/{region}"}
        client.create_training_job(**sagemaker.request(script, TrainingJobName=name, OutputDataConfig=output))
    give_up = time.monotonic() + 120
    for client in regions.values():
        while client.describe_training_job(TrainingJobName=name)["SecondaryStatus"] != "Training":
            assert time.monotonic() < give_up
            time.sleep(0.05)
    for region in regions:
        (server.jobs.store.folder("training", name, region) / "hosts" / "algo-1" / "ml" / "input" / "go").touch()
    for region, client in regions.items():
        while (job := client.describe_training_job(TrainingJobName=name))["TrainingJobStatus"] == "InProgress":
            assert time.monotonic() < give_up
            time.sleep(0.05)
        assert job["TrainingJobStatus"] == "Completed", job
        assert sagemaker.archive(job["ModelArtifacts"]["S3ModelArtifacts"]) == {"m": f"{region}\n".encode()}
