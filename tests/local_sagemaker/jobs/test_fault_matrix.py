"""Faults in every phase of a job: a stop, a server that is killed, an engine that goes away, is late, or loses things.

A cell is a fault in a phase. Whatever happens, the job ends with the one status that SageMaker would give it, on the
disk as over the API, and nothing of it stays on the engine. CI runs a few cells, `--full` (make test-long) all.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import docker
import pytest
from botocore.exceptions import ClientError

from local_sagemaker.client import start_server, stop_server
from local_sagemaker.state import Server, State
from tests.helpers.emulator import BUCKET, IMAGE, LocalSageMaker, ask, channel

pytestmark = pytest.mark.docker

ENGINE = "/var/run/docker.sock"
AWAY_SECONDS = 3.0
LATE_SECONDS = 1.0

SCRIPT = (
    "trap 'sleep 2; echo m > /opt/ml/model/m; exit 0' TERM; echo ready;"
    "until [ -e /opt/ml/input/go ]; do sleep 0.05; done; head -c 48M /dev/urandom > /opt/ml/model/w"
)

PHASES = ("Pending", "Starting", "Downloading", "Pulling", "Training", "Stopping", "Uploading", "Completed")
FAULTS = ("kill", "stop", "stop, kill", "engine away", "engine late", "container lost", "image lost", "network lost")
IN_CI = (
    ("stop, kill", "Pending"),
    ("kill", "Downloading"),
    ("engine away", "Training"),
    ("stop, kill", "Training"),
    ("container lost", "Stopping"),
    ("stop, kill", "Uploading"),
)

MESSAGES = {
    "Starting": "Insufficient capacity",
    "Downloading": "Downloading input data",
    "Pulling": "Downloading the training image",
}
"""Of the transitions that begin those phases."""


def expected(fault: str, phase: str) -> str:
    if phase == "Completed":
        return "Completed"
    if "stop" in fault or phase == "Stopping":
        return "Stopped"
    if phase == "Pulling" or (fault, phase) == ("container lost", "Training"):
        return "Failed"
    if fault == "image lost" and phase in ("Pending", "Starting", "Downloading"):
        return "Failed"
    return "Completed"


class EngineProxy:
    """A socket in front of the engine, which can go away, and be late."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seconds = 0.0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.come_back()

    def come_back(self) -> None:
        self._listener = listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.path))
        listener.listen(100)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def go_away(self) -> None:
        assert self._listener is not None
        self.path.unlink()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._listener = None
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        if self._listener is not None:
            self.go_away()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near = listener.accept()[0]
                far = socket.socket(socket.AF_UNIX)
                far.connect(ENGINE)
                with self._lock:
                    self._open |= {near, far}
                directions = [
                    threading.Thread(target=self._pump, args=pair, daemon=True) for pair in ((near, far), (far, near))
                ]
                for thread in directions:
                    thread.start()
                threading.Thread(target=self._end, args=(near, far, directions), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while content := source.recv(1 << 16):
                time.sleep(self.seconds)
                target.sendall(content)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def _end(self, near: socket.socket, far: socket.socket, directions: list[threading.Thread]) -> None:
        for thread in directions:
            thread.join()
        with self._lock:
            self._open -= {near, far}
        near.close()
        far.close()


class SilentRegistry:
    """A registry that answers nothing, until it is closed."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []
        self.image = f"127.0.0.1:{self._listener.getsockname()[1]}/silent:1"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                self._connections.append(self._listener.accept()[0])

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            connection.close()


class Cell:
    """A server with one job at a time, its engine, and the job that the fault is about."""

    def __init__(self, folder: Path, number: int) -> None:
        self.state = State(folder / "state")
        self.proxy = EngineProxy(folder / "engine.sock")
        self.registry = SilentRegistry()
        self.image = f"{IMAGE}-{os.getpid()}-{number}"
        self.engine = docker.DockerClient(f"unix://{ENGINE}")
        self.engine.images.get(IMAGE).tag(self.image)
        self.server: Server | None = None
        self.sagemaker = self.start()
        self.sagemaker.client("s3").create_bucket(Bucket=BUCKET)
        self.name = ""
        self.blocker = ""

    def start(self) -> LocalSageMaker:
        self.server = start_server(self.state, ["--jobs", "1", "--stop-seconds", "5"])
        self.sagemaker = LocalSageMaker(self.server)
        return self.sagemaker

    def kill(self) -> None:
        assert self.server is not None
        os.kill(self.server.pid, signal.SIGKILL)
        while self.state.is_owned():
            time.sleep(0.01)

    def close(self) -> None:
        self.registry.close()
        stop_server(self.state)
        self.proxy.close()
        with suppress(docker.errors.ImageNotFound):
            self.engine.images.remove(self.image, noprune=True)
        self.engine.close()

    # The way to each phase

    def reach(self, phase: str) -> None:
        """Create the job, and wait until it is in a phase."""
        fields: dict[str, Any] = {}
        if phase == "Pending":
            self.blocker = self.sagemaker.create(SCRIPT)
            self.sagemaker.wait_for(self.blocker, "ready")
        if phase == "Starting":
            ask(self.sagemaker, "faults", {"kind": "capacity", "seconds": 4})
        if phase == "Downloading":
            self.sagemaker.put("slow/object", bytes(200_000))
            fields["InputDataConfig"] = [channel("train", "slow/")]
            ask(self.sagemaker, "faults", {"kind": "download", "bytes_per_second": 50_000})
        request = self.sagemaker.request(SCRIPT, EnableNetworkIsolation=False, **fields)
        request["AlgorithmSpecification"]["TrainingImage"] = self.registry.image if phase == "Pulling" else self.image
        self.sagemaker.client("sagemaker").create_training_job(**request)
        self.name = request["TrainingJobName"]
        if phase in MESSAGES:
            self.wait_for_message(MESSAGES[phase])
        elif phase != "Pending":
            self.sagemaker.wait_for(self.name, "ready")
        if phase == "Stopping":
            self.stop()
        if phase in ("Uploading", "Completed"):
            self.go(self.name)
            wanted = {phase, "Completed"}
            self.sagemaker.wait_until(self.name, lambda job: job["SecondaryStatus"] in wanted)

    def wait_for_message(self, text: str) -> None:
        self.sagemaker.wait_until(
            self.name, lambda job: any(text in entry["StatusMessage"] for entry in job["SecondaryStatusTransitions"])
        )

    def go(self, name: str) -> None:
        folder = self.state.folder / "jobs" / "training" / name / "hosts" / "algo-1" / "ml" / "input"
        with suppress(FileNotFoundError):  # it has ended
            (folder / "go").touch()

    def stop(self) -> None:
        self.sagemaker.client("sagemaker").stop_training_job(TrainingJobName=self.name)

    # The faults

    def suffer(self, fault: str, phase: str) -> None:
        if "stop" in fault and phase == "Completed":
            with pytest.raises(ClientError, match="status Completed"):
                self.stop()
        elif "stop" in fault:
            self.stop()
        if "kill" in fault:
            self.kill()
            self.start()
        if fault.startswith("engine"):
            self.disturb_engine(fault)
        if fault.endswith("lost"):
            self.lose(fault)

    def disturb_engine(self, fault: str) -> None:
        if fault == "engine away":
            self.proxy.go_away()
            time.sleep(AWAY_SECONDS)
            self.proxy.come_back()
        else:
            self.proxy.seconds = LATE_SECONDS
            time.sleep(2 * LATE_SECONDS)
            self.proxy.seconds = 0.0

    def lose(self, fault: str) -> None:
        state = f"distilbert-trainer.state={self.state.identity}"
        if fault == "container lost":
            mine = {"label": [state, f"distilbert-trainer.job={self.name}"]}
            for container in self.engine.containers.list(all=True, filters=mine):
                container.remove(force=True)
        elif fault == "image lost":
            self.engine.images.remove(self.image, force=True, noprune=True)
        else:
            for network in self.engine.networks.list(filters={"label": state}):
                network.reload()
                for container in network.containers:
                    network.disconnect(container, force=True)
                network.remove()

    # What is true afterwards

    def ended(self) -> dict[str, Any]:
        """Let the job come to its end, and return what is said of it."""
        self.registry.close()
        if self.blocker:
            self.go(self.blocker)
            assert self.sagemaker.wait(self.blocker, 120)["TrainingJobStatus"] == "Completed"

        def has_ended(job: dict[str, Any]) -> bool:
            if job["SecondaryStatus"] == "Training":
                self.go(self.name)
            return job["TrainingJobStatus"] not in ("InProgress", "Stopping")

        return self.sagemaker.wait_until(self.name, has_ended, 120)

    def on_the_engine(self, job: str) -> list[str]:
        mine = {"label": [f"distilbert-trainer.state={self.state.identity}", f"distilbert-trainer.job={job}"]}
        found = [*self.engine.containers.list(all=True, filters=mine), *self.engine.networks.list(filters=mine)]
        return [thing.name for thing in found]


@pytest.fixture
def make_cell(
    tmp_path: Path,
    job_image: str,  # noqa: ARG001 - jobs need it
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[[], Cell]]:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/engine.sock")
    cells: list[Cell] = []

    def make() -> Cell:
        cells.append(Cell(tmp_path, len(cells)))
        return cells[-1]

    yield make
    for cell in cells:
        cell.close()
    identities = [cell.state.identity for cell in cells]
    with closing(docker.DockerClient(f"unix://{ENGINE}")) as engine:
        for identity in identities:
            mine = {"label": f"distilbert-trainer.state={identity}"}
            assert engine.containers.list(all=True, filters=mine) == []
            assert engine.networks.list(filters=mine) == []


@pytest.mark.parametrize(
    ("fault", "phase"),
    [
        pytest.param(fault, phase, marks=() if (fault, phase) in IN_CI else pytest.mark.long)
        for phase in PHASES
        for fault in FAULTS
    ],
)
def test_a_fault_in_a_phase(make_cell: Callable[[], Cell], fault: str, phase: str) -> None:
    cell = make_cell()
    cell.reach(phase)
    cell.suffer(fault, phase)
    job = cell.ended()
    statuses = [entry["Status"] for entry in job["SecondaryStatusTransitions"]]
    assert job["TrainingJobStatus"] == expected(fault, phase), (job.get("FailureReason"), statuses)
    assert statuses[-1] == job["SecondaryStatus"] == job["TrainingJobStatus"]
    assert sum(status in ("Completed", "Failed", "Stopped") for status in statuses) == 1
    assert all("EndTime" in entry for entry in job["SecondaryStatusTransitions"])
    document = json.loads((cell.state.folder / "jobs" / "training" / cell.name / "job.json").read_text())
    assert document["status"] == job["TrainingJobStatus"]
    has_model = any(key.endswith("model.tar.gz") for key in cell.sagemaker.keys(f"output/{cell.name}/"))
    ran = phase in ("Training", "Stopping", "Uploading", "Completed")
    assert has_model == (job["TrainingJobStatus"] == "Completed" or (job["TrainingJobStatus"] == "Stopped" and ran))
    give_up = time.monotonic() + 30
    while cell.on_the_engine(cell.name):
        assert time.monotonic() < give_up, cell.on_the_engine(cell.name)
        time.sleep(0.1)
    assert not (cell.state.folder / "jobs" / "training" / cell.name / "hosts").exists()


@pytest.mark.long
def test_an_engine_that_stays_away_fails_the_job_and_what_was_left_goes_when_it_is_there_again(
    make_cell: Callable[[], Cell],
) -> None:
    cell = make_cell()
    cell.reach("Training")
    cell.proxy.go_away()
    job = cell.sagemaker.wait(cell.name, 240)
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("InternalServerError: ")
    assert cell.on_the_engine(cell.name) != []
    cell.proxy.come_back()
    give_up = time.monotonic() + 60
    while cell.on_the_engine(cell.name):
        assert time.monotonic() < give_up
        time.sleep(0.1)
