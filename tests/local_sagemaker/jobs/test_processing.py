"""Processing jobs: shares of the input, config files, outputs, exit message."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.helpers.emulator import BUCKET, IMAGE, ROLE, LocalSageMaker

pytestmark = pytest.mark.docker


def run(
    sagemaker: LocalSageMaker, name: str, script: str, hosts: int, bucket: str = BUCKET, mode: str = "EndOfJob"
) -> dict[str, Any]:
    client = sagemaker.client("sagemaker")
    client.create_processing_job(
        ProcessingJobName=name,
        RoleArn=ROLE,
        AppSpecification={"ImageUri": IMAGE, "ContainerArguments": ["train"]},
        Environment={"SCRIPT": script},
        ProcessingInputs=[
            {
                "InputName": "raw",
                "S3Input": {
                    "S3Uri": f"s3://{BUCKET}/raw/",
                    "LocalPath": "/opt/ml/processing/input",
                    "S3DataType": "S3Prefix",
                    "S3InputMode": "File",
                    "S3DataDistributionType": "ShardedByS3Key",
                },
            }
        ],
        ProcessingOutputConfig={
            "Outputs": [
                {
                    "OutputName": "out",
                    "S3Output": {
                        "S3Uri": f"s3://{bucket}/processed/{name}",
                        "LocalPath": "/opt/ml/processing/output",
                        "S3UploadMode": mode,
                    },
                }
            ]
        },
        ProcessingResources={
            "ClusterConfig": {"InstanceType": "ml.c5.xlarge", "InstanceCount": hosts, "VolumeSizeInGB": 1}
        },
    )
    give_up = time.monotonic() + 240
    while True:
        job: dict[str, Any] = client.describe_processing_job(ProcessingJobName=name)
        if job["ProcessingJobStatus"] not in ("InProgress", "Stopping"):
            return job
        assert time.monotonic() < give_up, job
        time.sleep(0.05)


def test_two_hosts_share_the_input_and_put_their_outputs_together(sagemaker: LocalSageMaker) -> None:
    for number in range(5):
        sagemaker.put(f"raw/{number}", str(number))
    job = run(
        sagemaker,
        "two-hosts",
        "cd /opt/ml; ls processing/input | tr '\\n' ' ' > processing/output/$(hostname); cat config/resourceconfig.json"
        " | tr -d '\\n'; echo; echo 'five files' > output/message",
        hosts=2,
    )
    assert job["ProcessingJobStatus"] == "Completed", job
    assert job["ExitMessage"] == "five files\n"
    assert sagemaker.read(f"s3://{BUCKET}/processed/two-hosts/algo-1") == b"0 2 4 "
    assert sagemaker.read(f"s3://{BUCKET}/processed/two-hosts/algo-2") == b"1 3 "
    streams = sagemaker.streams("two-hosts", "/aws/sagemaker/ProcessingJobs")
    config = json.loads(streams["algo-2"][0])
    assert (config["current_host"], config["hosts"]) == ("algo-2", ["algo-1", "algo-2"])


def test_a_processing_job_that_fails_says_why_and_leaves_no_output(sagemaker: LocalSageMaker) -> None:
    sagemaker.put("raw/0", "0")
    script = "cd /opt/ml; echo x > processing/output/x; echo 'The column is missing.' > output/message; exit 11"
    job = run(sagemaker, "fails-to-process", script, hosts=1)
    assert job["ProcessingJobStatus"] == "Failed"
    assert job["FailureReason"] == "AlgorithmError: The column is missing., exit code: 11"
    assert sagemaker.keys("processed/fails-to-process") == []


@pytest.mark.parametrize("mode", ["EndOfJob", "Continuous"])
def test_an_output_whose_bucket_is_not_there_fails_the_job(sagemaker: LocalSageMaker, mode: str) -> None:
    sagemaker.put("raw/0", "0")
    name = f"to-nowhere-{mode.lower()}"
    job = run(sagemaker, name, "echo x > /opt/ml/processing/output/x", hosts=1, bucket="no-such-bucket", mode=mode)
    assert job["ProcessingJobStatus"] == "Failed"
    assert job["FailureReason"] == (
        f"ClientError: Artifact upload failed:Unable to upload file to s3://no-such-bucket/processed/{name}/x "
        "(NoSuchBucket: the specified bucket does not exist: no-such-bucket)"
    )
