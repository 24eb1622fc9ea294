"""Several containers of the image on a private network train one model, and end together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from containers import Containers, Result, docker
from real_job import RealJob

pytestmark = pytest.mark.image

HOSTS = ("algo-1", "algo-2")


class RealHosts:
    """A job of two containers, each with its own folders, as the platform gives them."""

    def __init__(self, containers: Containers, folder: Path, **hyperparameters: str) -> None:
        self.containers = containers
        self.network = containers.network()
        self.jobs = [RealJob(containers, folder / host) for host in HOSTS]
        for host, job in zip(HOSTS, self.jobs, strict=True):
            job.configure(use_xla="False", use_amp="False", log_every_steps="1", **hyperparameters)
            config = job.root / "input" / "config" / "resourceconfig.json"
            config.write_text(json.dumps({"current_host": host, "hosts": HOSTS}))
        (self.jobs[0].root / "checkpoints").mkdir()

    def start(self, rank: int) -> str:
        checkpoints = ["--volume", f"{self.jobs[0].root}/checkpoints:/opt/ml/checkpoints"] if rank == 0 else []
        return self.jobs[rank].start(
            "--network", self.network, "--network-alias", HOSTS[rank], "--hostname", HOSTS[rank], *checkpoints
        )

    def wait(self, container: str) -> Result:
        return self.containers.wait(container, timeout=300)

    @property
    def run_record(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.jobs[0].root / "model" / "run.json").read_text())
        return document


def test_two_containers_train_one_model_and_go_on_after_one_was_killed(containers: Containers, tmp_path: Path) -> None:
    hosts = RealHosts(containers, tmp_path, epochs="2", checkpoint_every_steps="1")
    second, first = hosts.start(1), hosts.start(0)
    containers.wait_for(first, " step 3/8 ", timeout=200)
    docker("kill", second)
    lost = hosts.wait(first)
    assert lost.exit_code == 19, lost.log
    assert hosts.jobs[0].failure.startswith("Host algo-2 is lost: its connection")
    assert lost.log.splitlines()[-1] == f"error: {hosts.jobs[0].failure}"
    assert "Traceback" not in lost.log

    started = [hosts.start(rank) for rank in (0, 1)]
    results = [hosts.wait(container) for container in started]
    assert [result.exit_code for result in results] == [0, 0], "\n".join(result.log for result in results)
    record = hosts.run_record
    assert record["checkpoints"]["resumed_from_step"] >= 3
    assert record["steps"]["done"] == 8
    assert len({host["weights_sha256"] for host in record["hosts"]}) == 1
    assert record["test"]["accuracy"]["value"] >= 0
    assert not list((hosts.jobs[1].root / "model").iterdir())


def test_a_host_that_never_comes_is_named(containers: Containers, tmp_path: Path) -> None:
    hosts = RealHosts(containers, tmp_path, host_wait_minutes="0.1")
    result = hosts.wait(hosts.start(0))
    assert result.exit_code == 19, result.log
    assert "Host algo-2 did not come within 0.1 min; 1 of 2 hosts are here." in hosts.jobs[0].failure


def test_a_wait_for_the_others_can_be_stopped(containers: Containers, tmp_path: Path) -> None:
    hosts = RealHosts(containers, tmp_path)
    container = hosts.start(1)
    containers.wait_for(container, "hosts: waiting for algo-1, for at most 10 min")
    containers.signal(container, "SIGTERM")
    assert hosts.wait(container).exit_code == 143
