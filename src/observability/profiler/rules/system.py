"""Rules about the whole machine. Without a GPU the processor is what computes, and they judge that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from observability.profiler.reading import Profile
from observability.profiler.readings import Readings, Values
from observability.profiler.rules.base import RULESCONFIG, ProfileRule
from observability.rules.rule import Finding, parameter

USAGE = {
    "CPU": "cpu",
    "CPU memory": "memory",
    "GPU": "gpu",
    "GPU memory": "gpu_memory",
    "I/O": "io_wait",
    "Network": "received",
}
"""AWS's names in the report on OverallSystemUsage -> the columns."""


def job_cpu(readings: Readings) -> Values:
    """Return what the job used of the CPU, per cent: of what its container may use, where that was recorded."""
    return readings["container_cpu" if readings.has("container_cpu") else "cpu"]


@dataclass
class BatchSize(ProfileRule):
    """Fires if the machine is too large for the batch: neither the CPU nor a GPU and its memory come near their limit.

    Without a GPU, by the CPU alone.
    """

    question = "Is the batch large enough for the machine?"
    advice = "Raise train_batch_size, or take a smaller instance type."

    cpu_threshold_p95: float = parameter(70, "per cent that the CPU's 95th percentile has to reach", RULESCONFIG)
    gpu_threshold_p95: float = parameter(70, "per cent that a GPU's has to reach", RULESCONFIG)
    gpu_memory_threshold_p95: float = parameter(70, "per cent that a GPU's memory's has to reach", RULESCONFIG)
    patience: int = parameter(1000, "readings that are needed", RULESCONFIG)
    window: int = parameter(500, "latest readings that the percentiles are of", RULESCONFIG)

    def _judge(self, profile: Profile) -> Iterator[Finding]:
        if not self._has_readings(profile):
            return
        for name, node in profile.nodes.items():
            readings = node.readings
            if self._is_early(len(readings), max(self.patience, self.window)):
                continue
            cpu = self._percentile(job_cpu(readings))
            found = {"cpu_p95": cpu}
            for gpu in readings.gpus:
                used = self._percentile(readings.gpu(gpu, "GPUUtilization"))
                memory = self._percentile(readings.gpu(gpu, "GPUMemoryUtilization"))
                found |= {f"{gpu}_p95": used, f"{gpu}_memory_p95": memory}
                if max(used - self.gpu_threshold_p95, memory - self.gpu_memory_threshold_p95) >= 0:
                    break
            else:
                if cpu < self.cpu_threshold_p95:
                    self.evidence.violations += 1
                    least = f"at least {self.cpu_threshold_p95:g} % is what a batch that fills it reaches"
                    yield Finding(f"the CPU of {name} has room, 95th percentile {cpu:.0f} %; {least}", cpu)
            self.measured = f"the CPU's 95th percentile is {cpu:.0f} %"
            self.evidence.details[name] = {key: round(value, 2) for key, value in found.items()}

    def _percentile(self, values: Values) -> float:
        latest = values[np.isfinite(values)][-self.window :]
        return float(np.quantile(latest, 0.95)) if len(latest) else 0.0


@dataclass
class IOBottleneck(ProfileRule):
    """Fires if too many readings show a core that waits for I/O while a GPU is idle.

    Without a GPU, if the cores as a whole wait: one core that writes a checkpoint holds nothing up.
    """

    question = "Does training wait for the disk?"
    advice = "Use TrainingInputMode File instead of FastFile, fewer and larger files, or a faster volume."

    threshold: float = parameter(50, "per cent of the readings that may be bottlenecks", RULESCONFIG)
    gpu_threshold: float = parameter(10, "per cent below which a GPU is idle", RULESCONFIG)
    io_threshold: float = parameter(50, "per cent of its time above which a core waits for I/O", RULESCONFIG)
    patience: int = parameter(1000, "readings that are needed", RULESCONFIG)

    def _judge(self, profile: Profile) -> Iterator[Finding]:
        if not self._has_readings(profile):
            return
        for name, node in profile.nodes.items():
            readings = node.readings
            if self._is_early(len(readings), self.patience):
                continue
            if readings.gpus:
                waits = (readings["io_wait_most"] > self.io_threshold) & (readings["gpu_idlest"] < self.gpu_threshold)
            else:
                waits = readings["io_wait"] > self.io_threshold
            self.evidence.violations += int(waits.sum())
            share = 100 * float(waits.mean())
            self.measured = f"{share:.0f} % of the readings"
            self.evidence.details[name] = {"bottlenecks_percent": round(share, 2)}
            if share > self.threshold:
                yield Finding(
                    f"in {share:.0f} % of the readings of {name} more than {self.io_threshold:g} % of the time was "
                    "waiting for I/O",
                    share,
                )


@dataclass
class OverallSystemUsage(ProfileRule):
    """Finds nothing, as AWS's does: its percentiles are for the report."""

    question = "How much of the machine was used?"
    advice = ""

    def _judge(self, profile: Profile) -> Iterator[Finding]:
        if not self._has_readings(profile):
            return
        for name, node in profile.nodes.items():
            self.evidence.datapoints = max(self.evidence.datapoints, len(node.readings))
            for shown, column in USAGE.items():
                values = job_cpu(node.readings) if column == "cpu" else node.readings[column]
                values = values[np.isfinite(values)]
                if len(values):
                    self.evidence.details.setdefault(shown, {})[name] = percentiles(values)
            medians = {shown: hosts[name]["p50"] for shown, hosts in self.evidence.details.items() if name in hosts}
            shares = (f"{shown} {medians[shown]:.0f} %" for shown in ("CPU", "CPU memory", "GPU") if shown in medians)
            self.measured = f"medians: {', '.join(shares)}"
        yield from ()


def percentiles(values: Values) -> dict[str, float]:
    """Return what AWS's report shows of a series."""
    parts = np.quantile(values, [1.0, 0.99, 0.95, 0.5, 0.0])
    return {key: round(float(part), 2) for key, part in zip(("max", "p99", "p95", "p50", "min"), parts, strict=True)}
