"""Where SageMaker's profiler keeps its files below LocalPath, which becomes s3://.../<job>/profiler-output.

    system/incremental/<hour>/<minute>.<node>.json                  system metrics, a JSON object a line
    framework/pevents/<hour>/<end>_<process>_pythontimeline.json    step durations, Chrome's trace-event format
    framework/tensorflow/detailed_profiling/<hour>/<step>/plugins/profile/...     TensorFlow's traces, for TensorBoard
    framework/tensorflow/cprofile/<process>/<from>_<to>/python_stats              profiles of Python code

An hour is UTC's, YYYYMMDDHH; a minute is in seconds since 1970, any other time in microseconds; a node is algo-1, a
process <id>-algo-1. smdebug's readers (smdebug.profiler) take what they show from these names.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

MICROSECONDS = 1_000_000
SYSTEM = "system/incremental"
TIMELINE = "framework/pevents"
TIMELINE_SUFFIX = "_pythontimeline.json"
TRACES = "framework/tensorflow/detailed_profiling"
PYTHON = "framework/tensorflow"


@dataclass(frozen=True)
class Moment:
    """Where a profile of Python code begins or ends."""

    mode: str
    """train or eval."""
    step: int
    phase: str
    """stepstart or stepend."""
    time: float
    """Seconds since 1970."""

    def __str__(self) -> str:
        return f"{self.mode}-{self.step}-{self.phase}-{int(self.time * MICROSECONDS)}"


@dataclass(frozen=True)
class ProfileLayout:
    """The folder of one host's profile."""

    folder: Path
    node: str
    """The host's name."""

    @property
    def process(self) -> str:
        """Return this process's name, as smdebug writes it."""
        return f"{os.getpid()}-{self.node}".replace("_", "-")

    def system_metrics(self, now: float) -> Path:
        """Return the file for metrics that are read at a time."""
        return self.folder / SYSTEM / _hour(now) / f"{int(now // 60) * 60}.{self.node}.json"

    def timeline(self, end: float) -> Path:
        """Return the file for events of which the last ends at a time."""
        return self.folder / TIMELINE / _hour(end) / f"{int(end * MICROSECONDS)}_{self.process}{TIMELINE_SUFFIX}"

    def trace(self, step: int, now: float) -> Path:
        """Return the folder for a trace that begins with a step, one that TensorBoard can open."""
        return self.folder / TRACES / _hour(now) / f"{step:09}"

    def trace_times(self, trace: Path, start: float, end: float) -> Path:
        """Return the empty file whose name says from when to when a trace was taken."""
        times = f"{int(start * MICROSECONDS)}_{int(end * MICROSECONDS)}"
        return trace / f"{self.process}_{times}.metadata"

    def python_profile(self, profiler: str, start: Moment, end: Moment) -> Path:
        """Return the folder for a profile of Python code."""
        return self.folder / PYTHON / profiler / self.process / f"{start}_{end}"


def _hour(now: float) -> str:
    return time.strftime("%Y%m%d%H", time.gmtime(now))
