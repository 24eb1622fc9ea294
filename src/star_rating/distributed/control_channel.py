"""The control channel between a job's hosts: rendezvous, gathered values, heartbeats, and failures of peers.

    channel = ControlChannel(("algo-1", "algo-2"), rank=0, job="x", port=8890, on_peer_failure=end)
    addresses = channel.rendezvous(seconds=600)          # returns when all have come
    channel.all_gather({"records": 120})               # [{"records": 120}, {"records": 97}], the same on every host
    channel.close()

A star around the first host, the chief: JSON lines over TCP, and a heartbeat every second. Gradients travel by
TensorFlow's own collectives (collectives.py), which name no host where one dies, or wait for ever; hence this channel.
Who sees the end of a connection without a goodbye, or hears nothing for a while, knows which host is lost, and the
chief tells the others. The main thread learns of it where it waits for others; where it hangs in a collective,
`on_peer_failure` ends the process after a grace.
"""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from star_rating.failures import Failure, HostLostError, OtherHostError

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 1.0
SILENCE_SECONDS = 30.0
"""Without a heartbeat, after which a host is taken for lost: its machine or its network is gone."""
GRACE_SECONDS = 10.0
"""For the main thread to end by itself after a peer's failure, or for the stop signal that ended the peer to arrive."""
RETRY_SECONDS = 0.5
MAX_HANDSHAKE_BYTES = 100_000
"""Bytes of a first line; whatever else connects to the port is not read for long."""

Message = Mapping[str, Any]

_GONE = object()


@dataclass
class Peer:
    """A connection to another host."""

    name: str
    connection: socket.socket
    values: queue.Queue[Any] = field(default_factory=queue.Queue)
    """What it has sent to be gathered; _GONE once nothing can come any more."""
    left: bool = False
    """Whether it said goodbye."""
    _sending: threading.Lock = field(default_factory=threading.Lock)

    def send(self, message: Message) -> None:
        """Send a message; a connection that is broken is noticed where it is read."""
        with contextlib.suppress(OSError), self._sending:
            self.connection.sendall(f"{json.dumps(message)}\n".encode())

    def close(self) -> None:
        """End the connection, and the thread that reads it."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()


class ControlChannel:
    """One host's end of the channel."""

    def __init__(
        self, hosts: Sequence[str], rank: int, *, job: str, port: int, on_peer_failure: Callable[[Failure], None]
    ) -> None:
        self.hosts = hosts
        self.rank = rank
        self.job = job
        self.port = port
        """Of the first host."""
        self.on_peer_failure = on_peer_failure
        self.critical_section = threading.Lock()
        """Held where not even a lost host is a reason to end at once: while a checkpoint is written."""
        self.peer_failure: Failure | None = None
        """Why the job cannot go on; None while all hosts are well."""
        self._peers: dict[str, Peer] = {}
        """The first host's are all others, the others' is the first host."""
        self._failing = threading.Lock()
        self._closed = threading.Event()

    def rendezvous(self, seconds: float, on_progress: Callable[[], object] = lambda: None) -> tuple[str, ...]:
        """Wait until all hosts have come, and return their IP addresses by rank.

        Raises HostLostError that names who has not come in time. `on_progress` is called while it waits.
        """
        wait = _Wait(time.monotonic() + seconds, seconds, on_progress)
        addresses = self._accept_peers(wait) if self.rank == 0 else self._register_with_chief(wait)
        for peer in self._peers.values():
            peer.connection.settimeout(SILENCE_SECONDS)
            threading.Thread(target=self._listen, args=[peer], name=f"host {peer.name}", daemon=True).start()
        threading.Thread(target=self._send_heartbeats, name="heartbeat", daemon=True).start()
        return addresses

    def all_gather(self, value: Any) -> list[Any]:  # noqa: ANN401 - JSON
        """Return every host's value by rank; all hosts call it, at the same places. Raises a peer's failure."""
        if self.rank:
            first = self._peers[self.hosts[0]]
            first.send({"value": value})
            values: list[Any] = self._next(first)
            return values
        values = [value, *(self._next(peer) for peer in self._by_rank())]
        for peer in self._by_rank():
            peer.send({"value": values})
        return values

    def fail(self, failure: Failure) -> None:
        """Tell the others why this host ends, so that they end alike, and leave."""
        self._tell({"failed": self.hosts[self.rank], "exit_code": int(failure.exit_code), "sentence": str(failure)})
        self._close()

    def close(self) -> None:
        """Say goodbye to the peers, and close."""
        self._tell({"bye": True})
        self._close()

    def await_peer_failure(self, seconds: float) -> Failure | None:
        """Wait for the channel to find out why a collective has failed."""
        deadline = time.monotonic() + seconds
        while self.peer_failure is None and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.peer_failure

    def _by_rank(self) -> Iterator[Peer]:
        return (self._peers[host] for host in self.hosts if host in self._peers)

    def _next(self, peer: Peer) -> Any:  # noqa: ANN401 - JSON
        while True:
            if self.peer_failure is not None:
                raise self.peer_failure
            with contextlib.suppress(queue.Empty):
                value = peer.values.get(timeout=0.2)
                if value is not _GONE:
                    return value
                self._peer_failed(HostLostError(_sentence(peer.name, "it ended before the others were done")))

    def _tell(self, message: Message, except_for: str = "") -> None:
        for peer in self._peers.values():
            if peer.name != except_for:
                peer.send(message)

    def _close(self) -> None:
        self._closed.set()
        for peer in self._peers.values():
            peer.close()

    def _send_heartbeats(self) -> None:
        while not self._closed.wait(HEARTBEAT_SECONDS):
            self._tell({"beat": True})

    def _listen(self, peer: Peer) -> None:
        """Read one connection to its end; in a thread."""
        reason = "its connection ended"
        try:
            with peer.connection.makefile("rb") as lines:
                for line in lines:
                    self._receive(peer, json.loads(line))
        except TimeoutError:
            reason = f"nothing was heard of it for {SILENCE_SECONDS:.0f} s"
        except (OSError, ValueError) as error:
            reason = f"its connection broke ({error})"
        if peer.left:
            peer.values.put(_GONE)
        elif not self._closed.is_set():
            self._peer_failed(HostLostError(_sentence(peer.name, reason)))

    def _receive(self, peer: Peer, message: Message) -> None:
        if "value" in message:
            peer.values.put(message["value"])
        elif "bye" in message:
            peer.left = True
        elif "failed" in message:
            sentence, host = str(message["sentence"]), str(message["failed"])
            said = sentence if sentence.startswith("Host ") else f"Host {host} failed: {sentence}"
            self._peer_failed(OtherHostError(said, int(message["exit_code"])))

    def _peer_failed(self, failure: Failure) -> None:
        """Keep the first reason, tell the others, and see to it that this process ends."""
        with self._failing:
            if self.peer_failure is not None or self._closed.is_set():
                return
            self.peer_failure = failure
        log.error("%s", failure)
        if self.rank == 0:
            self._tell({"failed": self.hosts[0], "exit_code": int(failure.exit_code), "sentence": str(failure)})
        threading.Thread(target=self._end, args=[failure], name="end", daemon=True).start()

    def _end(self, failure: Failure) -> None:
        if not self._closed.wait(GRACE_SECONDS):
            with self.critical_section:
                self.on_peer_failure(failure)

    def _accept_peers(self, wait: _Wait) -> tuple[str, ...]:
        """Be the first host: listen until all others have come."""
        addresses: dict[str, str] = {}
        with socket.create_server(("", self.port), backlog=len(self.hosts), reuse_port=False) as server:
            server.settimeout(RETRY_SECONDS)
            while missing := [host for host in self.hosts[1:] if host not in self._peers]:
                if wait.is_over():
                    raise self._missing_peers_error(missing, wait)
                with contextlib.suppress(TimeoutError):
                    connection, (address, *_) = server.accept()
                    if host := self._handshake(connection):
                        addresses[host] = address
                        log.info("hosts: %s has come, from %s", host, address)
        for peer in self._by_rank():
            addresses.setdefault(self.hosts[0], peer.connection.getsockname()[0])
        in_order = tuple(addresses[host] for host in self.hosts)
        self._tell({"welcome": in_order})
        return in_order

    def _handshake(self, connection: socket.socket) -> str | None:
        """Read a greeting; return the host that it is of, None if it is of nobody who belongs here."""
        connection.settimeout(5.0)
        try:
            greeting = json.loads(_read_line(connection))
            host, job, hosts = greeting["host"], greeting["job"], greeting["hosts"]
        except (OSError, ValueError, KeyError, TypeError):
            connection.close()
            return None
        if host not in self.hosts[1:] or job != self.job or hosts != list(self.hosts):
            log.warning("hosts: %s of job %s, whose hosts are %s, does not belong here", host, job, hosts)
            Peer(str(host), connection).send({"refused": f"it trains {self.job} on {', '.join(self.hosts)}"})
            connection.close()
            return None
        if host in self._peers:  # it has started again
            self._peers[host].close()
        self._peers[host] = Peer(host, connection)
        return str(host)

    def _missing_peers_error(self, missing: Sequence[str], wait: _Wait) -> HostLostError:
        failure = HostLostError(
            f"Host {' and host '.join(missing)} did not come within {wait.seconds / 60:.3g} min; "
            f"{len(self.hosts) - len(missing)} of {len(self.hosts)} hosts are here. Its own log says why: look there, "
            f"or whether port {self.port} of {self.hosts[0]} can be reached from it; then start the job again."
        )
        self._tell({"failed": self.hosts[0], "exit_code": int(failure.exit_code), "sentence": str(failure)})
        return failure

    def _register_with_chief(self, wait: _Wait) -> tuple[str, ...]:
        """Be one of the others: find the first host, and wait until all have come."""
        first = self.hosts[0]
        log.info("hosts: waiting for %s, for at most %.3g min", first, wait.seconds / 60)
        connection = self._connected(wait)
        peer = self._peers[first] = Peer(first, connection)
        peer.send({"host": self.hosts[self.rank], "job": self.job, "hosts": list(self.hosts)})
        # The first host gives up at its own time, and then says who is missing.
        connection.settimeout(RETRY_SECONDS)
        received = b""
        while not received.endswith(b"\n"):
            try:
                chunk = connection.recv(1)
            except TimeoutError:
                if wait.is_over(beyond=SILENCE_SECONDS):
                    raise HostLostError(_sentence(first, "it went silent while the hosts met")) from None
                continue
            except OSError:
                chunk = b""
            if not chunk:
                raise HostLostError(_sentence(first, "its connection ended while the hosts met"))
            received += chunk
        message = json.loads(received)
        if "welcome" in message:
            return tuple(message["welcome"])
        if "refused" in message:
            raise HostLostError(
                f"Host {first} does not know this one: {message['refused']}. Compare resourceconfig.json."
            )
        raise OtherHostError(str(message["sentence"]), int(message["exit_code"]))

    def _connected(self, wait: _Wait) -> socket.socket:
        first, problem = self.hosts[0], "its name has no address"
        while not wait.is_over():
            try:
                connection = socket.create_connection((first, self.port), timeout=5.0)
            except socket.gaierror:
                problem = "its name has no address on this network"
            except OSError as error:
                problem = f"port {self.port} does not answer ({error.strerror or error})"
            else:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return connection
            time.sleep(RETRY_SECONDS)
        raise HostLostError(
            f"Host {first} did not come within {wait.seconds / 60:.3g} min: {problem}. Its own log says why: look "
            "there, or whether the network lets the hosts reach each other; then start the job again."
        )


@dataclass(frozen=True)
class _Wait:
    """How long to wait for the others."""

    deadline: float
    seconds: float
    on_progress: Callable[[], object]

    def is_over(self, beyond: float = 0.0) -> bool:
        self.on_progress()
        return time.monotonic() > self.deadline + beyond


def _read_line(connection: socket.socket) -> bytes:
    received = b""
    while not received.endswith(b"\n"):
        chunk = connection.recv(1) if len(received) < MAX_HANDSHAKE_BYTES else b""
        if not chunk:
            raise ValueError("the connection ended within the greeting")
        received += chunk
    return received


def _sentence(host: str, reason: str) -> str:
    return (
        f"Host {host} is lost: {reason}. Its own log has its last words. Start the job again: with checkpoints it goes "
        "on from the last one."
    )
