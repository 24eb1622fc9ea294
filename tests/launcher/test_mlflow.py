"""The MLflow runs that `launcher experiment` shows; tests/src/observability/mlflow reads those of a real server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from launcher.aws.mlflow import tracking_server
from launcher.cli.main import main
from tests.helpers.job_files import write

RUN = {
    "info": {"run_name": "job-1", "status": "FINISHED", "start_time": 1796069496585},
    "data": {
        "params": [{"key": "epochs", "value": "3"}],
        "metrics": [{"key": "test:accuracy", "value": 0.75}],
        "tags": [{"key": "training_job_name", "value": "job-1"}],
    },
}
ANSWERS: dict[str, tuple[int, Any]] = {
    "/api/2.0/mlflow/experiments/get-by-name?experiment_name=my%20stars": (200, {"experiment": {"experiment_id": "1"}}),
    "/api/2.0/mlflow/runs/search": (200, {"runs": [RUN]}),
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, answer = ANSWERS.get(self.path, (403, {"error_code": "PERMISSION_DENIED"}))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    do_POST = do_GET  # noqa: N815 - the library's name

    def log_message(self, *_: object) -> None:  # pytest's output is not this server's log
        pass


@pytest.fixture
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def train(folder: Path, name: str, uri: str, experiment: str, **settings: str) -> None:
    settings = {"environment.MLFLOW_TRACKING_URI": f'"{uri}"', **settings}
    settings["environment.MLFLOW_EXPERIMENT_NAME"] = f'"{experiment}"'
    job_file = write(folder / "job.toml", settings)
    assert main(["train", "--file", str(job_file), "--job-name", name, "--poll-interval", "0.05"]) == 0


@pytest.mark.usefixtures("aws")
def test_mlflows_runs_stand_beside_the_classic_ones(
    tmp_path: Path, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path, "job-1", address, "my stars", **{"experiment_config.experiment_name": '"stars-beside-mlflow"'})
    capsys.readouterr()
    assert main(["experiment", "job-1", "--output", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["source"], row["job"]) for row in rows] == [("MLflow", "job-1"), ("Experiments", "job-1")]
    assert (rows[0]["status"], rows[0]["epochs"], rows[0]["test:accuracy"]) == ("FINISHED", "3", 0.75)


@pytest.mark.usefixtures("aws")
def test_a_server_that_refuses_is_a_sentence(tmp_path: Path, address: str, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path, "job-2", address, "secret")
    assert main(["experiment", "job-2"]) == 1
    error = capsys.readouterr().err
    assert address in error
    assert "403" in error
    assert "PERMISSION_DENIED" in error


def test_the_server_is_that_of_the_environment_else_that_of_the_request() -> None:
    config = {"MlflowResourceArn": "arn", "MlflowExperimentName": "e"}
    assert tracking_server({}) is None
    assert tracking_server({"MlflowConfig": config}) == ("arn", "e")
    environment = {"MLFLOW_TRACKING_URI": "http://host", "MLFLOW_EXPERIMENT_NAME": "f"}
    assert tracking_server({"MlflowConfig": config, "Environment": environment}) == ("http://host", "f")
