"""The launcher's own commands against real jobs: each end has its exit code, as against AWS."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.cli.local import local_session
from launcher.cli.main import main
from launcher.records import Records
from local_sagemaker.client import stop_server
from local_sagemaker.state import State, default_folder
from tests.helpers.emulator import IMAGE
from tests.helpers.tuning import tune_while_the_server_is_killed

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("_server_of_this_test")]

JOB = f"""
region = "us-east-1"
account = "123456789012"
role = "arn:aws:iam::{{account}}:role/Local"
training_image = "{IMAGE}"
bucket = "jobs"
check_image_contract = false
metric_definitions = {{ loss = "loss=([0-9.]+)" }}
[networking]
enable_network_isolation = true
[stopping_condition]
max_runtime_in_seconds = 900
"""

UNTIL_STOPPED = "trap 'exit 0' TERM; while :; do sleep 0.05; done"


@pytest.fixture
def _server_of_this_test(job_image: str, tmp_path: Path) -> Iterator[None]:  # noqa: ARG001 - jobs need the image
    (tmp_path / "job.toml").write_text(JOB)
    (tmp_path / "input").write_text("input")
    assert main(["local", "put", str(tmp_path / "input"), "s3://jobs/input/"]) == 0
    yield
    stop_server(State(default_folder()))


def train(folder: Path, name: str, script: str, *options: str) -> int:
    file = ["--file", str(folder / "job.toml"), "--job-name", name, "--set", f"environment.SCRIPT={script}"]
    return main(["train", "--local", *file, *options])


def test_jobs_and_their_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path, "completes", "echo loss=0.5; echo weights > /opt/ml/model/weights", "--output", "json") == 0
    printed = capsys.readouterr()
    summary = json.loads(printed.out)
    assert (summary["status"], summary["loss"]) == ("Completed", 0.5)
    phases = [line.split()[2] for line in printed.err.splitlines() if line.startswith("--- ")]
    assert phases[-3:] == ["Training", "Uploading", "Completed"]
    assert main(["download", "--local", "latest", "--to", str(tmp_path / "out")]) == 0
    assert Records().latest() is None  # that is AWS's
    assert (tmp_path / "out" / "model" / "weights").read_text() == "weights\n"

    assert train(tmp_path, "fails", "echo 'No such column.' > /opt/ml/output/failure; exit 11") == 3
    printed = capsys.readouterr()
    assert "error: fails failed: AlgorithmError: No such column., exit code: 11" in printed.err
    assert "next: launcher logs --local fails" in printed.err

    assert train(tmp_path, "long", UNTIL_STOPPED, "--set", "stopping_condition.max_runtime_in_seconds=1") == 4
    assert "long ran longer than stopping_condition.max_runtime_in_seconds" in capsys.readouterr().err

    assert train(tmp_path, "stops", UNTIL_STOPPED, "--no-wait") == 0
    assert main(["stop", "--local", "stops"]) == 0
    assert "next: launcher attach --local stops" in capsys.readouterr().err  # without --local it would ask AWS
    assert main(["attach", "--local", "stops"]) == 4
    assert "error: stops was stopped" in capsys.readouterr().err

    assert main(["list", "--local", "--output", "csv"]) == 0
    rows = [line.split(",")[:2] for line in capsys.readouterr().out.splitlines()[1:]]
    assert rows == [["stops", "Stopped"], ["long", "Stopped"], ["fails", "Failed"], ["completes", "Completed"]]


def test_what_is_in_the_way_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["local", "start", "--jobs", "7"]) == 2
    assert "a server runs on" in capsys.readouterr().err
    assert train(tmp_path, "no-spot", "true", "--interrupt-after", "5") == 2
    assert "--interrupt-after needs a spot job" in capsys.readouterr().err
    assert train(tmp_path, "runs", "echo ready; while :; do sleep 0.05; done", "--no-wait") == 0
    assert main(["local", "interrupt", "runs"]) == 1
    assert "runs is no spot job" in capsys.readouterr().err
    assert main(["local", "stop"]) == 1
    assert "runs would fail; wait, stop them, or end the server with --force" in capsys.readouterr().err
    assert main(["local", "status", "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["running"] == "runs"
    assert main(["local", "stop", "--force"]) == 0
    assert main(["local", "stop"]) == 0
    assert main(["status", "--local", "runs", "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "Failed"


TUNING = """
[tuning]
objective_metric_name = "loss"
max_number_of_training_jobs = 3
max_parallel_training_jobs = 1
[tuning.parameter_ranges]
rate = { min_value = 0.1, max_value = 0.9 }
"""

RATE = 'echo loss=$(sed -n \'s/.*"rate": "\\([^"]*\\)".*/\\1/p\' /opt/ml/input/config/hyperparameters.json)'


def test_a_tuning_job_whose_server_is_killed_and_its_best_hyperparameters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "job.toml").write_text(JOB + TUNING)
    settings = ["--set", f"environment.SCRIPT={RATE}; sleep 0.5", "--set", "hyperparameters.note=kept"]
    rows, said = tune_while_the_server_is_killed("tunes", ["--file", str(tmp_path / "job.toml"), *settings])
    assert [row["status"] for row in rows] == ["Completed"] * 3
    assert [row["objective"] for row in rows] == sorted(row["objective"] for row in rows)
    assert said.count("Completed, objective") == 3
    assert "* is the best" in said
    capsys.readouterr()
    assert main(["tune", "best", "--local", "tunes"]) == 0
    wanted = {"hyperparameters": {"rate": float(rows[0]["rate"]), "note": "kept"}}
    assert tomllib.loads(capsys.readouterr().out) == wanted
    assert main(["tune", "best", "--local", "tunes", "--file", str(tmp_path / "job.toml")]) == 0
    (tmp_path / "job.toml").write_text(capsys.readouterr().out)
    assert tomllib.loads((tmp_path / "job.toml").read_text()) == tomllib.loads(JOB) | wanted
    assert train(tmp_path, "best", RATE, "--output", "json") == 0
    assert json.loads(capsys.readouterr().out)["loss"] == pytest.approx(rows[0]["objective"])
    assert main(["tune", "attach", "--local", "tunes"]) == 0
    assert "Completed, objective" in capsys.readouterr().err
    assert main(["tune", "status", "--local", "tunes"]) == 0
    assert "tunes Completed: 3 Completed" in capsys.readouterr().err
    assert main(["tune", "stop", "--local", "tunes"]) == 1
    assert "in status Completed" in capsys.readouterr().err
    assert main(["tune", "best", "--local", "missing"]) == 1


def test_a_model_is_deployed_asked_and_deleted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path, "trained", "echo heavy > /opt/ml/model/weights") == 0
    capsys.readouterr()
    assert main(["deploy", "trained", "--local", "--dry-run", "--serverless", "--memory", "2048"]) == 0
    requests = json.loads(capsys.readouterr().out)
    assert list(requests) == ["CreateModel", "CreateEndpointConfig", "CreateEndpoint"]
    assert requests["CreateModel"]["PrimaryContainer"] == {
        "Image": IMAGE,
        "ModelDataUrl": "s3://jobs/trained/output/model.tar.gz",
    }
    (variant,) = requests["CreateEndpointConfig"]["ProductionVariants"]
    assert variant["ServerlessConfig"] == {"MemorySizeInMB": 2048, "MaxConcurrency": 5}
    assert main(["deploy", "trained", "--local", "--instance-type", "ml.t9.huge"]) == 2
    assert "InstanceType" in capsys.readouterr().err
    assert main(["deploy", "trained", "--local", "--endpoint-name", "stars", "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"endpoint": "stars", "status": "InService"}
    assert main(["predict", "stars", "It broke.", "--local", "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {"stars": 1, "probability": 0.75, "truncated": False, "review": "It broke."}
    ]
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    assert main(["local", "put", str(tmp_path / "a.txt"), "s3://jobs/texts/"]) == 0
    assert main(["transform", "trained", "s3://jobs/texts/", "s3://jobs/predicted/", "--local"]) == 0
    written = local_session().client("s3").get_object(Bucket="jobs", Key="predicted/a.txt.out")["Body"].read()
    assert written == b"ONE\nTWO\n"
    assert main(["transform", "trained", "s3://jobs/nothing/", "s3://jobs/predicted/", "--local"]) == 3
    assert "no objects under" in capsys.readouterr().err
    assert main(["delete-endpoint", "stars", "--local"]) == 0
    sagemaker = local_session().client("sagemaker")
    sagemaker.get_waiter("endpoint_deleted").wait(EndpointName="stars", WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    assert [sagemaker.list_models()["Models"], sagemaker.list_endpoint_configs()["EndpointConfigs"]] == [[], []]
    assert main(["predict", "stars", "It broke.", "--local"]) == 1
    assert "not found" in capsys.readouterr().err


def test_a_model_that_cannot_serve_fails_its_deployment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path, "untrained", "exit 1") == 3
    assert main(["deploy", "untrained", "--local"]) == 2
    assert "has no model to deploy" in capsys.readouterr().err
    assert train(tmp_path, "cuts", "true") == 0
    session = local_session()
    session.client("s3").put_object(Bucket="jobs", Key="cuts/output/model.tar.gz", Body=b"no archive")
    assert main(["deploy", "cuts", "--local"]) == 3
    assert "Failed to download model data" in capsys.readouterr().err
