"""One host's system metrics as columns over time, whatever wrote them.

    readings = Readings()
    readings.add({"Type": "cpu", "Name": "cpu0", "Dimension": "CPUUtilization", "Value": 97.4, "Timestamp": ...})
    readings["cpu"]                 # mean over the cores, per cent, at readings.times

Lines of one reading become one row. Of cores and GPUs their mean is kept, and their extreme: a machine with many
cores, read twice a second for days, would fill the memory otherwise.
"""

from __future__ import annotations

import math
from array import array
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from observability.profiler.usage import CONTAINER_CPU, CONTAINER_MEMORY, MEMORY

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
