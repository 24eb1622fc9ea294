"""A job's life through the command line, against a real HTTP endpoint: each way that it can end has its exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from launcher.cli.main import main
from tests.helpers.job_files import REPOSITORY, write
from tests.helpers.sagemaker_stand_in import FAILURE, SCRIPTS, ApiError, Fault, StandIn

FAST = ["--poll-interval", "0.05"]


@pytest.fixture
def job_file(tmp_path: Path) -> str:
    return str(write(tmp_path / "job.toml", {}))


def train(job_file: str, name: str, *options: str) -> int:
    return main(["train", "--file", job_file, "--job-name", name, *FAST, *options])


@pytest.mark.usefixtures("aws")
def test_a_job_that_completes(job_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(job_file, "completes", "--output", "json") == 0
    printed = capsys.readouterr()
    summary = json.loads(printed.out)
    assert summary["status"] == "Completed"
    assert summary["test:accuracy"] == 0.75
    assert summary["model"].endswith("/completes/output/model.tar.gz")
    # 50 billable seconds on one ml.c7i.2xlarge, at 0.4284 dollars an hour.
    assert summary["cost_dollars"] == pytest.approx(0.4284 * 50 / 3600, abs=1e-4)
    phases = [line.split()[2] for line in printed.err.splitlines() if line.startswith("--- ")]
    assert phases == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert printed.err.count("train:loss=0.5 train:accuracy=0.7") == 1
    assert "next: launcher download completes" in printed.err
    assert "\x1b[" not in printed.err + printed.out


def test_a_job_that_fails(aws: StandIn, job_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    aws.script = SCRIPTS["failed"]
    assert train(job_file, "fails", "--no-logs") == 3
    printed = capsys.readouterr().err
    assert f"error: fails failed: {FAILURE}" in printed
    last = printed.split("last log lines:\n")[1]
    assert "train:loss=0.5 train:accuracy=0.7" in last


def test_a_job_that_is_stopped(aws: StandIn, job_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    aws.script = SCRIPTS["endless"]
    assert train(job_file, "stops", "--no-wait") == 0
    assert main(["stop", "stops"]) == 0
    assert main(["attach", "stops", *FAST]) == 4
    assert "error: stops was stopped" in capsys.readouterr().err


def test_a_job_that_runs_out_of_its_time(aws: StandIn, job_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    aws.script = SCRIPTS["too long"]
    assert train(job_file, "long") == 4
    assert "long ran longer than stopping_condition.max_runtime_in_seconds" in capsys.readouterr().err


def test_a_wait_that_is_over(aws: StandIn, job_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    aws.script = SCRIPTS["endless"]
    assert train(job_file, "waits", "--timeout", "0.3") == 124
    assert "waits has not ended after 0.3 s, and continues: launcher attach waits" in capsys.readouterr().err


def test_throttling_for_a_while_is_waited_out(aws: StandIn, job_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(job_file, "throttled", "--no-wait") == 0
    throttled = ApiError("ThrottlingException", "Rate exceeded")
    # More than botocore's own two attempts, for the first look and for the log.
    aws.faults += [Fault("DescribeTrainingJob", throttled, 3), Fault("GetLogEvents", throttled, 3)]
    assert main(["attach", "throttled", *FAST]) == 0
    assert [fault.times for fault in aws.faults] == [0, 0]
    assert capsys.readouterr().err.count("train:loss=0.5 train:accuracy=0.7") == 1


def test_expired_credentials_say_what_to_do(aws: StandIn, job_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    aws.faults.append(
        Fault("CreateTrainingJob", ApiError("ExpiredTokenException", "The security token is expired"), 99)
    )
    assert train(job_file, "expired") == 1
    assert "error: cannot submit expired: the AWS credentials have expired; log in again" in capsys.readouterr().err


def test_no_credentials_say_what_to_do(aws: StandIn, job_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    command = [sys.executable, "-m", "launcher", "train", "--file", job_file]
    # A process of its own: boto3 keeps the credentials that it has found.
    ended = subprocess.run(command, check=False, capture_output=True, text=True, cwd=REPOSITORY, env=os.environ)
    assert ended.returncode == 1
    assert "there are no AWS credentials; log in, or set AWS_PROFILE" in ended.stderr
    assert aws.calls == []


def test_a_job_that_vanishes(aws: StandIn, job_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    aws.script = SCRIPTS["endless"]
    assert train(job_file, "vanishes", "--no-wait") == 0
    not_found = ApiError("ValidationException", "Requested resource not found.")
    aws.faults.append(Fault("DescribeTrainingJob", not_found, 0))
    threading.Timer(0.5, lambda: setattr(aws.faults[0], "times", 99)).start()
    assert main(["attach", "vanishes", *FAST]) == 1
    assert "cannot follow vanishes: AWS does not know it" in capsys.readouterr().err


HOOK, PROFILER = "take debug_hook_config out of the job file", "take profiler_config out of the job file"


@pytest.mark.parametrize(
    ("refusal", "way_out"),
    [
        ("Amazon SageMaker Debugger is not available to new customers", f": --without debugger, or {HOOK}"),
        ("Value at 'debugHookConfig.s3OutputPath' failed", f": --without debugger, or {HOOK}"),
        ("ProfilerConfig: SageMaker Debugger is closed", f": --without profiler, or {PROFILER}"),
        (
            "DebugHookConfig, ProfilerConfig cannot be specified",
            ": --without debugger --without profiler, or take debug_hook_config, profiler_config out of the job file",
        ),
        ("Unable to add the job to trial x", None),  # it has no experiment
        ("Job debug-it has no capacity", None),
    ],
)
def test_a_refused_request_names_the_switch_and_the_key_of_the_feature(
    aws: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str], refusal: str, way_out: str | None
) -> None:
    path = write(tmp_path / "job.toml", {"debug_hook_config.enabled": "true", "profiler_config.enabled": "true"})
    aws.faults.append(Fault("CreateTrainingJob", ApiError("ValidationException", refusal), 1))
    assert train(str(path), "debug-it") == 1
    error = capsys.readouterr().err
    assert f"; launch without it{way_out}" in error if way_out else "launch without it" not in error


@pytest.mark.usefixtures("aws")
def test_a_name_that_is_taken(job_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(job_file, "taken", "--no-wait") == 0
    assert train(job_file, "taken", "--no-wait") == 1
    assert "Job name must be unique: taken; choose another with --job-name" in capsys.readouterr().err


def take_ctrl_c() -> None:
    """Undo what a shell does to a job in its background, and so to tests that run in one: it ignores Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_detaches_and_leaves_the_job_alone(aws: StandIn, job_file: str) -> None:
    aws.script = SCRIPTS["endless"]
    command = [sys.executable, "-m", "launcher", "train", "--file", job_file, "--job-name", "detached", *FAST]
    lines = []
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        env=os.environ,
        preexec_fn=take_ctrl_c,  # noqa: PLW1509 - the stand-in's threads hold no lock that it needs
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line)
            if "Training in progress" in line:
                process.send_signal(signal.SIGINT)
    assert process.returncode == 130
    printed = "".join(lines)
    assert "detached: detached continues in SageMaker" in printed
    for command_name in ("attach", "status", "stop"):
        assert f"next: launcher {command_name} detached" in printed
    assert "Traceback" not in printed
    assert "StopTrainingJob" not in aws.calls
    assert aws.jobs["detached"].now.primary == "InProgress"


@pytest.mark.usefixtures("aws")
def test_a_job_is_found_without_a_record_by_name_by_arn_and_as_the_latest(
    job_file: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert train(job_file, "elsewhere", "--no-wait", "--output", "json") == 0
    arn = json.loads(capsys.readouterr().out)["arn"]
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another machine"))
    for job in ("elsewhere", arn, "latest"):
        assert main(["status", job, "--output", "json"]) == 0
        assert json.loads(capsys.readouterr().out)["job"] == "elsewhere"


@pytest.mark.usefixtures("aws")
def test_an_answer_that_got_lost_is_no_second_job_and_no_error(aws: StandIn, job_file: str) -> None:
    aws.lost_answers = 1
    assert train(job_file, "lost-answer", "--no-wait") == 0
    assert aws.calls.count("CreateTrainingJob") == 2
    assert "lost-answer" in aws.jobs


@pytest.mark.usefixtures("aws")
def test_a_job_that_is_not_there_says_where_to_look(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "no-such-job"]) == 1
    message = "there is no training job no-such-job in us-east-1: launcher list --region us-east-1 shows what is there"
    assert message in capsys.readouterr().err


@pytest.mark.usefixtures("aws")
def test_jobs_are_listed_newest_first_over_several_pages(job_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(12):
        assert train(job_file, f"page-{number}", "--no-wait") == 0
    capsys.readouterr()
    assert main(["list", "--name", "page-", "--limit", "11", "--output", "csv"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[0] == "job,status,created,ended"
    assert [row.split(",")[0] for row in rows[1:]] == [f"page-{number}" for number in range(11, 0, -1)]


def test_rule_verdicts_are_shown_as_they_change(
    aws: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.rule_statuses = ["InProgress", "InProgress", "InProgress", "IssuesFound"]
    rule = "debug_rule_configurations.LossNotDecreasing.enabled"
    path = write(tmp_path / "rules.toml", {"debug_hook_config.enabled": "true", rule: "true"})
    assert train(str(path), "ruled") == 0
    verdicts = [line for line in capsys.readouterr().err.splitlines() if line.startswith("--- rule")]
    assert verdicts == ["--- rule LossNotDecreasing: InProgress", "--- rule LossNotDecreasing: IssuesFound"]
    assert main(["rules", "ruled", "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["status"] == "IssuesFound"
