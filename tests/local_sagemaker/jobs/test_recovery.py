"""A server that is killed, and one that is started on what it has left. Each in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from launcher.cli.main import main
from local_sagemaker.client import start_server, stop_server
from local_sagemaker.state import Server, State
from tests.helpers.emulator import BUCKET, LocalSageMaker

pytestmark = pytest.mark.docker


class Servers:
    """Servers of one state folder, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.state = State(folder)
        self.server: Server | None = None

    def start(self) -> LocalSageMaker:
        self.server = start_server(self.state, ["--jobs", "4", "--stop-seconds", "5"])
        return LocalSageMaker(self.server)

    def kill(self) -> None:
        assert self.server is not None
        os.kill(self.server.pid, signal.SIGKILL)
        while self.state.running_server() is not None:
            time.sleep(0.01)

    def on_the_engine(self) -> list[str]:
        engine = docker.from_env()
        try:
            mine = {"label": f"distilbert-trainer.state={self.state.identity}"}
            return [*engine.containers.list(all=True, filters=mine), *engine.networks.list(filters=mine)]
        finally:
            engine.close()


@pytest.fixture
def servers(tmp_path: Path, job_image: str) -> Iterator[Servers]:  # noqa: ARG001 - jobs need the image
    servers = Servers(tmp_path / "state")
    yield servers
    stop_server(servers.state)
    assert servers.on_the_engine() == []


def resident_megabytes(pid: int) -> float:
    match = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match is not None
    return int(match[1]) / 1024


def test_fifty_jobs_and_a_server_that_is_killed_in_the_middle(servers: Servers) -> None:
    sagemaker = servers.start()
    sagemaker.client("s3").create_bucket(Bucket=BUCKET)
    names = [
        sagemaker.create(f"echo number {number}; echo loss=0.{number + 1}; sleep 0.3; echo {number} > /opt/ml/model/w")
        for number in range(50)
    ]
    done: list[dict[str, Any]] = []
    while len(done) < 15:
        done = sagemaker.client("sagemaker").list_training_jobs(StatusEquals="Completed", MaxResults=100)[
            "TrainingJobSummaries"
        ]
        time.sleep(0.05)
    servers.kill()
    sagemaker = servers.start()
    for number, name in enumerate(names):
        job = sagemaker.wait(name, timeout=240)
        assert job["TrainingJobStatus"] == "Completed", job
        assert sagemaker.lines(name) == [f"number {number}", f"loss=0.{number + 1}"]
        assert job["FinalMetricDataList"][0]["Value"] == pytest.approx(float(f"0.{number + 1}"))
        assert sagemaker.archive(job["ModelArtifacts"]["S3ModelArtifacts"]) == {"w": f"{number}\n".encode()}
    assert servers.server is not None
    assert resident_megabytes(servers.server.pid) < 300


def test_a_running_job_is_found_again_with_its_whole_log(servers: Servers) -> None:
    sagemaker = servers.start()
    sagemaker.client("s3").create_bucket(Bucket=BUCKET)
    name = sagemaker.create(
        "trap 'exit 0' TERM; i=0; while [ $i -lt 40 ]; do i=$((i + 1)); echo line $i; sleep 0.1; done",
        CheckpointConfig={"S3Uri": f"s3://{BUCKET}/checkpoints/"},
    )
    sagemaker.wait_for(name, "line 3")
    servers.kill()
    time.sleep(1)  # lines that nobody reads at the moment
    sagemaker = servers.start()
    job = sagemaker.wait(name)
    assert job["TrainingJobStatus"] == "Completed"
    assert sagemaker.lines(name) == [f"line {number}" for number in range(1, 41)]


def test_a_job_whose_containers_are_gone_says_so(servers: Servers) -> None:
    sagemaker = servers.start()
    sagemaker.client("s3").create_bucket(Bucket=BUCKET)
    name = sagemaker.create("echo ready; while :; do sleep 0.1; done")
    sagemaker.wait_for(name, "ready")
    servers.kill()
    engine = docker.from_env()
    for container in engine.containers.list(filters={"label": f"distilbert-trainer.job={name}"}):
        container.remove(force=True)
    engine.close()
    sagemaker = servers.start()
    assert sagemaker.wait(name)["FailureReason"] == "InternalServerError: The containers have been removed."


def test_ending_the_server_ends_its_jobs_and_what_it_knew_is_there_again(servers: Servers) -> None:
    sagemaker = servers.start()
    sagemaker.client("s3").create_bucket(Bucket=BUCKET)
    sagemaker.client("ecr").create_repository(repositoryName="star-rating")
    name = sagemaker.create("echo ready; while :; do sleep 0.1; done")
    sagemaker.wait_for(name, "ready")
    stop_server(servers.state)
    assert servers.on_the_engine() == []
    sagemaker = servers.start()
    job = sagemaker.describe(name)
    assert job["FailureReason"] == "InternalServerError: The local SageMaker was stopped while the job ran."
    assert sagemaker.lines(name) == ["ready"]
    assert sagemaker.client("ecr").describe_repositories()["repositories"][0]["repositoryName"] == "star-rating"


def test_what_a_killed_server_has_left_goes_with_local_stop(
    servers: Servers, capsys: pytest.CaptureFixture[str]
) -> None:
    sagemaker = servers.start()
    sagemaker.client("s3").create_bucket(Bucket=BUCKET)
    name = sagemaker.create("echo ready; while :; do sleep 0.1; done", EnableNetworkIsolation=False)
    sagemaker.wait_for(name, "ready")
    servers.kill()
    assert len(servers.on_the_engine()) == 2  # the container, and the network of jobs with one host
    assert main(["local", "stop", "--state", str(servers.state.folder)]) == 0
    assert "nothing of it is left on the engine" in capsys.readouterr().err
    assert servers.on_the_engine() == []
