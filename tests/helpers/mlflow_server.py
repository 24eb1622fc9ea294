"""A real MLflow server on loopback, from .venv-mlflow (scripts/extra_venv.sh), with a database of its own.

with MlflowServer(tmp_path) as server:
    server.run("experiment")["data"]["metrics"]
    server.kill()
    server.start()
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / ".venv-mlflow" / "bin" / "mlflow"
SECONDS_TO_START = 240.0


class MlflowServer:
    """The server, which can be killed and started again on the same port."""

    def __init__(self, folder: Path, host: str = "127.0.0.1") -> None:
        self.folder = folder
        self.host = host
        with socket.socket() as free:
            free.bind((host, 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [str(PROGRAM), "server", f"--host={self.host}", f"--port={self.port}", "--workers=1"]
        command += [f"--backend-store-uri=sqlite:///{self.folder}/mlflow.db"]
        command += [f"--artifacts-destination={self.folder}/artifacts", "--allowed-hosts=*"]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(  # its workers are its children: they are ended as one group
                command,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            )
        deadline = time.monotonic() + SECONDS_TO_START
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=5):
                return
            assert self._process.poll() is None, (self.folder / "server.log").read_text()
            time.sleep(0.2)
        raise TimeoutError((self.folder / "server.log").read_text())

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def call(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Call the REST API: POST with a body, else GET."""
        request = urllib.request.Request(f"{self.uri}/api/2.0/mlflow/{path}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=30) as response:
            answer: dict[str, Any] = json.load(response)
            return answer

    def runs(self, experiment: str) -> list[dict[str, Any]]:
        """Return an experiment's runs."""
        found = self.call(f"experiments/get-by-name?experiment_name={experiment}")["experiment"]["experiment_id"]
        runs: list[dict[str, Any]] = self.call("runs/search", {"experiment_ids": [found]}).get("runs", [])
        return runs

    def run(self, experiment: str) -> dict[str, Any]:
        """Return an experiment's only run."""
        (run,) = self.runs(experiment)
        return run

    def history(self, run: Mapping[str, Any], metric: str) -> list[tuple[int, float]]:
        """Return step and value of all points of a metric, in the order of steps."""
        run_id = run["info"]["run_id"]
        found = self.call(f"metrics/get-history?run_id={run_id}&metric_key={metric}&max_results=10000")
        return sorted((int(point["step"]), float(point["value"])) for point in found.get("metrics", []))

    def artifacts(self, run: Mapping[str, Any], path: str = "") -> set[str]:
        """Return the paths of a folder of the run's artifacts."""
        found = self.call(f"artifacts/list?run_id={run['info']['run_id']}&path={path}")
        return {entry["path"] for entry in found.get("files", [])}


def pairs(entries: list[dict[str, str]]) -> dict[str, str]:
    """Return MLflow's list of keys and values as a mapping."""
    return {entry["key"]: entry["value"] for entry in entries}
