"""The command line as a program: how fast it starts, what it prints where, which value wins."""

from __future__ import annotations

import json
import os
import pty
import resource
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from launcher.cli.main import launcher, main
from tests.helpers.job_files import REPOSITORY, write
from tests.helpers.sagemaker_stand_in import StandIn

COMMANDS = [
    "setup",
    "check",
    "train",
    "process",
    "schema",
    "tune",
    "list",
    "status",
    "attach",
    "logs",
    "stop",
    "metrics",
    "rules",
    "experiment",
    "lineage",
    "download",
    "diff",
    "deploy",
    "predict",
    "delete-endpoint",
    "transform",
    "local",
]

HEAVY = {"boto3", "botocore", "botocore.client", "pydantic", "rich"}
"""What a command may import only when it needs it."""


def cpu_seconds(limit: float, *arguments: str) -> float:
    """Return the CPU time of a `launcher` process, the best of three unless one is below the limit."""
    times: list[float] = []
    while len(times) < 3 and min(times, default=limit) >= limit:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "launcher", *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd=REPOSITORY, env=os.environ)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


def test_help_takes_less_than_three_tenths_of_a_second() -> None:
    assert cpu_seconds(0.3, "--help") < 0.3


def test_a_dry_run_takes_less_than_a_second() -> None:
    assert cpu_seconds(1.0, "train", "--dry-run") < 1.0


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        (["--help"], set()),
        (["train", "--help"], set()),
        (["schema"], {"pydantic"}),
        # botocore's model of the service, not its clients; never boto3.
        (["train", "--dry-run"], {"pydantic", "botocore"}),
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(arguments: list[str], needed: set[str]) -> None:
    program = (
        "import sys; from launcher.cli.main import main; code = main(sys.argv[1:]);"
        f"print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr); sys.exit(code)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, *arguments], check=True, capture_output=True, text=True, cwd=REPOSITORY
    )
    assert ended.stderr.splitlines()[-1] == str(sorted(needed))


def test_help_lists_every_command_with_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert list(launcher.commands) == COMMANDS
    for name in COMMANDS:
        assert f"\n  {name} " in printed
        assert main([name, "--help"]) == 0


def test_the_schema_knows_every_key_of_the_job_file_and_what_it_means(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["additionalProperties"] is False
    assert schema["properties"]["training_image"]["description"]
    job_file = tomllib.loads((REPOSITORY / "job.toml").read_text(encoding="utf-8"))
    assert set(job_file) <= set(schema["properties"])
    assert set(job_file["compute"]) <= set(schema["$defs"]["Compute"]["properties"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "No such command 'trian'"),
        (["train", "--waite"], "No such option"),
        (["train", "--set", "epochs"], "--set epochs: write --set section.key=value"),
        (["train", "--set", "region.name=x", "--dry-run"], "--set region.name: region is a value, not a table"),
        (["train", "--timeout", "soon"], "'soon' is not a valid float range"),
        (["train", "--timeout", "nan"], "nan is no number that can be waited for or paid"),
        (["check", "--max-cost", "nan"], "nan is no number that can be waited for or paid"),
        (["attach", "--poll-interval", "inf"], "inf is no number that can be waited for or paid"),
        (["list", "--output", "xml"], "'xml' is not one of 'table', 'json', 'csv'"),
    ],
)
def test_a_wrong_command_line_is_usage(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_a_dry_run_prints_the_request_alone_and_asks_nobody(
    aws: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "job.toml", {})
    assert main(["train", "--file", str(path), "--job-name", "dry", "--dry-run"]) == 0
    request = json.loads(capsys.readouterr().out)
    assert aws.calls == []
    # What `aws sagemaker create-training-job --cli-input-json` would send.
    aws.client("sagemaker").create_training_job(**request)
    assert aws.jobs["dry"].request == request


def instance_type(path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    capsys.readouterr()
    assert main(["train", "--file", str(path), "--dry-run", *options]) == 0
    found: str = json.loads(capsys.readouterr().out)["ResourceConfig"]["InstanceType"]
    return found


def test_a_flag_stands_above_the_environment_above_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "job.toml", {})
    assert instance_type(path, capsys) == "ml.c7i.2xlarge"
    monkeypatch.setenv("LAUNCHER_COMPUTE__INSTANCE_TYPE", "ml.c7i.4xlarge")
    assert instance_type(path, capsys) == "ml.c7i.4xlarge"
    assert instance_type(path, capsys, "--set", "compute.instance_type=ml.c7i.8xlarge") == "ml.c7i.8xlarge"


def test_the_region_of_aws_stands_below_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    for changes, region in (({}, "us-east-1"), ({"region": None}, "eu-west-1")):
        assert main(["train", "--file", str(write(tmp_path / "job.toml", changes)), "--dry-run"]) == 0
        assert f".{region}." in json.loads(capsys.readouterr().out)["AlgorithmSpecification"]["TrainingImage"]


def test_a_mistake_in_the_environment_is_located_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAUNCHER_COMPUTE__INSTANCE_COUNT", "many")
    assert main(["train", "--file", str(write(tmp_path / "job.toml", {})), "--dry-run"]) == 2
    message = "environment variable LAUNCHER_COMPUTE__INSTANCE_COUNT: is 'many'; a whole number is needed"
    assert message in capsys.readouterr().err


def test_an_account_of_digits_stays_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "job.toml", {})
    assert main(["train", "--file", str(path), "--dry-run", "--set", "account=210987654321"]) == 0
    assert json.loads(capsys.readouterr().out)["RoleArn"] == "arn:aws:iam::210987654321:role/Exec"


def test_warnings_are_talk_and_stop_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = {
        "training_image": '"{account}.dkr.ecr.{region}.amazonaws.com/star-rating:latest"',
        "compute.instance_type": '"ml.c5.9xlarge"',
        "hyperparameters.use_amp": "true",
        "hyperparameters.use_xla": "true",
        "environment.API_TOKEN": '"abc"',
        "environment.MLFLOW_TRACKING_URI": '"http://mlflow.example:5000"',
        "networking.enable_network_isolation": "true",
        'metric_definitions."train:loss"': r"'train:loss=([0-9\.]+)'",
    }
    assert main(["train", "--file", str(write(tmp_path / "job.toml", changes)), "--dry-run"]) == 0
    printed = capsys.readouterr()
    json.loads(printed.out)
    for warning in (
        "training_image is the latest of today, another one tomorrow; name a digest",
        "hyperparameters.use_amp is true, but ml.c5.9xlarge computes bfloat16 no faster (no AMX)",
        "hyperparameters.use_xla is true, but XLA slows this model down on a CPU",
        "environment.API_TOKEN looks like a credential",
        "environment.MLFLOW_TRACKING_URI is set, but networking.enable_network_isolation keeps the container from it",
        "metric_definitions.train:loss reads 9.5e-05 as 9.5",
    ):
        assert warning in printed.err
    assert printed.err.count("warning: ") == 6


def test_expressions_that_backtrack_are_named_and_hold_nobody_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {
        "metric_definitions.one": r"'(x+x+)+y(\d)'",
        "metric_definitions.three": r"'^three(x{60000}){60000}=([0-9.]+)'",
        "metric_definitions.four": r"'^four=([0-9.e+-]+)'",
    }
    assert main(["train", "--file", str(write(tmp_path / "job.toml", changes)), "--dry-run"]) == 0
    warned = capsys.readouterr().err
    for name, expected in (("one", 1), ("three", 0), ("four", 0)):
        assert warned.count(f"metric_definitions.{name} backtracks: ") == expected, warned


@pytest.mark.usefixtures("aws")
def test_colours_are_for_terminals(tmp_path: Path) -> None:
    path = write(tmp_path / "job.toml", {})
    command = [sys.executable, "-m", "launcher", "train", "--file", str(path), "--job-name", "colours"]
    main_end, its_end = pty.openpty()
    with subprocess.Popen(
        [*command, "--poll-interval", "0.05"], stdout=its_end, stderr=its_end, cwd=REPOSITORY, env=os.environ
    ) as process:
        os.close(its_end)
        printed = b""
        while chunk := _read(main_end):
            printed += chunk
    os.close(main_end)
    assert process.returncode == 0
    assert b"\x1b[1m--- " in printed
    assert b"\r\x1b[2K" in printed  # the line that counts the seconds
    piped = subprocess.run(
        [sys.executable, "-m", "launcher", "status", "colours"], check=True, capture_output=True, cwd=REPOSITORY
    )
    assert b"\x1b" not in piped.stdout + piped.stderr


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""  # Linux's way of saying that the other end has been closed


def test_a_reader_that_leaves_is_no_error() -> None:
    command = f"{sys.executable} -m launcher schema | head -1; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", command], check=False, capture_output=True, text=True, cwd=REPOSITORY)
    assert ended.stdout == "{\n"
    assert "Traceback" not in ended.stderr
    assert "Exception" not in ended.stderr
