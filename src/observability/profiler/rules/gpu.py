"""Rules about GPUs. This image trains on a CPU, but the same files come from jobs that have GPUs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from observability.profiler.reading import Profile
from observability.profiler.readings import Values
from observability.profiler.rules.base import RULESCONFIG, ProfileRule
from observability.rules.rule import Finding, parameter


@dataclass
class CPUBottleneck(ProfileRule):
    """Fires if too many readings show an idle GPU and a busy core.

    Without a GPU it does not apply: a busy CPU is what training on it looks like.
    """

    question = "Does a GPU wait for the CPU?"
    advice = "Move work from the CPU: read input in parallel and ahead, or take an instance with more cores a GPU."

    threshold: float = parameter(50, "per cent of the readings that may be bottlenecks", RULESCONFIG)
    gpu_threshold: float = parameter(10, "per cent below which a GPU is idle", RULESCONFIG)
    cpu_threshold: float = parameter(90, "per cent above which a core is busy", RULESCONFIG)
    patience: int = parameter(1000, "readings that are needed", RULESCONFIG)

    def _judge(self, profile: Profile) -> Iterator[Finding]:
        if not self._has_readings(profile) or not self._has_gpus(profile):
            return
        for name, node in profile.nodes.items():
            readings = node.readings
            if self._is_early(len(readings), self.patience):
                continue
            bottlenecks = (readings["gpu_idlest"] < self.gpu_threshold) & (readings["cpu_busiest"] > self.cpu_threshold)
            self.evidence.violations += int(bottlenecks.sum())
            share = 100 * float(bottlenecks.mean())
            self.measured = f"{share:.0f} % of the readings"
            self.evidence.details[name] = {"bottlenecks_percent": round(share, 2)}
            if share > self.threshold:
                yield Finding(
                    f"in {share:.0f} % of the readings of {name} a GPU was below {self.gpu_threshold:g} % while a core "
                    f"was above {self.cpu_threshold:g} %",
                    share,
                )


@dataclass
class GPUMemoryIncrease(ProfileRule):
    """Fires if a GPU's memory, as a moving average, grows by more than `increase` per cent between two readings.

    AWS's own code compares means over different numbers of readings; here both have `window`.
    """

    question = "Does a GPU's memory jump?"
    advice = "Look for what is allocated late or kept: shapes that grow, a second model, histories held on the GPU."

    increase: float = parameter(5, "per cent of the memory", RULESCONFIG)
    patience: int = parameter(1000, "readings that are needed", RULESCONFIG)
    window: int = parameter(10, "readings of the moving average", RULESCONFIG)

    def _judge(self, profile: Profile) -> Iterator[Finding]:
        if not self._has_readings(profile) or not self._has_gpus(profile):
            return
        for name, node in profile.nodes.items():
            for gpu in node.readings.gpus:
                values = node.readings.gpu(gpu, "GPUMemoryUtilization")
                if self._is_early(len(values), max(self.patience, self.window + 1)):
                    continue
                growth = np.diff(np.convolve(values, np.full(self.window, 1 / self.window), mode="valid"))
                largest = float(growth[max(self.patience - self.window, 0) :].max(initial=0.0))
                self.measured = f"at most {largest:.1f} % at once"
                self.evidence.details.setdefault(name, {})[gpu] = {"increase": round(largest, 2)}
                if largest > self.increase:
                    self.evidence.violations += 1
                    yield Finding(f"memory of {gpu} of {name} grew by {largest:.1f} % of it at once", largest)


@dataclass
class LoadBalancing(ProfileRule):
    """Fires if two GPUs of a host are used differently: by the Jensen-Shannon distance of their histograms."""

    question = "Do all GPUs do the same work?"
    advice = "Give every GPU the same share of each batch, and look for work that only the first one does."

    threshold: float = parameter(0.5, "distance, from 0 to 0.83", RULESCONFIG)
    patience: int = parameter(1000, "readings that are needed", RULESCONFIG)

    def _judge(self, profile: Profile) -> Iterator[Finding]:
        if not self._has_readings(profile) or not self._has_gpus(profile, number=2):
            return
        for name, node in profile.nodes.items():
            values = {gpu: node.readings.gpu(gpu, "GPUUtilization") for gpu in node.readings.gpus}
            if self._is_early(min(map(len, values.values()), default=0), self.patience):
                continue
            for one, other in itertools.combinations(values, 2):
                distance = jensen_shannon(values[one], values[other])
                self.measured = f"distance {distance:.2f}"
                self.evidence.details.setdefault(name, {})[f"{one} {other}"] = round(distance, 3)
                if distance > self.threshold:
                    self.evidence.violations += 1
                    yield Finding(f"{one} and {other} of {name} are used differently, by {distance:.2f}", distance)


@dataclass
class LowGPUUtilization(ProfileRule):
    """Fires if a GPU is used little, or comes and goes."""

    question = "Is a GPU busy, and all the time?"
    advice = "Raise the batch size or take a smaller GPU; if the use comes and goes, look at what the GPU waits for."

    threshold_p95: float = parameter(70, "per cent that the 95th percentile has to reach", RULESCONFIG)
    threshold_p5: float = parameter(10, "per cent that the 5th percentile has to reach then", RULESCONFIG)
    window: int = parameter(500, "latest readings that the percentiles are of", RULESCONFIG)
    patience: int = parameter(1000, "readings that are needed", RULESCONFIG)

    def _judge(self, profile: Profile) -> Iterator[Finding]:
        if not self._has_readings(profile) or not self._has_gpus(profile):
            return
        for name, node in profile.nodes.items():
            for gpu in node.readings.gpus:
                values = node.readings.gpu(gpu, "GPUUtilization")
                if self._is_early(len(values), self.patience):
                    continue
                low, high = (float(part) for part in np.quantile(values[-self.window :], [0.05, 0.95]))
                self.measured = f"5th percentile {low:.0f} %, 95th {high:.0f} %"
                self.evidence.details.setdefault(name, {})[gpu] = {"gpu_5": low, "gpu_95": high}
                if high < self.threshold_p95:
                    self.evidence.violations += 1
                    yield Finding(f"{gpu} of {name} is used little: 95th percentile {high:.0f} %", high)
                elif low < self.threshold_p5:
                    self.evidence.violations += 1
                    yield Finding(f"{gpu} of {name} comes and goes: 5th percentile {low:.0f} %, 95th {high:.0f} %", low)


def jensen_shannon(one: Values, other: Values) -> float:
    """Return the square root of the Jensen-Shannon divergence (nats) of two histograms over 0 to 100 per cent."""
    bins = np.arange(0, 102, 2)
    shares = [np.histogram(values, bins)[0] / max(len(values), 1) for values in (one, other)]
    middle = (shares[0] + shares[1]) / 2
    divergence = sum(
        float(np.sum(share[share > 0] * np.log(share[share > 0] / middle[share > 0]))) / 2 for share in shares
    )
    return float(np.sqrt(max(divergence, 0.0)))
