"""Notices that training hangs: input that has stopped coming, a file system that does not answer, a deadlock.

    with Watchdog(timeout_seconds=1800, on_stall=end_the_process) as watchdog:
        watchdog.heartbeat("the first step", patience=FIRST_STEP_PATIENCE)
        ...
        watchdog.heartbeat("training")       # after each batch

The thread counts the time in which it has run itself. A clock that is set, a container that was paused and a machine
that slept are no stall. Nor is a machine that is busy with other things: where there are no heartbeats (TensorFlow is
being imported, a model is built or exported), time in which this process computes counts a tenth. What hangs, waits.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

from star_rating.failures import StalledError

FIRST_STEP_PATIENCE = 3.0
"""Tracing and compiling come before the first step's end."""
TICK_SECONDS = 1.0
COMPUTING_SHARE = 0.05
"""Of a core, from which a process computes: what samples metrics while the rest hangs takes less."""
COMPUTING_WEIGHT = 0.1
"""Of time in which the process computes: a loop that never ends is a stall, too, and takes ten timeouts to be one."""


class StallClock:
    """Adds up for how long there has been no progress, from what it is told at each look."""

    def __init__(self, now: float, cpu: float) -> None:
        self.idle = 0.0
        """Seconds."""
        self._now, self._cpu, self._heartbeats = now, cpu, 0

    def look(self, now: float, cpu: float, heartbeats: int) -> float:
        """Take the time, this process's processor time (both in seconds) and the heartbeats so far; return idle."""
        passed, computed = now - self._now, cpu - self._cpu
        weight = COMPUTING_WEIGHT if computed >= COMPUTING_SHARE * passed else 1.0
        # More than two ticks between two looks: this process was not running.
        self.idle += min(passed, 2 * TICK_SECONDS) * weight
        if heartbeats != self._heartbeats:
            self.idle = 0.0
        self._now, self._cpu, self._heartbeats = now, cpu, heartbeats
        return self.idle


class Watchdog:
    """A thread that calls `on_stall` when no beat has come for too long; with a timeout of 0, there is none."""

    def __init__(self, timeout_seconds: float, on_stall: Callable[[StalledError], None]) -> None:
        self.timeout_seconds = timeout_seconds
        self.on_stall = on_stall
        self._activity = "the start of the job"
        self._patience = 1.0
        self._heartbeats = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        """Start watching."""
        if self.timeout_seconds:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop watching."""
        self._ended.set()
        if self.timeout_seconds:
            self._thread.join()

    def heartbeat(self, activity: str, patience: float = 1.0) -> None:
        """Say that there is progress, what comes next, and how many timeouts it may take."""
        self._activity = activity
        self._patience = patience
        self._heartbeats += 1

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Count no time while something works that has a limit of its own."""
        before = self._activity, self._patience
        self._patience = math.inf
        try:
            yield
        finally:
            self.heartbeat(*before)

    def look(self, clock: StallClock, now: float, cpu: float) -> StalledError | None:
        """Take the time and the processor time of this process, in seconds; return the stall, if it is one."""
        idle = clock.look(now, cpu, self._heartbeats)
        return self._failure(idle) if idle > self.timeout_seconds * self._patience else None

    def _watch(self) -> None:
        clock = StallClock(time.monotonic(), time.process_time())
        while not self._ended.wait(min(TICK_SECONDS, self.timeout_seconds / 4)):
            if stall := self.look(clock, time.monotonic(), time.process_time()):
                self.on_stall(stall)
                return

    def _failure(self, idle: float) -> StalledError:
        return StalledError(
            f"There was no progress for {idle / 60:.3g} min, in {self._activity}. The log says where it hangs: if in "
            "reading, check the channels' storage; if a step takes that long, raise stall_timeout_minutes."
        )
