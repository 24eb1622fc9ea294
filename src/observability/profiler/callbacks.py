"""The profiler among Keras's callbacks: one before all others and one behind them.

    callbacks = [before, *others, behind]

A step's time begins when the last of the others has begun, and ends before the first of them ends: what they do is
not the step's, but lies between two. Traces begin and end there, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import tf_keras

from observability.profiler.python_profile import PythonProfiler
from observability.profiler.tensorflow_trace import TensorFlowTrace
from observability.profiler.timeline import Step, Timeline


@dataclass
class StepTimer:
    """What the two callbacks share."""

    timeline: Timeline
    steps_done: Callable[[], int]
    """Training steps before the one that begins, those before a resume included."""
    trace: TensorFlowTrace | None = None
    python: PythonProfiler | None = None
    evaluated: int = 0
    start: float = 0.0
    started: float = 0.0
    """The same moment on the clock that nobody sets."""
    modes: set[str] = field(default_factory=set)
    """Those that have had a step."""

    def begin(self) -> None:
        """Start the step's time."""
        self.start, self.started = time.time(), time.perf_counter()

    def end(self, mode: str, number: int) -> None:
        """Keep the step."""
        seconds = time.perf_counter() - self.started
        self.timeline.add(Step(mode, number, self.start, seconds, first=mode not in self.modes))
        self.modes.add(mode)

    def stop(self) -> None:
        """End the profiles that are running."""
        if self.trace:
            self.trace.stop()
        if self.python:
            self.python.stop()


class StepEndCallback(tf_keras.callbacks.Callback):
    """Ends steps; stands first."""

    def __init__(self, clock: StepTimer) -> None:
        super().__init__()
        self.clock = clock

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Take the time."""
        del batch, logs
        step = self.clock.steps_done()
        self.clock.end("TRAIN", step)
        if self.clock.python:
            self.clock.python.switch_phase("stepend", step)

    def on_test_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Take the time of a validation step."""
        del batch, logs
        self.clock.end("EVAL", self.clock.evaluated)
        self.clock.evaluated += 1


class StepStartCallback(tf_keras.callbacks.Callback):
    """Begins steps; stands last."""

    def __init__(self, clock: StepTimer) -> None:
        super().__init__()
        self.clock = clock

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Begin a trace that is to have the epoch's first step."""
        del epoch, logs
        self._prepare_trace()

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Begin and end profiles, then start the time."""
        del batch, logs
        step = self.clock.steps_done()
        if self.clock.trace:
            self.clock.trace.step(step)
        if self.clock.python:
            self.clock.python.switch_phase("stepstart", step)
        self.clock.begin()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Begin a trace that is to have the next step.

        Keras marks a step in the trace from before its begin to behind its end. A trace that begins at one's end and
        ends at another's begin has whole steps alone.
        """
        del batch, logs
        self._prepare_trace()

    def on_test_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """End a trace: it is of training."""
        del logs
        if self.clock.trace:
            self.clock.trace.interrupt()

    def on_test_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Start the time of a validation step."""
        del batch, logs
        self.clock.begin()

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """End what is open; the run may be shorter than the profile."""
        del logs
        self.clock.stop()

    def _prepare_trace(self) -> None:
        if self.clock.trace:
            self.clock.trace.prepare(self.clock.steps_done())
