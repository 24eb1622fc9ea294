"""What the profiler shall record: SageMaker's profilerconfig.json, or this image's defaults.

    settings = read_settings(contract)          # None: DisableProfiler
    settings.trace                              # the steps that TensorFlow's profiler traces

SageMaker writes profilerconfig.json from CreateTrainingJob's ProfilerConfig. Its ProfilingParameters are texts, and
some of these are JSON again, as SageMaker's SDK writes it: with a comma behind the last entry. smdebug lower-cases the
whole file and passes such a text to Python's eval; here names are read in any case, and nothing is evaluated.
"""

from __future__ import annotations

import ast
import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from star_rating.contract import Contract, local_path, read_object
from star_rating.failures import ConfigurationError, quote

log = logging.getLogger(__name__)

DEFAULT_INTERVAL_SECONDS = 0.5
"""Between two readings of the system's metrics; SageMaker's own default."""
SHORTEST_INTERVAL, LONGEST_INTERVAL = 100, 60_000
"""Milliseconds; CreateTrainingJob's least and greatest ProfilingIntervalInMilliseconds."""

WITHOUT_EFFECT = {
    "DataloaderProfilingConfig": "it needs AWS's TensorFlow; DetailedProfilingConfig's trace has the input too",
    "HorovodProfilingConfig": "this image does not train with Horovod",
    "SMDataParallelProfilingConfig": "this image does not train with SMDataParallel",
}
"""ProfilingParameters that SageMaker's SDK sends with every framework profile -> why they do nothing here."""

PROFILERS = ("cprofile", "pyinstrument")
TIMERS = ("total_time", "cpu_time", "off_cpu_time", "default")

_NAMES = (
    *("DisableProfiler", "ProfilingIntervalInMilliseconds", "ProfilingParameters"),
    *(
        "ProfilerEnabled",
        "LocalPath",
        "RotateFileCloseIntervalInSeconds",
        "RotateMaxFileSizeInBytes",
        "FileOpenFailThreshold",
    ),
    *("DetailedProfilingConfig", "PythonProfilingConfig", *WITHOUT_EFFECT),
    *("StartStep", "NumSteps", "StartTimeInSecSinceEpoch", "DurationInSeconds", "ProfilerName", "cProfileTimer"),
)
_BY_LOWER_CASE = {name.lower(): name for name in _NAMES}

_LONGEST_TEXT = 2500


@dataclass(frozen=True)
class Window:
    """Steps to profile, by their numbers or by the clock; None stands for the first step that the run does."""

    first_step: int | None = None
    steps: int | None = None
    start_time: float | None = None
    """Seconds since 1970."""
    seconds: float | None = None

    def begun(self, step: int, now: float) -> Self:
        """Return the window with what is open filled in at the run's first step, whose number is `step`."""
        if self.first_step is not None or self.steps is not None:
            first = step if self.first_step is None else self.first_step
            return replace(self, first_step=first, steps=self.steps or 1)
        return replace(self, start_time=now if self.start_time is None else self.start_time)

    def covers(self, step: int, now: float, covered: int) -> bool:
        """Return whether a step is to be profiled, `covered` having been so far."""
        if self.first_step is not None and self.steps is not None:
            return self.first_step <= step < self.first_step + self.steps
        if self.start_time is None or now < self.start_time:
            return False
        return covered == 0 if self.seconds is None else now < self.start_time + self.seconds


@dataclass(frozen=True)
class PythonProfile:
    """Which profiler of Python code to run, and when."""

    window: Window
    profiler: str = "cprofile"
    timer: str = "total_time"
    """Of cProfile."""


@dataclass(frozen=True)
class Rotation:
    """When a file of step durations is closed and the next one begun."""

    seconds: float = 60.0
    size: int = 10_485_760
    """Bytes."""
    open_failures: int = 50
    """Failures in a row after which no more files are written."""


@dataclass(frozen=True)
class ProfilerSettings:
    """What to record, and where."""

    folder: Path
    """SageMaker's LocalPath, mirrored to S3 if the job has a ProfilerConfig."""
    configured: bool = False
    """Whether the job has a profilerconfig.json."""
    interval_seconds: float = DEFAULT_INTERVAL_SECONDS
    rotation: Rotation = Rotation()
    trace: Window | None = None
    python: PythonProfile | None = None


DEFAULT_TRACE = Window(first_step=10, steps=3)
"""In a run without profilerconfig.json. The first steps are left out: they trace and allocate."""


def read_settings(contract: Contract) -> ProfilerSettings | None:
    """Return what to record; None if the job has DisableProfiler set.

    A damaged file raises ConfigurationError; a setting that cannot have an effect is logged.
    """
    path = contract.config_dir / "profilerconfig.json"
    folder = contract.output_dir / "profiler"
    document = read_object(path)
    if document is None:
        return ProfilerSettings(folder, trace=DEFAULT_TRACE)
    document = _named(document)
    if _switch(document.get("DisableProfiler"), f"{path}: DisableProfiler"):
        return None
    interval = document.get("ProfilingIntervalInMilliseconds")
    settings = ProfilerSettings(
        folder,
        configured=True,
        interval_seconds=DEFAULT_INTERVAL_SECONDS if interval is None else _interval(interval, path),
    )
    parameters = document.get("ProfilingParameters") or {}
    if not isinstance(parameters, dict):
        raise ConfigurationError(f"{path}: ProfilingParameters must be an object of name and text.")
    parameters = _named(parameters)
    # The platform writes it, whatever the request says.
    if not _switch(parameters.get("ProfilerEnabled", True), f"{path}: ProfilingParameters: ProfilerEnabled"):
        return None
    return _with_parameters(settings, parameters, path)


def _with_parameters(settings: ProfilerSettings, parameters: Mapping[str, Any], path: Path) -> ProfilerSettings:
    where = f"{path}: ProfilingParameters"
    for name, value in parameters.items():
        if value and name in WITHOUT_EFFECT:
            log.info("profiler: %s has no effect: %s", name, WITHOUT_EFFECT[name])
        elif name not in _NAMES:
            log.warning("profiler: %s has no effect: it is none of ProfilingParameters' names", quote(name))
    rotation = Rotation(
        _number(parameters, "RotateFileCloseIntervalInSeconds", where, Rotation.seconds, least=1),
        int(_number(parameters, "RotateMaxFileSizeInBytes", where, Rotation.size, least=1)),
        int(_number(parameters, "FileOpenFailThreshold", where, Rotation.open_failures, least=1)),
    )
    return replace(
        settings,
        folder=local_path(parameters, path) or settings.folder,
        rotation=rotation,
        trace=_window(_nested(parameters, "DetailedProfilingConfig", where), f"{where}: DetailedProfilingConfig"),
        python=_python(_nested(parameters, "PythonProfilingConfig", where), f"{where}: PythonProfilingConfig"),
    )


def _window(fields: Mapping[str, Any], where: str) -> Window | None:
    if not fields:
        return None
    first, steps = (_optional(fields, name, where) for name in ("StartStep", "NumSteps"))
    start, seconds = (_optional(fields, name, where) for name in ("StartTimeInSecSinceEpoch", "DurationInSeconds"))
    by_step, by_time = first is not None or steps is not None, start is not None or seconds is not None
    if by_step and by_time:
        raise ConfigurationError(
            f"{where} has steps (StartStep, NumSteps) and times (StartTimeInSecSinceEpoch, DurationInSeconds); "
            "leave one of the two out."
        )
    if not by_step and not by_time:
        raise ConfigurationError(f"{where} says no steps; write StartStep and NumSteps, or leave it out.")
    return Window(None if first is None else int(first), None if steps is None else int(steps), start, seconds)


def _python(fields: Mapping[str, Any], where: str) -> PythonProfile | None:
    window = _window(fields, where)
    if window is None:
        return None
    profiler = str(fields.get("ProfilerName", PROFILERS[0])).lower()
    timer = str(fields.get("cProfileTimer", TIMERS[0])).lower()
    for name, value, known in (("ProfilerName", profiler, PROFILERS), ("cProfileTimer", timer, TIMERS)):
        if value not in known:
            raise ConfigurationError(f"{where}: {name} is {quote(value)}; write one of {', '.join(known)}.")
    return PythonProfile(window, profiler, timer)


def _nested(parameters: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    """Return an object that is written as a text."""
    text = parameters.get(name) or {}
    value = text
    if isinstance(text, str):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = _python_literal(text)
    if not isinstance(value, dict):
        raise ConfigurationError(f'{where}: {name} is {quote(text)}; a text such as {{"StartStep": 5}} is needed.')
    return _named(value)


def _python_literal(text: str) -> object:
    """Read what JSON does not allow and SageMaker's SDK writes: a comma behind the last entry."""
    if len(text) > _LONGEST_TEXT:  # CreateTrainingJob's limit; a very long literal can exhaust Python's own stack
        return None
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _interval(value: object, path: Path) -> float:
    milliseconds = _as_number(value)
    if milliseconds is None or not SHORTEST_INTERVAL <= milliseconds <= LONGEST_INTERVAL:
        raise ConfigurationError(
            f"{path}: ProfilingIntervalInMilliseconds is {quote(value)}; a number from {SHORTEST_INTERVAL} to "
            f"{LONGEST_INTERVAL} is needed."
        )
    return milliseconds / 1000


def _switch(value: object, where: str) -> bool:
    text = str(value).lower()
    if value is None or text in ("true", "false"):
        return text == "true"
    raise ConfigurationError(f"{where} is {quote(value)}; true or false is needed.")


def _optional(fields: Mapping[str, Any], name: str, where: str) -> float | None:
    return None if fields.get(name) is None else _number(fields, name, where, 0.0, least=0)


def _number(fields: Mapping[str, Any], name: str, where: str, default: float, *, least: float) -> float:
    if fields.get(name) is None:
        return default
    number = _as_number(fields[name])
    if number is None or number < least:
        raise ConfigurationError(f"{where}: {name} is {quote(fields[name])}; a number from {least} is needed.")
    return number


def _as_number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _named(fields: Mapping[Any, Any]) -> dict[str, Any]:
    """Return fields under the names that this module uses, in whatever case they were written."""
    return {_BY_LOWER_CASE.get(str(name).lower(), str(name)): value for name, value in fields.items()}
