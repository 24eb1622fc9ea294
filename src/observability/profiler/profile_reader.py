"""Reads a profile from SageMaker's files, whoever wrote them: the platform, smdebug or this image.

    profile = Profile(Path("profiler-output"))
    profile.refresh()                              # again, as long as the job writes
    node = profile.nodes["algo-1"]
    node.readings["cpu"], node.steps["TRAIN"]      # mean over the cores, per cent, at node.readings.times

A file is read once, and on from where its reading ended if it has grown. What is damaged is left out. Lines of one
reading become one row. Of cores and GPUs their mean is kept, and their extreme: a machine with many cores, read twice a
second for days, would fill the memory otherwise.
"""

from __future__ import annotations

import json
import logging
import math
import re
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from observability.profiler.layout import MICROSECONDS, SYSTEM, TIMELINE, TIMELINE_SUFFIX
from observability.profiler.timeline import FIRST, STEP, Step
from observability.profiler.usage import CONTAINER_CPU, CONTAINER_MEMORY, MEMORY

log = logging.getLogger(__name__)

Values = npt.NDArray[np.float64]
Kind = tuple[str, str]
"""Type, and dimension; or name, where the dimension is empty or says whose traffic it is."""

SAME_READING_SECONDS = 0.02
"""Lines this close are of one reading, as in AWS's own rules: the platform reads each kind by itself."""


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


COLUMNS: Mapping[str, tuple[Kind, Callable[[Sequence[float]], float]]] = {
    "cpu": (("cpu", "CPUUtilization"), _mean),
    "cpu_busiest": (("cpu", "CPUUtilization"), max),
    "io_wait": (("cpu", "I/OWaitPercentage"), _mean),
    "io_wait_most": (("cpu", "I/OWaitPercentage"), max),
    "container_cpu": (("cpu", CONTAINER_CPU), _mean),
    "memory": (("memory", MEMORY), _mean),
    "container_memory": (("memory", CONTAINER_MEMORY), _mean),
    "iops": (("i/o", "IOPS"), _mean),
    "read": (("i/o", "ReadThroughputInBytesPerSecond"), _mean),
    "written": (("i/o", "WriteThroughputInBytesPerSecond"), _mean),
    "received": (("network", "ReceiveBytesPerSecond"), _mean),
    "sent": (("network", "TransmitBytesPerSecond"), _mean),
    "gpu": (("gpu", "GPUUtilization"), _mean),
    "gpu_idlest": (("gpu", "GPUUtilization"), min),
    "gpu_memory": (("gpu", "GPUMemoryUtilization"), _mean),
}
"""Column -> what it is made of, and how the values of one reading become one."""

_OTHERS = "Platform"
"""Dimension of traffic that is the platform's own, not the job's."""


class Readings:
    """The columns of one host."""

    def __init__(self) -> None:
        self._times = array("d")
        self._columns = {name: array("d") for name in COLUMNS}
        self._row: dict[Kind, list[float]] = defaultdict(list)
        self._row_time = -math.inf
        self._cores: set[str] = set()
        self._gpus: dict[str, dict[str, array[float]]] = defaultdict(lambda: defaultdict(lambda: array("d")))

    def add(self, event: Mapping[str, Any]) -> None:
        """Take a line's object; raise KeyError, TypeError or ValueError if it is none of SageMaker's."""
        kind, name, dimension = event["Type"], str(event["Name"]), event["Dimension"]
        value, timestamp = float(event["Value"]), float(event["Timestamp"])
        if dimension == _OTHERS:
            return
        if abs(timestamp - self._row_time) > SAME_READING_SECONDS:
            self.end_row()
            self._row_time = timestamp
        self._row[kind, name if dimension in ("", "Algorithm") else dimension].append(value)
        if dimension == "CPUUtilization":
            self._cores.add(name)
        elif kind == "gpu":
            self._gpus[name][dimension].append(value)

    def end_row(self) -> None:
        """Turn what was taken last into a row; also when there is no more to come."""
        if self._row:
            self._times.append(self._row_time)
            for column, (kind, reduce) in COLUMNS.items():
                self._columns[column].append(reduce(self._row[kind]) if kind in self._row else math.nan)
        self._row = defaultdict(list)
        self._row_time = -math.inf

    def __len__(self) -> int:
        return len(self._times)

    def __getitem__(self, column: str) -> Values:
        """Return a column, NaN where a reading has no such metric."""
        return np.array(self._columns[column])

    def has(self, column: str) -> bool:
        """Return whether a column has values."""
        return bool(np.isfinite(self[column]).any())

    @property
    def times(self) -> Values:
        """Return when each row was read, in seconds since 1970."""
        return np.array(self._times)

    @property
    def cores(self) -> int:
        """Return the number of cores."""
        return len(self._cores)

    @property
    def gpus(self) -> list[str]:
        """Return the names of the GPUs."""
        return sorted(self._gpus)

    def gpu(self, name: str, dimension: str) -> Values:
        """Return one GPU's utilisation or memory, per cent, in time's order."""
        return np.array(self._gpus[name][dimension])


_PROCESS = re.compile(r"\d+_(?:\d+-)?(?P<node>.+)" + re.escape(TIMELINE_SUFFIX))


@dataclass
class Node:
    """One host's profile."""

    readings: Readings = field(default_factory=Readings)
    steps: dict[str, list[Step]] = field(default_factory=lambda: defaultdict(list))
    """Mode -> its steps, in time's order."""


class Profile:
    """The profile in one or more folders; several are read as if they were one."""

    def __init__(self, *folders: Path) -> None:
        self.folders = folders
        self.nodes: dict[str, Node] = defaultdict(Node)
        self._read_bytes: dict[Path, int] = {}
        self._damaged: set[Path] = set()

    def refresh(self) -> None:
        """Read what is new."""
        for folder in self.folders:
            for path in sorted((folder / SYSTEM).glob("*/*.json")):
                self._guard(path, self._read_system_metrics)
            for path in sorted((folder / TIMELINE).glob(f"*/*{TIMELINE_SUFFIX}")):
                if path not in self._read_bytes:
                    self._read_bytes[path] = 0
                    self._guard(path, self._read_timeline)
        for node in self.nodes.values():
            node.readings.end_row()

    def _guard(self, path: Path, read: Callable[[Path], None]) -> None:
        """Read a file; leave out what cannot be read, and say so once."""
        try:
            read(path)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            if path not in self._damaged:
                self._damaged.add(path)
                log.warning("profiler: %s is damaged, and left out: %s: %s", path, type(error).__name__, error)

    def _read_system_metrics(self, path: Path) -> None:
        if path.stat().st_size == self._read_bytes.setdefault(path, 0):
            return
        with path.open("rb") as file:
            file.seek(self._read_bytes[path])
            for line in file:
                if not line.endswith(b"\n"):  # its rest is still to come
                    break
                self._read_bytes[path] += len(line)
                event = json.loads(line)
                self.nodes[str(event["NodeId"])].readings.add(event)

    def _read_timeline(self, path: Path) -> None:
        match = _PROCESS.fullmatch(path.name)
        if match is None:
            return
        node = self.nodes[match["node"]]
        for step in timeline_steps(json.loads(path.read_text(encoding="utf-8"))):
            node.steps[step.mode].append(step)


def timeline_steps(events: list[Mapping[str, Any]]) -> Iterator[Step]:
    """Yield the steps among a timeline's trace events."""
    start = 0.0
    for event in events:
        arguments = event.get("args") or {}
        if "start_time_since_epoch_in_micros" in arguments:
            start = float(arguments["start_time_since_epoch_in_micros"])
        name = str(event.get("name"))
        if event.get("ph") == "X" and name.startswith(STEP):
            number = int(arguments["step_num"])
            yield Step(
                mode=name.removeprefix(STEP),
                number=number,
                start=(start + float(event["ts"])) / MICROSECONDS,
                seconds=float(event["dur"]) / MICROSECONDS,
                first=bool(arguments.get(FIRST, number == 0)),
            )


@cache
def profile_of(folder: Path) -> Profile:
    """Return the profile in a folder, one object for all who ask: each file is read once."""
    return Profile(folder)
