"""A run on a real MLflow server: what arrives, in what order, and what happens when the server does not answer."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.aws.mlflow import mlflow_runs
from launcher.aws.session import Session
from launcher.errors import AwsError
from observability.mlflow import tracker
from observability.mlflow.settings import MlflowSettings, read_settings
from observability.mlflow.tracker import Tracker
from star_rating.failures import ConfigurationError
from tests.helpers.mlflow_server import PROGRAM, ROOT, MlflowServer, pairs
from tests.helpers.training_job import TrainingJob

SRC = ROOT / "src"
needs_server = pytest.mark.skipif(not PROGRAM.exists(), reason="scripts/extra_venv.sh makes the server")
UNREACHABLE = MlflowSettings("http://user:secret@127.0.0.1:9", "reviews", "job")  # port 9: nobody listens


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with MlflowServer(tmp_path_factory.mktemp("mlflow")) as running:
        yield running


def make_tracker(settings: MlflowSettings, folder: Path, **parameters: object) -> Tracker:
    return Tracker(settings, parameters, {"job": "a"}, state_file=folder / "mlflow.json", unsent=folder / "unsent")


def test_without_a_tracking_server_there_are_no_settings() -> None:
    assert read_settings({}, "job") is None
    assert read_settings({"MLFLOW_TRACKING_URI": " ", "MLFLOW_EXPERIMENT_NAME": "reviews"}, "job") is None


def test_a_server_is_named_by_address_or_arn() -> None:
    arn = "arn:aws:sagemaker:us-east-1:123456789012:mlflow-app/app-ABC"
    assert read_settings({"MLFLOW_TRACKING_URI": arn}, "job") == MlflowSettings(arn, "Default", "job")
    settings = read_settings({"MLFLOW_TRACKING_URI": "http://a:b@host/", "MLFLOW_RUN_ID": "1"}, "job")
    assert settings is not None
    assert (settings.run_id, settings.server) == ("1", "http://host/")


@pytest.mark.parametrize(
    ("uri", "named"),
    [
        ("arn:aws:s3:::bucket", "arn:aws:s3:::bucket"),
        ("arn:aws:sagemaker:us-east-1:12:mlflow-app/a", "mlflow-app/ID"),
        ("server:5000", "server:5000"),
        ("http://", "http://"),
        ("sqlite:///mlflow.db", "sqlite"),
    ],
)
def test_an_address_that_cannot_be_a_server_is_refused(uri: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match="MLFLOW_TRACKING_URI") as error:
        read_settings({"MLFLOW_TRACKING_URI": uri}, "job")
    assert named in str(error.value)


def test_a_name_that_is_too_long_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="MLFLOW_EXPERIMENT_NAME has 257"):
        read_settings({"MLFLOW_TRACKING_URI": "http://host", "MLFLOW_EXPERIMENT_NAME": "e" * 257}, "job")


def test_without_a_tracking_server_nothing_is_imported() -> None:
    program = "import sys, observability.mlflow.tracking; print(sorted({'mlflow', 'tensorflow'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", program], cwd=SRC, capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


@pytest.mark.slow  # imports the client
def test_what_no_server_takes_is_written_to_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tracker, "PATIENCE_SECONDS", 0.3)
    run = make_tracker(UNREACHABLE, tmp_path, epochs=3)
    run.begin()
    began = time.perf_counter()
    for step in range(1000):
        run.log(step, {"train:loss": 1.0})
    assert (time.perf_counter() - began) / 1000 < 0.001  # a step takes 100 times as long
    record = run.finish({"": [tmp_path / "run.json"]}, status="FINISHED")

    assert record["points"] == {"sent": 0, "of": 1000}
    with (tmp_path / "unsent" / "metrics.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == [str(step) for step in range(1000)]
    left = json.loads((tmp_path / "unsent" / "run.json").read_text())
    assert (left["parameters"], left["files"]) == ({"epochs": "3"}, [str(tmp_path / "run.json")])
    assert "secret" not in caplog.text + (tmp_path / "unsent" / "run.json").read_text()
    assert len([message for message in caplog.messages if "does not take the run" in message]) == 1


@pytest.mark.slow
@needs_server
class TestServer:
    def test_a_server_that_comes_back_gets_all_of_it(self, server: MlflowServer, tmp_path: Path) -> None:
        run = make_tracker(MlflowSettings(server.uri, "outage", "job"), tmp_path)
        run.begin()
        for step in range(0, 50, 10):
            run.log(step, {"train:loss": 2.0 - step / 100})
        wait_until(lambda: run.record()["points"]["sent"] == 5)
        server.kill()
        for step in range(50, 100, 10):
            run.log(step, {"train:loss": 2.0 - step / 100})
        wait_until(lambda: run.error is not None)
        server.start()
        run.log(100, {"test:accuracy": 0.5})
        (tmp_path / "evaluation.json").write_text("{}")
        record = run.finish({"metrics": [tmp_path / "evaluation.json"]}, status="FINISHED")

        assert record["points"] == {"sent": 11, "of": 11}
        logged = server.run("outage")
        assert server.history(logged, "train:loss") == [(step, 2.0 - step / 100) for step in range(0, 100, 10)]
        assert server.history(logged, "test:accuracy") == [(100, 0.5)]
        assert server.artifacts(logged, "metrics") == {"metrics/evaluation.json"}
        assert logged["info"]["status"] == "FINISHED"
        assert not (tmp_path / "unsent").exists()

    def test_a_run_interrupted_twice_is_one_run_without_gaps(self, server: MlflowServer, tmp_path: Path) -> None:
        """Each attempt starts from an older step than the last one that was logged, as after a lost checkpoint."""
        settings = MlflowSettings(server.uri, "spot", "job")
        for attempt, steps in enumerate([range(0, 50, 10), range(30, 80, 10), range(60, 120, 10)]):
            run = make_tracker(settings, tmp_path, epochs=3 + attempt, seed=1)
            run.begin()
            for step in steps:
                run.log(step, {"train:loss": float(step)})
            if attempt < 2:  # killed: no end is logged
                wait_until(lambda run=run, steps=steps: run.record()["points"]["sent"] == len(steps))
                continue
            run.finish({}, status="FINISHED")
        logged = server.run("spot")
        assert server.history(logged, "train:loss") == [(step, float(step)) for step in range(0, 120, 10)]
        assert pairs(logged["data"]["params"]) == {"epochs": "3", "seed": "1"}
        assert pairs(logged["data"]["tags"])["changed.epochs"] == "5"

    def test_a_job_that_resumes_twice_continues_its_run(
        self, server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Trained for real; each attempt goes on from the checkpoint of the one before."""
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
        monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "job")
        monkeypatch.setenv("IMAGE_REVISION", "0123abc")
        job = TrainingJob(tmp_path)
        hyperparameters = {"enable_checkpointing": "True", "log_every_steps": "1", "use_xla": "False"}
        for epochs in ("1", "2", "3"):
            outcome = job.run(epochs=epochs, **hyperparameters)
            assert outcome.exit_code == 0, outcome.log + outcome.stderr
        logged = server.run("job")
        history = outcome.run["history"]
        assert server.history(logged, "train:loss") == expected(history["steps"], history["train"], "loss")
        epochs_ended = [int(entry["step"]) for entry in history["epochs"]]
        assert server.history(logged, "validation:loss") == expected(epochs_ended, history["epochs"], "validation_loss")
        test = outcome.evaluation["metrics"]
        assert server.history(logged, "test:accuracy")[-1] == (epochs_ended[-1], test["accuracy"]["value"])
        assert {"run.json", "evaluation.json", "confusion_matrix.png", "training_curves.png", "model"} <= (
            server.artifacts(logged)
        )
        tags = pairs(logged["data"]["tags"])
        assert (tags["mlflow.source.git.commit"], tags["training_job_name"]) == ("0123abc", "local")
        assert pairs(logged["data"]["params"])["train_batch_size"] == "20"
        assert json.loads((job.root / "checkpoints" / "mlflow.json").read_text())["run_id"] == logged["info"]["run_id"]

    @pytest.mark.parametrize("kind", ["mlflow-app", "mlflow-tracking-server"])
    def test_sagemakers_server_is_reached_by_its_arn_and_read_by_the_launcher(
        self, server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
    ) -> None:
        """The plug-in and the launcher sign; the server here takes any signature."""
        arn = f"arn:aws:sagemaker:us-east-1:123456789012:{kind}/reviews"
        for name, value in {
            "SAGEMAKER_MLFLOW_CUSTOM_ENDPOINT": server.uri,
            "MLFLOW_TRACKING_URI": arn,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        settings = read_settings({"MLFLOW_TRACKING_URI": arn, "MLFLOW_EXPERIMENT_NAME": kind}, "job-1")
        assert settings is not None
        run = Tracker(settings, {"epochs": 3}, {"training_job_name": "job-1"}, state_file=None, unsent=tmp_path)
        run.begin()
        assert run.error is None
        run.log(10, {"train:loss": 0.5})
        run.finish({}, status="FINISHED")

        description = {"MlflowConfig": {"MlflowResourceArn": arn, "MlflowExperimentName": kind}}
        (row,) = mlflow_runs(description, Session())
        assert (row["run"], row["job"], row["status"]) == ("job-1", "job-1", "FINISHED")
        assert (row["epochs"], row["train:loss"]) == ("3", 0.5)
        with pytest.raises(AwsError, match="404"):
            mlflow_runs({"MlflowConfig": {"MlflowResourceArn": arn, "MlflowExperimentName": "none"}}, Session())


def expected(steps: list[int], entries: list[dict[str, float]], name: str) -> list[tuple[int, float]]:
    return [(step, entry[name]) for step, entry in zip(steps, entries, strict=True)]


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
