"""Profiles of training's Python code, one a step and one between two steps, by cProfile or pyinstrument.

    profile = PythonProfiler(layout, settings.python)
    profile.switch_phase("stepstart", step=5)    # at each step's start and end: writes what ran before, may go on
    profile.switch_phase("stepend", step=5)
    profile.stop()

They lie where smdebug puts them, and smdebug.profiler's PythonProfileAnalysis reads them.
"""

from __future__ import annotations

import cProfile
import logging
import pstats
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from observability.profiler.layout import Moment, ProfileLayout
from observability.profiler.settings import PythonProfile

log = logging.getLogger(__name__)


class RunningProfile(Protocol):
    """A profile that is being taken."""

    def stop(self) -> None:
        """End it."""

    def write(self, folder: Path) -> None:
        """Write its files."""


class CProfile:
    """Counts every call; the standard library's."""

    def __init__(self, timer: str) -> None:
        self._profile = cProfile.Profile(TIMERS[timer])
        self._profile.enable()

    def stop(self) -> None:
        """End it."""
        self._profile.disable()

    def write(self, folder: Path) -> None:
        """Write python_stats, which pstats reads."""
        pstats.Stats(self._profile).dump_stats(folder / "python_stats")


class Pyinstrument:
    """Looks at the stack a thousand times a second."""

    def __init__(self) -> None:
        from pyinstrument import Profiler

        self._profiler: Any = Profiler()
        self._profiler.start()

    def stop(self) -> None:
        """End it."""
        self._profiler.stop()

    def write(self, folder: Path) -> None:
        """Write python_stats.json and .html."""
        from pyinstrument.renderers import JSONRenderer

        report = JSONRenderer().render(self._profiler.last_session)
        (folder / "python_stats.json").write_text(report, encoding="utf-8")
        (folder / "python_stats.html").write_text(self._profiler.output_html(), encoding="utf-8")


class PythonProfiler:
    """Profiles the steps of a window."""

    def __init__(self, layout: ProfileLayout, settings: PythonProfile) -> None:
        self.error: str | None = None
        """Why it stopped early; None if it did not."""
        self._layout = layout
        self._settings = settings
        self._window = settings.window
        self._begun = False
        self._steps: set[int] = set()
        self._running: tuple[RunningProfile, Moment] | None = None

    def switch_phase(self, phase: str, step: int, mode: str = "train") -> None:
        """Write the profile that is running, and begin the next if `step` is to be profiled."""
        now = time.time()
        if not self._begun:
            self._window, self._begun = self._window.begun(step, now), True
        moment = Moment(mode, step, phase, now)
        self._write(moment)
        if self.error is None and self._window.covers(step, now, len(self._steps - {step})):
            self._steps.add(step)
            self._start(moment)

    def stop(self) -> None:
        """Throw away what is running: it has no end."""
        if self._running:
            self._running[0].stop()
            self._running = None

    def _start(self, moment: Moment) -> None:
        try:
            timer = self._settings.timer
            profile: RunningProfile = CProfile(timer) if self._settings.profiler == "cprofile" else Pyinstrument()
        except Exception as error:  # noqa: BLE001 - another profiler may be at work; training goes on
            self._fail(error)
        else:
            self._running = (profile, moment)

    def _write(self, moment: Moment) -> None:
        if self._running is None:
            return
        (profile, start), self._running = self._running, None
        try:
            profile.stop()
            folder = self._layout.python_profile(self._settings.profiler, start, moment)
            folder.mkdir(parents=True, exist_ok=True)
            profile.write(folder)
        except Exception as error:  # noqa: BLE001 - pyinstrument fails on some stacks, disks fill up; training goes on
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self.error = f"{type(error).__name__}: {error}"
        log.warning("profiler: no more profiles of Python code, training goes on: %s", self.error)


TIMERS: dict[str, Callable[[], float]] = {
    "total_time": time.perf_counter,
    "default": time.perf_counter,
    "cpu_time": time.thread_time,
    "off_cpu_time": lambda: time.perf_counter() - time.thread_time(),
}
"""SageMaker's cProfileTimer -> the clock. smdebug's clocks are the kernel's ticks, and all threads' where this one's
would be meant."""
