"""Several containers of the image on a private network train one model, and end together."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.containers import Containers, docker
from tests.helpers.real_hosts import RealHosts

pytestmark = pytest.mark.image


def test_two_containers_train_one_model_and_go_on_after_one_was_killed(containers: Containers, tmp_path: Path) -> None:
    hosts = RealHosts(containers, tmp_path, epochs="2", checkpoint_every_steps="1")
    second, first = hosts.start(1), hosts.start(0)
    containers.wait_for(first, " step 3/8 ")
    docker("kill", second)
    lost = hosts.wait(first)
    assert lost.exit_code == 19, lost.log
    assert hosts.jobs[0].failure.startswith("Host algo-2 is lost: its connection")
    assert f"error: {hosts.jobs[0].failure}" in lost.log.splitlines()[-5:]  # by another pipe than stdout
    assert "Traceback" not in lost.log

    hosts.run()
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
