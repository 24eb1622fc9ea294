"""How long each step took, in Chrome's trace-event format, as smdebug writes it and its readers expect it.

    timeline = Timeline(layout, files, Rotation())
    timeline.add(Step("TRAIN", 0, start=time.time(), seconds=0.31))       # from training
    timeline.write_when_due(time.time())                                  # from another thread
    timeline.write()

One file a minute (RotateFileCloseIntervalInSeconds) or ten megabytes, each complete by itself.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

from observability.profiler.files import Files
from observability.profiler.layout import MICROSECONDS, ProfileLayout
from observability.profiler.settings import Rotation

STEP = "Step:ModeKeys."
"""smdebug's name of a step is this and the mode."""
FIRST = "first"
"""Our own argument of a step's event; readers of SageMaker's files pass over it."""
_EVENT_BYTES = 150
"""About what one step takes."""


@dataclass(frozen=True, slots=True)
class Step:
    """One training or validation step."""

    mode: str
    """TRAIN or EVAL."""
    number: int
    """From 0, within its mode."""
    start: float
    """Seconds since 1970."""
    seconds: float
    first: bool = False
    """Whether it is its process's first of the mode: it traces and allocates, too."""


class Timeline:
    """Keeps steps until their file is due."""

    def __init__(self, layout: ProfileLayout, files: Files, rotation: Rotation) -> None:
        self._layout = layout
        self._files = files
        self._rotation = rotation
        self._steps: list[Step] = []
        self._begun = 0.0

    def add(self, step: Step) -> None:
        """Keep a step; takes a microsecond."""
        if not self._steps:
            self._begun = step.start
        self._steps.append(step)

    def write_when_due(self, now: float) -> None:
        """Write a file if its time or size has come."""
        large = len(self._steps) * _EVENT_BYTES > self._rotation.size
        if self._steps and (large or now - self._begun >= self._rotation.seconds):
            self.write()

    def write(self) -> None:
        """Write what there is."""
        steps, self._steps = self._steps, []
        if steps:
            end = max(step.start + step.seconds for step in steps)
            self._files.replace(self._layout.timeline(end), trace_events(steps, os.getpid()).encode())


def trace_events(steps: Sequence[Step], process: int) -> str:
    """Return steps as trace events: their times count from the first one's start, in microseconds."""
    start = int(min(step.start for step in steps) * MICROSECONDS)
    modes = sorted({step.mode for step in steps}, reverse=True)
    rows = {mode: row for row, mode in enumerate(modes, start=1)}
    events = [
        _metadata("process_name", 0, {"start_time_since_epoch_in_micros": start}),
        _metadata("process_sort_index", 0, {"sort_index": 0}),
    ]
    for mode, row in rows.items():
        events.append(_metadata("process_name", row, {"name": f"{STEP}{mode}"}))
        events.append(_metadata("process_sort_index", row, {"sort_index": row}))
    events += [
        {
            "name": f"{STEP}{step.mode}",
            "pid": rows[step.mode],
            "ph": "X",
            "ts": int(step.start * MICROSECONDS) - start,
            "dur": round(step.seconds * MICROSECONDS),
            "args": {"pid": process, "step_num": str(step.number), FIRST: step.first},
        }
        for step in steps
    ]
    return "[\n" + ",\n".join(json.dumps(event) for event in events) + "\n]\n"


def _metadata(name: str, row: int, arguments: dict[str, str | int]) -> dict[str, object]:
    return {"name": name, "ph": "M", "pid": row, "args": arguments}
