"""The hosts of a job, as one of them sees them; a job of one host is a cluster of one.

    cluster = Cluster.of(contract, on_loss=end_the_process)
    with cluster:
        cluster.meet(seconds=600)
        cluster.gather(7)               # [7, 9]: every host's value, by rank
        if cluster.is_first:            # writes what there is one of: checkpoints, model, metrics
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
from star_rating.distributed.control_channel import Link
from star_rating.failures import ConfigurationError, Failure, as_failure, quote

log = logging.getLogger(__name__)

PORT_VARIABLE = "TRAINING_PORT"
DEFAULT_PORT = 8890
"""The first host's for the line between the hosts; TensorFlow's of rank N is N + 1 above it."""
_LAST_PORT = 65_535
BLAME_SECONDS = 5.0
"""A collective fails a moment before the line says which host is to blame."""


class Cluster:
    """A job's hosts, and the line between them where there are several."""

    def __init__(
        self,
        hosts: Sequence[str],
        current_host: str,
        job: str = "",
        *,
        on_loss: Callable[[Failure], None] = lambda _: None,
    ) -> None:
        self.hosts = tuple(hosts)
        self.rank = self.hosts.index(current_host)
        self.port = _first_port(self.size) if self.size > 1 else DEFAULT_PORT
        self.addresses: tuple[str, ...] = ()
        """host:port of TensorFlow's server on each, once they have met."""
        self._link = Link(hosts, self.rank, job=job, port=self.port, on_loss=on_loss) if self.size > 1 else None

    @classmethod
    def of(cls, contract: Contract, on_loss: Callable[[Failure], None]) -> Self:
        """Return the cluster of a job; `on_loss` is called, in a thread, where a lost host leaves no other way out."""
        return cls(contract.hosts, contract.current_host, contract.training_job_name, on_loss=on_loss)

    @property
    def size(self) -> int:
        """Number of hosts."""
        return len(self.hosts)

    @property
    def name(self) -> str:
        """Of this host."""
        return self.hosts[self.rank]

    @property
    def is_first(self) -> bool:
        """Whether this host writes what there is one of."""
        return self.rank == 0

    def __enter__(self) -> Self:
        """Be one of the hosts until the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave in peace, or tell the others; an error that another host's end has caused becomes that end."""
        if self._link is None:
            return
        if not isinstance(error, Exception):
            self._link.leave()
            return
        in_tensorflow = type(error).__module__.startswith("tensorflow")
        cause = self._link.await_loss(BLAME_SECONDS if in_tensorflow else 0.0)
        self._link.fail(cause or as_failure(error))
        if cause is not None and cause is not error:
            raise cause from error

    def meet(self, seconds: float, on_progress: Callable[[], object] = lambda: None) -> None:
        """Wait for the other hosts, if there are any.

        Raises HostLostError that names who does not come, ConfigurationError where a port of this host is taken.
        """
        if self._link is None:
            return
        for port in (*([self.port] if self.is_first else []), self._server_port(self.rank)):
            _require_free(port)
        addresses = self._link.meet(seconds, on_progress)
        self.addresses = tuple(f"{address}:{self._server_port(rank)}" for rank, address in enumerate(addresses))
        log.info("hosts: all %d are here, this is %s, number %d", self.size, self.name, self.rank + 1)

    def gather(self, value: Any) -> list[Any]:  # noqa: ANN401 - JSON
        """Return every host's value, by rank; all hosts call it, at the same places."""
        return self._link.gather(value) if self._link else [value]

    def from_first(self, value: Any) -> Any:  # noqa: ANN401 - JSON
        """Return the first host's value; the others' are not used."""
        return self.gather(value if self.is_first else None)[0]

    def together(self) -> None:
        """Wait until all hosts are here: TensorFlow takes the early end of one for a failure."""
        self.gather(None)

    def fail(self, failure: Failure) -> None:
        """Tell the others that this host ends at once."""
        if self._link is not None:
            self._link.fail(failure)

    @contextlib.contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Do something that the end of another host shall not cut short."""
        with self._link.undisturbed if self._link else contextlib.nullcontext():
            yield

    def require_same(self, settings: Mapping[str, object]) -> None:
        """Raise ConfigurationError that names the host and the setting if the hosts' settings differ."""
        texts = {name: str(value) for name, value in settings.items()}
        every = self.gather(texts)
        for host, theirs in zip(self.hosts, every, strict=True):
            for name, text in every[0].items():
                if theirs.get(name) != text:
                    raise ConfigurationError(
                        f"Host {host} has {name} {quote(theirs.get(name))}, host {self.hosts[0]} {quote(text)}: one "
                        "training needs one of them. Give all hosts the same image, hyperparameters and weights."
                    )

    def _server_port(self, rank: int) -> int:
        return self.port + 1 + rank


def _first_port(hosts: int) -> int:
    text = os.environ.get(PORT_VARIABLE) or str(DEFAULT_PORT)
    # One for the line, and one for each host's server.
    if text.isascii() and text.isdecimal() and 1 <= int(text) <= _LAST_PORT - hosts:
        return int(text)
    raise ConfigurationError(
        f"{PORT_VARIABLE} is {quote(text)}. Set it to the first of {hosts + 1} free ports, a number from 1 to "
        f"{_LAST_PORT - hosts}, the same on all hosts; or leave it out, for {DEFAULT_PORT}."
    )


def _require_free(port: int) -> None:
    """Raise ConfigurationError where the hosts' conversation could not be listened to: TensorFlow would only abort."""
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
