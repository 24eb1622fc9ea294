"""A real server process on loopback, on the exports of a tiny model.

with running(tiny_export(tmp_path / "ml"), SERVE_MAX_BATCH="4") as server:
    server.post(b"It broke.\n", "text/plain").status
"""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.tiny_model import tiny_weights

SOURCES = Path(__file__).parents[2] / "src"
LONGEST_WAIT = 300.0
LENGTH = 64
"""max_seq_length of the tiny export."""


def tiny_export(base: Path) -> Path:
    """Write base/model as a training job leaves it, and return `base`: what is /opt/ml in the image."""
    from star_rating.model import pretrained_weights
    from star_rating.model.distilbert import DistilBertClassifier
    from star_rating.results.export import export_model

    weights = tiny_weights(base / "weights")
    loaded = pretrained_weights.load(weights)
    model = DistilBertClassifier(loaded.config, seed=1)
    pretrained_weights.load_into(model, loaded)
    export_model(model, weights, base / "model", max_seq_length=LENGTH)
    return base


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    content_type: str
    body: bytes
    headers: dict[str, str]


class Server:
    """A process, and a connection for each request."""

    def __init__(self, base: Path, settings: dict[str, str]) -> None:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(SOURCES), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "SAGEMAKER_BASE_DIR": str(base),
            "SAGEMAKER_BIND_TO_PORT": "0",
            **settings,
        }
        self.process = subprocess.Popen(
            [sys.executable, str(SOURCES / "serve.py")],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._listening = threading.Event()
        self.port = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._listening.wait(LONGEST_WAIT), self.lines
        assert self.port, self.lines

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if found := re.search(r"Listening on port (\d+)", line):
                self.port = int(found[1])
                self._listening.set()
        self._listening.set()

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """Send a request; a keyword `content_type` is the header content-type."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LONGEST_WAIT)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, names.get("content-type", ""), answer.read(), names)
        finally:
            connection.close()

    def post(self, body: bytes, content_type: str = "application/json", **headers: str) -> Answer:
        """Ask for predictions."""
        return self.request("POST", "/invocations", body, content_type=content_type, **headers)

    def wait_until_ready(self) -> list[int]:
        """Ask /ping until it says 200; return all that it has said."""
        said = []
        deadline = time.monotonic() + LONGEST_WAIT
        while time.monotonic() < deadline:
            said.append(self.request("GET", "/ping").status)
            if said[-1] == 200:
                return said
            time.sleep(0.05)
        raise AssertionError(self.lines)

    def metric(self, name: str) -> float:
        """Return a sample of /metrics; `name` has its labels."""
        text = self.request("GET", "/metrics").body.decode()
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(f"{name} "))

    def wait_for_metric(self, name: str) -> None:
        """Wait until a sample is more than 0."""
        deadline = time.monotonic() + LONGEST_WAIT
        while not self.metric(name):
            assert time.monotonic() < deadline, self.lines
            time.sleep(0.005)

    def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(LONGEST_WAIT)
        self._reader.join()
        return code


@contextmanager
def running(base: Path, **settings: str) -> Iterator[Server]:
    """Run a server until the block ends."""
    server = Server(base, settings)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.wait()
        server._reader.join()
        assert server.process.stdout is not None
        server.process.stdout.close()
