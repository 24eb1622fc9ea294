"""A trace of some steps by TensorFlow's own profiler: what each thread ran, for TensorBoard's Profile page.

trace = TensorFlowTrace(layout, settings.trace)
trace.prepare(step)     # between two steps: starts the trace if the next step is its first
trace.step(step)        # as a step starts: counts it, or ends the trace
trace.stop()

tensorboard --logdir <profiler>/framework/tensorflow/detailed_profiling/<hour>

`finish` writes each trace once more as trace events (<name>.trace.json.gz): for ui.perfetto.dev, and for smdebug and
AWS's rules, which read nothing else of a trace. TensorFlow has left that file to TensorBoard's plug-in since 2.11.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

from observability.profiler.files import replace
from observability.profiler.layout import MICROSECONDS, ProfileLayout
from observability.profiler.operations import PICOSECONDS, trace_format
from observability.profiler.settings import Window

log = logging.getLogger(__name__)

LEFT_OUT = ("ThreadpoolListener::", "MemoryAllocation", "MemoryDeallocation", "TFE_DeleteTensorHandle")
"""How the names of such events begin."""
SUFFIX = ".xplane.pb"


def write_trace_events(trace: Path) -> None:
    """Write <name>.trace.json.gz beside <name>.xplane.pb."""
    space = trace_format().XSpace.FromString(trace.read_bytes())
    content = json.dumps({"displayTimeUnit": "ns", "traceEvents": list(events(space))}, separators=(",", ":"))
    path = trace.with_name(f"{trace.name.removesuffix(SUFFIX)}.trace.json.gz")
    replace(path, gzip.compress(content.encode(), compresslevel=5, mtime=0))


def events(space: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - generated
    """Yield a trace's events: a process for each of its planes, a thread for each of its lines."""
    for process, plane in enumerate(space.planes, start=1):
        names = {
            number: metadata.name
            for number, metadata in plane.event_metadata.items()
            if not metadata.name.startswith(LEFT_OUT)
        }
        lines = [line for line in plane.lines if any(event.metadata_id in names for event in line.events)]
        if lines:
            yield {"ph": "M", "pid": process, "name": "process_name", "args": {"name": plane.name}}
        for thread, line in enumerate(lines, start=1):
            yield {"ph": "M", "pid": process, "tid": thread, "name": "thread_name", "args": {"name": line.name}}
            for event in line.events:
                if event.metadata_id in names:
                    yield {
                        "ph": "X",
                        "pid": process,
                        "tid": thread,
                        "name": names[event.metadata_id],
                        "ts": round(event.offset_ps / PICOSECONDS * MICROSECONDS, 3),
                        "dur": round(event.duration_ps / PICOSECONDS * MICROSECONDS, 3),
                    }


class TensorFlowTrace:
    """Traces the steps of a window."""

    def __init__(self, layout: ProfileLayout, window: Window) -> None:
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
                write_trace_events(file)
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
