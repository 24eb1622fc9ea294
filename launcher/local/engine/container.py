"""One container: start, log line by line, signal, end.

container.start()
for lines in container.lines(): ...     # until it has ended
container.exit()                        # Exit(code=0, was_out_of_memory=False)
"""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from docker.errors import APIError, DockerException, NotFound

from launcher.errors import LauncherError
from launcher.local.services.logs import LogLine


class CannotStartError(LauncherError):
    """The engine cannot start the container: its command is not there, say."""


class ContainerGoneError(LauncherError):
    """Somebody has removed the container."""


@dataclass(frozen=True)
class Exit:
    """How a container ended."""

    code: int
    was_out_of_memory: bool


class Container:
    """A container by its id; `host` is the name of the machine that it stands for."""

    def __init__(self, api: Any, identifier: str, host: str) -> None:  # noqa: ANN401 - the SDK is untyped
        self._api = api
        self.id = identifier
        self.host = host

    def start(self) -> None:
        """Start it; raise CannotStartError."""
        try:
            self._api.start(self.id)
        except APIError as error:
            raise CannotStartError(str(error.explanation or error)) from None

    def lines(self, after: int = 0) -> Iterator[LogLine]:
        """Yield stdout's and stderr's lines as they come, those behind a time (ns) only, until the container ends."""
        since = {"since": after // 1_000_000_000} if after else {}
        latest: deque[LogLine] = deque(maxlen=16)
        # Who follows is not always sent what stdout and stderr end with, if no line break ends it: once more those two.
        for options in ({"follow": True, **since}, {"follow": False, "tail": 2}):
            try:
                stream = self._api.logs(self.id, stream=True, timestamps=True, **options)
                for line in _whole_lines(stream):
                    if line.time > after and line not in latest:
                        latest.append(line)
                        yield line
            except NotFound:
                return

    def exit(self) -> Exit:
        """Wait for its end; raise ContainerGoneError."""
        try:
            code = self._api.wait(self.id, timeout=None)["StatusCode"]
            state = self._api.inspect_container(self.id)["State"]
        except NotFound:
            raise ContainerGoneError(f"the container of {self.host} has been removed") from None
        return Exit(code, bool(state.get("OOMKilled")))

    @property
    def is_running(self) -> bool:
        """Whether it runs now."""
        try:
            return bool(self._api.inspect_container(self.id)["State"]["Running"])
        except NotFound:
            return False

    def signal(self, name: str) -> None:
        """Send PID 1 a signal; a container that has ended is no error."""
        with suppress(APIError):
            self._api.kill(self.id, name)

    def statistics(self) -> dict[str, Any]:
        """Return what its cgroup says now, as the engine has it; empty if it does not run, or no engine answers."""
        with suppress(DockerException, OSError):
            found: dict[str, Any] = self._api.stats(self.id, stream=False, one_shot=True)
            return found
        return {}

    def remove(self) -> None:
        """Remove it, running or not."""
        with suppress(APIError):
            self._api.remove_container(self.id, force=True, v=True)


def _whole_lines(stream: Iterator[bytes]) -> Iterator[LogLine]:
    """Put together what the engine sends: `2026-11-24T22:18:24.182934323Z text`, long lines in parts of 16 kB.

    Each part has the time in front, and the last one the line break.
    """
    begun = b""
    for part in stream:
        begun += part.partition(b" ")[2] if begun else part
        if begun.endswith(b"\n"):
            yield _line(begun[:-1])
            begun = b""
    if begun:
        yield _line(begun)


def _line(line: bytes) -> LogLine:
    stamp, _, text = line.partition(b" ")
    seconds, _, fraction = stamp.decode().rstrip("Z").partition(".")
    moment = dt.datetime.fromisoformat(seconds).replace(tzinfo=dt.UTC)
    nanoseconds = int(moment.timestamp()) * 1_000_000_000 + int(fraction.ljust(9, "0")[:9] or 0)
    return LogLine(nanoseconds, text.decode("utf-8", "replace").rstrip("\r"))
