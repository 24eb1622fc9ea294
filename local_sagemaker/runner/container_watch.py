"""While containers run: wait for whatever comes first, and see to it that all of them end.

result = wait_for_containers(containers, inbox, Limits(stop_seconds=120, run_seconds=3600))
result.reason           # "exited", "stopped", "max-runtime", "max-wait", "interrupted", "lost", "gone", "broken"
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from local_sagemaker.docker_client.container import Container, ContainerGoneError, Exit
from local_sagemaker.runner.job_runner import ShutdownError
from local_sagemaker.runner.messages import Broken, HostEnded, Interrupt, LoseHost, Message, Shutdown, Stop, Updated

Reason = Literal["exited", "stopped", "max-runtime", "max-wait", "interrupted", "lost", "gone", "broken"]

_KILL_AGAIN = 10.0
"""After how many seconds SIGKILL is sent once more: the engine may have been away."""

LOSS_SECONDS = 60.0
"""For how long the other hosts of a lost one may run on: to notice it themselves, as on SageMaker."""


@dataclass(frozen=True)
class Limits:
    """After how many seconds from now a job is stopped."""

    stop_seconds: float
    """Between SIGTERM and SIGKILL."""
    run_seconds: float
    wait_seconds: float | None = None


@dataclass(frozen=True)
class AttemptResult:
    """How the containers have ended, all of them."""

    reason: Reason
    exits: dict[str, Exit]
    lost_host: str | None = None
    broken: str | None = None
    """Why the job could not go on although its containers did."""
    not_uploaded: str | None = None
    """Why S3 does not have all that was to be there while the job ran."""

    @property
    def failed_host(self) -> str | None:
        """The first host that ended with another code than 0."""
        return next((host for host, exit_ in self.exits.items() if exit_.code != 0), None)


@dataclass
class _Watch:
    containers: dict[str, Container]
    limits: Limits
    updated: Callable[[], None]
    began: float = field(default_factory=time.monotonic)
    reason: Reason | None = None
    lost_host: str | None = None
    broken: str | None = None
    kill_at: float | None = None
    exits: dict[str, Exit] = field(default_factory=dict)
    later: list[tuple[float, Message]] = field(default_factory=list)

    def running(self) -> list[Container]:
        return [container for host, container in self.containers.items() if host not in self.exits]

    def next_moment(self) -> float:
        moments = [moment for moment, _ in self.later]
        if self.reason is None:
            moments += [moment for moment, _ in self.stops()]
        if self.kill_at is not None:
            moments.append(self.kill_at)
        return min(moments, default=time.monotonic() + 60)

    def stops(self) -> list[tuple[float, Reason]]:
        """Return when, and why, the job is stopped unless it ends before."""
        stops: list[tuple[float, Reason]] = [(self.began + self.limits.run_seconds, "max-runtime")]
        if self.limits.wait_seconds is not None:
            stops.append((self.began + self.limits.wait_seconds, "max-wait"))
        return stops

    def handle(self, message: Message) -> None:
        match message:
            case HostEnded(host):
                self._ended(host)
            case Interrupt(after) | LoseHost(_, after) if after > 0:
                plain = Interrupt() if isinstance(message, Interrupt) else LoseHost(message.host)
                self.later.append((time.monotonic() + after, plain))
            case Interrupt():
                self._end("interrupted")
            case LoseHost(host):
                self._lose(host)
            case Stop():
                self._end("stopped")
            case Broken(reason):
                self.broken = self.broken or reason
                self._end("broken")
            case Updated():
                self.updated()
            case Shutdown():
                for container in self.running():
                    container.signal("SIGKILL")
                raise ShutdownError

    def check_deadlines(self) -> None:
        now = time.monotonic()
        due, self.later = [entry for entry in self.later if entry[0] <= now], [e for e in self.later if e[0] > now]
        for _, message in due:
            self.handle(message)
        if self.kill_at is not None and now >= self.kill_at:
            self.kill_at = now + _KILL_AGAIN
            for container in self.running():
                container.signal("SIGKILL")
        for moment, reason in self.stops():
            if now >= moment:
                self._end(reason)

    def _ended(self, host: str) -> None:
        try:
            self.exits[host] = self.containers[host].exit()
        except ContainerGoneError:
            self.exits[host] = Exit(137, was_out_of_memory=False)
            self.reason = self.reason or "gone"
        if self.exits[host].code != 0 and self.reason is None:
            self._end("exited")

    def _end(self, reason: Reason) -> None:
        """Ask every container to end, once."""
        if self.reason is None:
            self.reason = reason
            self.kill_at = time.monotonic() + self.limits.stop_seconds
            for container in self.running():
                container.signal("SIGTERM")

    def _lose(self, host: str) -> None:
        if self.reason is None and host in self.containers:
            self.reason, self.lost_host = "lost", host
            self.kill_at = time.monotonic() + LOSS_SECONDS
            self.containers[host].signal("SIGKILL")


def wait_for_containers(
    containers: Sequence[Container],
    inbox: queue.SimpleQueue[Message],
    limits: Limits,
    updated: Callable[[], None] = lambda: None,
) -> AttemptResult:
    """Return when every container has ended; raise ShutdownError if the server does."""
    state = _Watch({container.host: container for container in containers}, limits, updated)
    while state.running():
        try:
            message = inbox.get(timeout=max(0.0, min(state.next_moment() - time.monotonic(), 3600.0)))
        except queue.Empty:
            state.check_deadlines()
        else:
            state.handle(message)
    return AttemptResult(state.reason or "exited", state.exits, state.lost_host, state.broken)
