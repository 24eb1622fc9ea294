"""A stop that a signal asks for: taken notice of between two batches, where the state that it leaves is whole.

    with StopRequest() as stop:
        ...                             # nothing to save yet: a signal ends the process at once
        stop.listen()                   # from the first step on
        ...
        stop.raise_if_requested()       # between two batches

`docker stop`, Ctrl-C, SageMaker's stop and a spot interruption all arrive as SIGTERM (container/process_group.py), or,
without the image's entry point, as SIGINT. A second signal ends the process at once.
"""

from __future__ import annotations

import signal
import time
from types import FrameType
from typing import Any, NoReturn, Self

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(Exception):  # noqa: N818 - a stop that was asked for is no error
    """Leaves the loop over batches; never leaves the program."""


class StopRequest:
    """Whether a stop has been asked for, by which signal, and how long ago."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._received_at = 0.0
        self._listening = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        """Let a signal end the process at once; Python would raise KeyboardInterrupt for SIGINT."""
        self._before = {number: signal.signal(number, signal.SIG_DFL) for number in STOP_SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        """Put back what was there before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def listen(self) -> None:
        """Keep the first signal for `raise_if_requested`; from the main thread, once there is something to save."""
        if not self._listening:
            self._listening = True
            for number in STOP_SIGNALS:
                signal.signal(number, self._receive)

    def raise_if_requested(self) -> None:
        """Raise Stopped if a signal has asked for it."""
        if self.signal is not None:
            raise Stopped

    def heed_another_host(self) -> NoReturn:
        """Raise Stopped: this host, or another one of the job, has been asked to, and all know."""
        if self.signal is None:
            self.signal, self._received_at = signal.SIGTERM, time.monotonic()
        raise Stopped

    @property
    def seconds(self) -> float:
        """Seconds since the signal."""
        return time.monotonic() - self._received_at

    def record(self) -> dict[str, str | float] | None:
        """Return what run.json keeps; None if no stop was asked for."""
        return {"signal": self.signal.name, "seconds": self.seconds} if self.signal is not None else None

    def _receive(self, number: int, frame: FrameType | None) -> None:
        # No log line from here: it could come in the middle of another one.
        del frame
        self.signal = signal.Signals(number)
        self._received_at = time.monotonic()
        for name in STOP_SIGNALS:
            signal.signal(name, signal.SIG_DFL)
