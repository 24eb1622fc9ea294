"""A trace of some steps by TensorFlow's own profiler: what each thread ran, for TensorBoard's Profile page.

trace = TensorFlowTrace(layout, settings.trace)
trace.prepare(step)     # between two steps: begins the trace if the next step is its first
trace.step(step)        # before each step: begins and ends the trace
trace.stop()

tensorboard --logdir <profiler>/framework/tensorflow/detailed_profiling/<hour>
"""

from __future__ import annotations

import contextlib
import logging
import time
from pathlib import Path

import tensorflow as tf

from observability.profiler import trace_events
from observability.profiler.layout import Layout
from observability.profiler.settings import Window

log = logging.getLogger(__name__)


class TensorFlowTrace:
    """Traces the steps of a window."""

    def __init__(self, layout: Layout, window: Window) -> None:
        self.folder: Path | None = None
        """Where the trace is, once it has begun."""
        self.steps: list[int] = []
        self.error: str | None = None
        """Why there is no trace; None if nothing failed."""
        self.seconds = 0.0
        """What beginning and ending it took."""
        self._layout = layout
        self._window = window
        self._begun = False
        self._running = False
        self._start_time = 0.0

    def prepare(self, step: int) -> None:
        """Begin the trace if the step that comes next is to be its first; Keras is within none now, or at its end."""
        now = time.time()
        if not self._begun:
            self._window, self._begun = self._window.begun(step, now), True
        if self.folder is None and self.error is None and self._window.covers(step, now, 0):
            self._start(step, now)

    def step(self, step: int) -> None:
        """Count a step that begins, or end the trace if it is not to have it."""
        if not self._running:
            return
        if self._window.covers(step, time.time(), len(self.steps)):
            self.steps.append(step)
        else:
            self.stop()

    def interrupt(self) -> None:
        """End the trace before a validation, which may be longer than any trace should be."""
        if self._running and not self.steps:
            self._running, self.folder = False, None
            self._discard()
        self.stop()

    def stop(self) -> None:
        """End the trace, and write it."""
        if not self._running or self.folder is None:
            return
        self._running = False
        begin = time.monotonic()
        try:
            tf.profiler.experimental.stop()
            self._layout.trace_times(self.folder, self._start_time, time.time()).touch()
        except (tf.errors.OpError, OSError) as error:
            self._fail(error)
        self.seconds += time.monotonic() - begin

    def finish(self) -> None:
        """Write the trace as trace events too; after training, as it takes a second of Python."""
        if self.folder is None or self.error:
            return
        try:
            for file in self.folder.glob("plugins/profile/*/*.xplane.pb"):
                trace_events.write(file)
        except (OSError, ValueError) as error:
            self._fail(error)

    def _start(self, step: int, now: float) -> None:
        self.folder, self._start_time = self._layout.trace(step, now), now
        begin = time.monotonic()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # Its default options trace operations, and leave Python's functions to python_profile.
            tf.profiler.experimental.start(str(self.folder))
        except (tf.errors.OpError, OSError) as error:
            self._fail(error)
        else:
            self._running = True
        self.seconds += time.monotonic() - begin

    def _fail(self, error: Exception) -> None:
        self.error = f"{type(error).__name__}: {' '.join(str(error).split())}"
        log.warning("profiler: no whole trace of TensorFlow, training goes on: %s", self.error)
        self._discard()

    @staticmethod
    def _discard() -> None:
        with contextlib.suppress(tf.errors.OpError):
            tf.profiler.experimental.stop(save=False)
