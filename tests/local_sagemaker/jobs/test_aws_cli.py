"""The AWS CLI, with what `launcher local start` exports, against the local SageMaker.

Version 1, which is on PyPI, has no `logs tail`: filter-log-events reads the same lines, and version 2's `logs tail`
calls the same operation.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.emulator import IMAGE, LocalSageMaker

pytestmark = pytest.mark.docker

SCRIPT = "cat /opt/ml/input/data/train/*; echo 'loss=0.25'; echo weights > /opt/ml/model/weights.txt"

JOB = f"""\
region = "us-east-1"
account = "123456789012"
role = "arn:aws:iam::{{account}}:role/Local"
training_image = "{IMAGE}"
check_image_contract = false
base_job_name = "from-the-cli"
bucket = "cli-bucket"
[compute]
instance_type = "ml.c5.xlarge"
instance_count = 1
volume_size_in_gb = 1
[stopping_condition]
max_runtime_in_seconds = 60
[input_data_config.train]
s3_uri = "s3://{{bucket}}/train/"
[output_data_config]
s3_output_path = "s3://{{bucket}}/jobs/"
[metric_definitions]
loss = "loss=([0-9.]+)"
[environment]
SCRIPT = "{SCRIPT}"
"""


class Shell:
    """What a user types into a terminal where AWS_ENDPOINT_URL is exported."""

    def __init__(self, sagemaker: LocalSageMaker, folder: Path) -> None:
        self._folder = folder
        keep = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LAUNCHER_"))}
        self._environment = keep | {
            "AWS_ENDPOINT_URL": sagemaker.address,
            "AWS_ACCESS_KEY_ID": sagemaker.token,
            "AWS_SECRET_ACCESS_KEY": sagemaker.token,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "PYTHONPATH": str(Path(__file__).parents[3]),
        }

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=self._folder, env=self._environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def aws(self, *arguments: str) -> Any:
        said = self.run(str(Path(sys.executable).parent / "aws"), *arguments)
        return json.loads(said) if said.startswith(("{", "[", '"')) else said


@pytest.fixture
def shell(sagemaker: LocalSageMaker, tmp_path: Path) -> Shell:
    return Shell(sagemaker, tmp_path)


def test_a_job_from_the_dry_run_s_request_to_its_model(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text(JOB)
    (tmp_path / "part-0").write_text("a line of the channel\n")
    shell.aws("s3", "mb", "s3://cli-bucket")
    shell.aws("s3", "cp", "part-0", "s3://cli-bucket/train/part-0")
    assert "part-0" in shell.aws("s3", "ls", "s3://cli-bucket/train/")

    request = shell.run(sys.executable, "-m", "launcher", "train", "--dry-run", "--file", str(tmp_path / "job.toml"))
    arn = shell.aws("sagemaker", "create-training-job", "--cli-input-json", request)["TrainingJobArn"]
    name = arn.rpartition("/")[2]
    described = _ended(shell, name)
    assert described["TrainingJobStatus"] == "Completed", described.get("FailureReason")
    assert described["FinalMetricDataList"][0]["Value"] == 0.25

    group = ("--log-group-name", "/aws/sagemaker/TrainingJobs")
    events = shell.aws("logs", "filter-log-events", *group, "--log-stream-name-prefix", f"{name}/")["events"]
    assert [event["message"] for event in events] == ["a line of the channel", "loss=0.25"]
    listed = shell.aws("sagemaker", "list-training-jobs", "--name-contains", "from-the-cli")["TrainingJobSummaries"]
    assert [job["TrainingJobName"] for job in listed] == [name]
    shell.aws("s3", "cp", described["ModelArtifacts"]["S3ModelArtifacts"], "model.tar.gz")
    with tarfile.open(tmp_path / "model.tar.gz") as archive:
        assert archive.extractfile("weights.txt").read() == b"weights\n"  # type: ignore[union-attr]


def test_ecr_and_sts(shell: Shell) -> None:
    repository = shell.aws("ecr", "create-repository", "--repository-name", "from-the-cli")["repository"]
    assert repository["repositoryUri"].endswith(".amazonaws.com/from-the-cli")
    names = shell.aws("ecr", "describe-repositories", "--query", "repositories[].repositoryName")
    assert "from-the-cli" in names
    assert shell.aws("ecr", "get-login-password").strip()
    assert shell.aws("sts", "get-caller-identity")["Account"] == "123456789012"


def _ended(shell: Shell, name: str) -> dict[str, Any]:
    give_up = time.monotonic() + 240
    while time.monotonic() < give_up:
        described: dict[str, Any] = shell.aws("sagemaker", "describe-training-job", "--training-job-name", name)
        if described["TrainingJobStatus"] in ("Completed", "Failed", "Stopped"):
            return described
        time.sleep(0.5)
    raise AssertionError(f"{name} has not ended: {described}")
