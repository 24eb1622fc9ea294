"""A stop that a signal or a rule asks for: carried out between two batches, where the state that it leaves is whole.

    with StopRequest() as stop:
        ...                             # nothing to save yet: a signal ends the process at once
        stop.enable_graceful_stop()                   # from the first step on
        ...
        stop.raise_if_requested()       # between two batches

`docker stop`, Ctrl-C, SageMaker's stop and a spot interruption all arrive as SIGTERM (container/process_group.py), or,
without the image's entry point, as SIGINT. A second signal ends the process at once.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from types import FrameType
from typing import Any, NoReturn, Self

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def unwind_on_stop(what_remains: str) -> None:
    """Let a signal end the process with 128 + its number and one sentence, after its files are tidied up."""

    def unwind(number: int, frame: FrameType | None) -> NoReturn:
        del frame
        # Past Python's buffer, in which the signal may have caught somebody writing.
        os.write(sys.stderr.fileno(), f"Stopped by {signal.Signals(number).name}. {what_remains}\n".encode())
        sys.exit(128 + number)

    for number in STOP_SIGNALS:
        signal.signal(number, unwind)


class Stopped(Exception):  # noqa: N818 - a stop that was asked for is no error
    """Leaves the loop over batches; never leaves the program."""


class StopRequest:
    """Whether a stop has been asked for, by which signal or by what else, and how long ago."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._cause: Mapping[str, Any] | None = None
        self._received_at = 0.0
        self._is_graceful = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        """Let a signal end the process at once; Python would raise KeyboardInterrupt for SIGINT."""
        self._before = {number: signal.signal(number, signal.SIG_DFL) for number in STOP_SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        """Put back what was there before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def enable_graceful_stop(self) -> None:
        """Keep the first signal for `raise_if_requested`; from the main thread, once there is something to save."""
        if not self._is_graceful:
            self._is_graceful = True
            for number in STOP_SIGNALS:
                signal.signal(number, self._receive)

    def request(self, cause: Mapping[str, Any]) -> None:
        """Ask for a stop from within the run; run.json keeps the first `cause`, which has a `rule`."""
        if not self.is_requested:
            self._cause, self._received_at = cause, time.monotonic()

    @property
    def is_requested(self) -> bool:
        """Whether anyone has asked for it."""
        return self.signal is not None or self._cause is not None

    @property
    def by(self) -> str:
        """Return who has asked for it, as a sentence can name it."""
        if self.signal is not None:
            return self.signal.name
        return f"rule {self._cause['rule']}" if self._cause is not None else "nobody"

    def raise_if_requested(self) -> None:
        """Raise Stopped if a stop was asked for."""
        if self.is_requested:
            raise Stopped

    def raise_stopped_by_peer(self) -> NoReturn:
        """Raise Stopped: this host, or another one of the job, has been asked to, and all know."""
        if self.signal is None:
            self.signal, self._received_at = signal.SIGTERM, time.monotonic()
        raise Stopped

    @property
    def seconds(self) -> float:
        """Seconds since it was asked for."""
        return time.monotonic() - self._received_at

    def record(self) -> dict[str, Any] | None:
        """Return what run.json keeps; None if no stop was asked for."""
        if not self.is_requested:
            return None
        cause = {"signal": self.signal.name} if self.signal is not None else self._cause or {}
        return {**cause, "seconds": self.seconds}

    def _receive(self, number: int, frame: FrameType | None) -> None:
        # No log line from here: it could come in the middle of another one.
        del frame
        self.signal = signal.Signals(number)
        self._received_at = time.monotonic()
        for name in STOP_SIGNALS:
            signal.signal(name, signal.SIG_DFL)
