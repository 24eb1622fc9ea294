"""Every command that asks AWS, on AWS's bad days: expired credentials, a job that is not there, throttling."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from launcher.cli.main import main
from tests.helpers.job_files import write
from tests.helpers.sagemaker_stand_in import ApiError, Fault, StandIn

OF_A_JOB = ("status", "attach", "logs", "metrics", "rules", "experiment", "lineage", "download", "stop")

EXPIRED = ApiError("ExpiredTokenException", "The security token included in the request is expired")
THROTTLED = ApiError("ThrottlingException", "Rate exceeded")


@pytest.fixture
def job_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)  # where `download` writes
    changes = {"experiment_config.experiment_name": '"stars"', "processing.s3_input": '"s3://{bucket}/reviews/"'}
    return str(write(tmp_path / "job.toml", changes))


def command_line(command: str, job_file: str, job: str) -> list[str]:
    if command in ("train", "process", "check"):
        return [command, "--file", job_file]
    if command == "list":
        return ["list", "--region", "us-east-1"]
    return [command, *([job, job] if command == "diff" else [job]), "--region", "us-east-1"]


@pytest.fixture
def job(aws: StandIn, job_file: str) -> str:
    """A finished job, the same for all tests: they only look."""
    name = "looked-at"
    if name not in aws.jobs:
        assert main(["train", "--file", job_file, "--job-name", name, "--no-logs", "--poll-interval", "0.05"]) == 0
    return name


@pytest.mark.parametrize("command", [*OF_A_JOB, "diff", "list", "train", "process"])
def test_expired_credentials_are_named(
    aws: StandIn, job_file: str, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    aws.faults.append(Fault("*", EXPIRED, 99))
    assert main(command_line(command, job_file, "any")) == 1
    printed = capsys.readouterr()
    assert "the AWS credentials have expired; log in again" in printed.err
    assert printed.out == ""


def test_check_calls_expired_credentials_a_finding(
    aws: StandIn, job_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # STS speaks XML and is moto's: what it cannot say here, ECR does.
    aws.faults.append(Fault("BatchGetImage", EXPIRED, 99))
    assert main(["check", "--file", job_file]) == 2
    assert "the AWS credentials have expired; log in again" in capsys.readouterr().out


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("command", [*OF_A_JOB, "diff"])
def test_a_job_that_is_not_there_is_named(job_file: str, capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert main(command_line(command, job_file, "nowhere")) == 1
    assert "there is no training job nowhere in us-east-1" in capsys.readouterr().err


@pytest.mark.parametrize("command", [*(name for name in OF_A_JOB if name not in ("attach", "stop")), "diff", "list"])
def test_a_throttled_call_is_repeated(aws: StandIn, job_file: str, job: str, command: str) -> None:
    aws.faults += [
        Fault(operation, THROTTLED, 1)
        for operation in ("DescribeTrainingJob", "ListTrainingJobs", "Search", "ListAssociations", "DescribeLogStreams")
    ]
    assert main(command_line(command, job_file, job)) == 0
    assert any(fault.times == 0 for fault in aws.faults)


@pytest.mark.parametrize("output", ["table", "json", "csv"])
@pytest.mark.parametrize(
    "command", ["status", "logs", "metrics", "rules", "experiment", "lineage", "download", "diff", "list"]
)
def test_every_command_has_every_output(
    job_file: str, job: str, capsys: pytest.CaptureFixture[str], command: str, output: str
) -> None:
    capsys.readouterr()
    assert main([*command_line(command, job_file, job), "--output", output]) == 0
    printed = capsys.readouterr().out

    if output == "json":
        json.loads(printed)
    elif command not in ("rules", "diff"):  # which have nothing to say of this job
        assert printed.strip()
