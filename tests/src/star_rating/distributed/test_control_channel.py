"""Hosts meet however they come, agree on values, and each hears why another is gone; real sockets, a thread a host."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from star_rating.distributed import cluster as clusters
from star_rating.distributed import control_channel
from star_rating.distributed.cluster import Cluster
from star_rating.failures import ConfigurationError, DataError, ExitCode, Failure, HostLostError
from tests.helpers.hosts_job import free_ports

HOSTS = ("127.0.0.1", "algo-2", "algo-3")


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    port = free_ports()
    monkeypatch.setenv(clusters.PORT_VARIABLE, str(port))
    monkeypatch.setattr(control_channel, "RETRY_SECONDS", 0.02)
    return port


class Hosts:
    """A thread for each host that takes part."""

    def __init__(
        self,
        program: Callable[[Cluster], Any],
        ranks: tuple[int, ...] = (0, 1, 2),
        wait: float = 20,
        losses: dict[int, Failure] | None = None,
        before: Callable[[int], object] = lambda _: None,
    ) -> None:
        self.program = program
        self.wait = wait
        self.results: dict[int, Any] = {}
        self.losses = {} if losses is None else losses
        self.before = before
        threads = [threading.Thread(target=self._run, args=[rank]) for rank in ranks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()

    def _run(self, rank: int) -> None:
        def on_peer_failure(failure: Failure) -> None:
            self.losses[rank] = failure

        self.before(rank)
        try:
            with Cluster(HOSTS, HOSTS[rank], "job", on_peer_failure=on_peer_failure) as cluster:
                cluster.rendezvous(self.wait)
                self.results[rank] = self.program(cluster)
        except Exception as error:  # noqa: BLE001 - what a test looks at
            self.results[rank] = error


@pytest.mark.usefixtures("port")
def test_all_hosts_get_every_hosts_value_by_rank_whenever_they_come() -> None:
    def program(cluster: Cluster) -> Any:
        first = cluster.all_gather({"rank": cluster.rank, "none": None})
        time.sleep(0.02 * (3 - cluster.rank))
        return first, cluster.broadcast(f"from {cluster.rank}"), cluster.all_gather(None)

    expected = [{"rank": rank, "none": None} for rank in range(3)], "from 0", [None] * 3
    assert Hosts(program).results == dict.fromkeys(range(3), expected)


def test_addresses_are_those_that_the_hosts_reach_each_other_by(port: int) -> None:
    results = Hosts(lambda cluster: cluster.addresses).results
    assert results == dict.fromkeys(range(3), tuple(f"127.0.0.1:{port + 1 + rank}" for rank in range(3)))


@pytest.mark.usefixtures("port")
def test_a_host_that_never_comes_is_named_on_all_that_came() -> None:
    results = Hosts(lambda _: None, ranks=(0, 1), wait=0.2).results
    for failure in results.values():
        assert failure.exit_code == ExitCode.HOST_LOST
        assert "Host algo-3 did not come within 0.00333 min; 2 of 3 hosts are here" in str(failure)


@pytest.mark.usefixtures("port")
def test_a_first_host_that_never_comes_is_named_with_what_does_not_answer() -> None:
    (failure,) = Hosts(lambda _: None, ranks=(1,), wait=0.1).results.values()
    assert isinstance(failure, HostLostError)
    assert "Host 127.0.0.1 did not come within" in str(failure)
    assert "Connection refused" in str(failure)


@pytest.mark.usefixtures("port")
def test_a_name_without_an_address_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "create_connection", unknown_name)
    (failure,) = Hosts(lambda _: None, ranks=(2,), wait=0.1).results.values()
    assert "its name has no address on this network" in str(failure)


@pytest.mark.parametrize(("rank", "above"), [(0, 0), (0, 1), (1, 2)])
def test_a_port_that_is_taken_is_named_before_anybody_waits(port: int, rank: int, above: int) -> None:
    with socket.create_server(("", port + above)):
        (failure,) = Hosts(lambda _: None, ranks=(rank,)).results.values()
    assert failure.exit_code == ExitCode.CONFIGURATION
    assert f"cannot listen on port {port + above}, by which the others reach it: Address already in use" in str(failure)
    assert "Set TRAINING_PORT to another first port" in str(failure)


@pytest.mark.parametrize("text", ["http", "0", "65533", "-1", "²"])
def test_a_port_that_is_none_is_said(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(clusters.PORT_VARIABLE, text)
    with pytest.raises(ConfigurationError, match=r"TRAINING_PORT is .*first of 4 free ports, a number from 1 to 65532"):
        Cluster(HOSTS, HOSTS[0])


def unknown_name(*_: object, **__: object) -> None:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.mark.usefixtures("port")
def test_what_ends_one_host_ends_all_with_its_code_and_sentence() -> None:
    def program(cluster: Cluster) -> None:
        if cluster.rank == 2:
            raise DataError("part-7 is cut off. Copy it again.")
        cluster.all_gather(1)

    results = Hosts(program).results
    assert [results[rank].exit_code for rank in range(3)] == [ExitCode.DATA] * 3
    assert str(results[0]) == str(results[1]) == "Host algo-3 failed: part-7 is cut off. Copy it again."


@pytest.mark.usefixtures("port")
@pytest.mark.parametrize("lost", [0, 2])
def test_a_host_that_vanishes_is_named(lost: int) -> None:
    def program(cluster: Cluster) -> None:
        cluster.all_gather(1)
        if cluster.rank == lost:
            assert cluster._channel is not None
            cluster._channel._close()  # as the kernel does for a process that was killed
            return
        cluster.all_gather(2)

    results = Hosts(program).results
    for rank in {0, 1, 2} - {lost}:
        assert results[rank].exit_code == ExitCode.HOST_LOST
        assert f"Host {HOSTS[lost]} is lost: its connection" in str(results[rank])


@pytest.mark.usefixtures("port")
def test_a_host_that_falls_silent_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_channel, "SILENCE_SECONDS", 2.0)  # a busy machine delays the others by less
    monkeypatch.setattr(control_channel, "HEARTBEAT_SECONDS", 0.1)
    over = threading.Event()

    def program(cluster: Cluster) -> None:
        assert cluster._channel is not None
        if cluster.rank == 1:
            cluster._channel._closed.set()  # its heartbeat ends, its connection does not
            over.wait(300)
            return
        try:
            cluster.all_gather(1)
        finally:
            over.set()

    results = Hosts(program).results
    assert "Host algo-2 is lost: nothing was heard of it" in str(results[0])


@pytest.mark.usefixtures("port")
def test_a_main_thread_that_hangs_is_ended_after_a_grace_but_not_while_it_writes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(control_channel, "GRACE_SECONDS", 0.1)
    losses: dict[int, Failure] = {}
    ended_while_writing = []

    def program(cluster: Cluster) -> None:
        if cluster.rank == 1:
            raise DataError("It is over.")
        if cluster.rank == 0:
            with cluster.critical_section():
                time.sleep(0.4)
                ended_while_writing.append(0 in losses)
        deadline = time.monotonic() + 300
        while cluster.rank not in losses and time.monotonic() < deadline:
            time.sleep(0.01)

    Hosts(program, losses=losses)
    assert ended_while_writing == [False]
    said = {rank: str(failure) for rank, failure in losses.items()}
    assert said == dict.fromkeys((0, 2), "Host algo-2 failed: It is over.")


def test_whoever_does_not_belong_here_is_passed_over(port: int) -> None:
    def knock(rank: int) -> None:
        while rank:
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)) as visitor:
                visitor.sendall(b'GET / HTTP/1.1\r\n\r\n{"host": 3}\n')
                return

    results = Hosts(lambda cluster: cluster.all_gather(cluster.rank), before=knock).results
    assert results == {rank: [0, 1, 2] for rank in range(3)}


@pytest.mark.usefixtures("port")
def test_hosts_of_different_settings_are_refused_with_what_differs() -> None:
    def program(cluster: Cluster) -> None:
        cluster.require_same({"seed": 42 if cluster.rank < 2 else 43, "epochs": 1})

    results = Hosts(program).results
    assert [results[rank].exit_code for rank in range(3)] == [ExitCode.CONFIGURATION] * 3
    assert "Host algo-3 has seed '43', host 127.0.0.1 '42'" in str(results[0])


def test_a_cluster_of_one_has_no_line() -> None:
    threads = threading.active_count()
    with Cluster(("algo-1",), "algo-1") as cluster:
        cluster.rendezvous(1)
        assert cluster.all_gather(7) == [7]
        assert cluster.broadcast("x") == "x"
        cluster.require_same({"anything": 1})
        assert cluster.is_chief
        assert threading.active_count() == threads
