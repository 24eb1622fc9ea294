"""One container: start, log line by line, signal, end.

container.start()
for line in container.follow(): ...     # as they come
container.exit()                        # Exit(code=0, was_out_of_memory=False)
for line in container.log(): ...        # all of them
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from docker.errors import APIError, DockerException, NotFound
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

from local_sagemaker.docker_client.container_log import LogLine, frames, lines
from local_sagemaker.errors import EmulatorError

PATIENCE = 60.0
"""Seconds for which an engine may not answer while a job runs."""

BETWEEN_CALLS = 0.5

_Answer = TypeVar("_Answer")


class CannotStartError(EmulatorError):
    """The engine cannot start the container: its command is not there, say."""


class ContainerGoneError(EmulatorError):
    """Somebody has removed the container."""


class EngineGoneError(EmulatorError):
    """The engine does not answer any more."""


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

    def follow(self) -> Iterator[LogLine]:
        """Yield stdout's and stderr's whole lines from the first one on, as they come.

        It ends with the container or, where the engine's reader falls behind, before: then `log` has what is missing.
        """
        return lines(frames(self._log(follow=True)), is_complete=False)

    def log(self) -> Iterator[LogLine]:
        """Yield every line of a container that has ended."""
        return lines(frames(self._log(follow=False)), is_complete=True)

    def _log(self, *, follow: bool) -> Iterator[bytes]:
        """Yield the engine's answer piece by piece; raise ContainerGoneError, EngineGoneError."""
        api = self._api
        wanted = {"stdout": 1, "stderr": 1, "timestamps": 1, "follow": int(follow), "tail": "all"}
        url = api._url("/containers/{0}/logs", self.id)  # noqa: SLF001 - its `logs` mixes stdout and stderr in a line
        with self._errors(), api.get(url, params=wanted, stream=True, timeout=None) as answer:
            api._raise_for_status(answer)  # noqa: SLF001
            yield from answer.raw.stream(1 << 20, decode_content=False)

    def exit(self) -> Exit:
        """Wait for its end, and for the end of its log; raise ContainerGoneError, EngineGoneError."""

        def ended() -> Exit:
            code = self._api.wait(self.id, timeout=None)["StatusCode"]
            return Exit(code, bool(self._state()["OOMKilled"]))

        return self._retry(ended)

    @property
    def is_running(self) -> bool:
        """Whether it runs now; raise EngineGoneError."""
        try:
            return self._retry(lambda: bool(self._state()["Running"]))
        except ContainerGoneError:
            return False

    def address(self, port: int) -> tuple[str, int] | None:
        """Return where this machine reaches a port of it: on loopback, else in its network; None if it does not run."""

        def found() -> tuple[str, int] | None:
            settings = self._api.inspect_container(self.id)["NetworkSettings"]
            for published in settings["Ports"].get(f"{port}/tcp") or ():
                return str(published["HostIp"]), int(published["HostPort"])
            addresses = [network["IPAddress"] for network in settings["Networks"].values()]
            return next(((address, port) for address in addresses if address), None)

        return self._retry(found)

    def signal(self, name: str) -> None:
        """Send PID 1 a signal; a container that has ended is no error, nor an engine that does not answer."""

        def kill() -> None:
            with suppress(APIError):  # it does not run
                self._api.kill(self.id, name)

        with suppress(ContainerGoneError, EngineGoneError):
            self._retry(kill)

    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = self._api.inspect_container(self.id)["State"]
        return state

    def _retry(self, call: Callable[[], _Answer]) -> _Answer:
        """Return what the engine says, once it does: one that is started anew is away for a while."""
        give_up = time.monotonic() + PATIENCE
        while True:
            try:
                with self._errors():
                    return call()
            except EngineGoneError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(BETWEEN_CALLS)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except NotFound:
            raise ContainerGoneError(f"the container of {self.host} has been removed") from None
        except (DockerException, RequestException, HTTPError, OSError) as error:
            raise EngineGoneError(f"the Docker engine does not answer: {error}") from None

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
