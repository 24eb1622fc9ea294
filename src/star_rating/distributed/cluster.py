"""The hosts of a job, as one of them sees them; a job of one host is a cluster of one.

    cluster = Cluster.of(contract, on_peer_failure=end_the_process)
    with cluster:
        cluster.rendezvous(seconds=600)
        cluster.all_gather(7)               # [7, 9]: every host's value, by rank
        if cluster.is_chief:            # writes what there is one of: checkpoints, model, metrics
            ...

Whatever ends one host ends all: who leaves the block by an exception tells the others why.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from star_rating.contract import Contract
from star_rating.distributed.control_channel import ControlChannel
from star_rating.failures import ConfigurationError, Failure, as_failure, quote

log = logging.getLogger(__name__)

PORT_VARIABLE = "TRAINING_PORT"
DEFAULT_PORT = 8890
"""The first host's, for the control channel; TensorFlow's of rank N is N + 1 above it."""
_LAST_PORT = 65_535
PEER_FAILURE_SECONDS = 5.0
"""A collective fails a moment before the control channel says which host is to blame."""


class Cluster:
    """A job's hosts, and the control channel between them where there are several."""

    def __init__(
        self,
        hosts: Sequence[str],
        current_host: str,
        job: str = "",
        *,
        on_peer_failure: Callable[[Failure], None] = lambda _: None,
    ) -> None:
        self.hosts = tuple(hosts)
        self.rank = self.hosts.index(current_host)
        self.port = _first_port(self.size) if self.size > 1 else DEFAULT_PORT
        self.addresses: tuple[str, ...] = ()
        """host:port of TensorFlow's server on each, once they have met."""
        self._channel = (
            ControlChannel(hosts, self.rank, job=job, port=self.port, on_peer_failure=on_peer_failure)
            if self.size > 1
            else None
        )

    @classmethod
    def of(cls, contract: Contract, on_peer_failure: Callable[[Failure], None]) -> Self:
        """Return the cluster of a job; `on_peer_failure` is called in a thread if only it can end the process."""
        return cls(contract.hosts, contract.current_host, contract.training_job_name, on_peer_failure=on_peer_failure)

    @property
    def size(self) -> int:
        """Number of hosts."""
        return len(self.hosts)

    @property
    def host(self) -> str:
        """Name of this host."""
        return self.hosts[self.rank]

    @property
    def is_chief(self) -> bool:
        """Whether this host writes what there is one of."""
        return self.rank == 0

    def __enter__(self) -> Self:
        """Be one of the hosts until the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the channel, or tell why this host ends; a peer's failure replaces the error that it caused."""
        if self._channel is None:
            return
        if not isinstance(error, Exception):
            self._channel.close()
            return
        in_tensorflow = type(error).__module__.startswith("tensorflow")
        cause = self._channel.await_peer_failure(PEER_FAILURE_SECONDS if in_tensorflow else 0.0)
        self._channel.fail(cause or as_failure(error))
        if cause is not None and cause is not error:
            raise cause from error

    def rendezvous(self, seconds: float, on_progress: Callable[[], object] = lambda: None) -> None:
        """Wait for the other hosts, if there are any.

        Raises HostLostError that names who does not come, ConfigurationError where a port of this host is taken.
        """
        if self._channel is None:
            return
        for port in (*([self.port] if self.is_chief else []), self._server_port(self.rank)):
            _require_free(port)
        addresses = self._channel.rendezvous(seconds, on_progress)
        self.addresses = tuple(f"{address}:{self._server_port(rank)}" for rank, address in enumerate(addresses))
        log.info("hosts: all %d are here, this is %s, number %d", self.size, self.host, self.rank + 1)

    def all_gather(self, value: Any) -> list[Any]:  # noqa: ANN401 - JSON
        """Return every host's value, by rank; all hosts call it, at the same places."""
        return self._channel.all_gather(value) if self._channel else [value]

    def broadcast(self, value: Any) -> Any:  # noqa: ANN401 - JSON
        """Return the first host's value; the others' are not used."""
        return self.all_gather(value if self.is_chief else None)[0]

    def barrier(self) -> None:
        """Wait until all hosts are here: TensorFlow takes the early end of one for a failure."""
        self.all_gather(None)

    def fail(self, failure: Failure) -> None:
        """Tell the others that this host ends at once."""
        if self._channel is not None:
            self._channel.fail(failure)

    @contextlib.contextmanager
    def critical_section(self) -> Iterator[None]:
        """Do what must not be cut short by a failed peer: write a checkpoint."""
        with self._channel.critical_section if self._channel else contextlib.nullcontext():
            yield

    def require_same(self, settings: Mapping[str, object]) -> None:
        """Raise ConfigurationError that names the host and the setting if the hosts' settings differ."""
        texts = {name: str(value) for name, value in settings.items()}
        all_settings = self.all_gather(texts)
        for host, peer_settings in zip(self.hosts, all_settings, strict=True):
            for name, text in all_settings[0].items():
                if peer_settings.get(name) != text:
                    raise ConfigurationError(
                        f"Host {host} has {name} {quote(peer_settings.get(name))}, host {self.hosts[0]} {quote(text)}: "
                        "one training needs one of them. Give all hosts the same image, hyperparameters and weights."
                    )

    def _server_port(self, rank: int) -> int:
        return self.port + 1 + rank


def _first_port(hosts: int) -> int:
    text = os.environ.get(PORT_VARIABLE) or str(DEFAULT_PORT)
    # One for the control channel, and one for each host's server.
    if text.isascii() and text.isdecimal() and 1 <= int(text) <= _LAST_PORT - hosts:
        return int(text)
    raise ConfigurationError(
        f"{PORT_VARIABLE} is {quote(text)}. Set it to the first of {hosts + 1} free ports, a number from 1 to "
        f"{_LAST_PORT - hosts}, the same on all hosts; or leave it out, for {DEFAULT_PORT}."
    )


def _require_free(port: int) -> None:
    """Raise ConfigurationError where the control channel could not listen: TensorFlow would only abort."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))  # and no more: a host that comes early would take a listener for the real one
        except OSError as error:
            problem = error.strerror
        else:
            return
    raise ConfigurationError(
        f"This host cannot listen on port {port}, by which the others reach it: {problem}. Set {PORT_VARIABLE} to "
        "another first port, the same on all hosts, or give the container a network of its own."
    )
