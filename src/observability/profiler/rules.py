"""AWS's rules on a profile, by their names, with their parameters and defaults (smdebug_rulesconfig 1.0.1).

    profile = Profile(Path("profiler-output"))
    profile.refresh()
    BatchSize().evaluate(profile)

First what they have in common, then those about the whole machine, about steps, and about GPUs. This image trains on a
CPU, but the same files come from jobs that have GPUs; without one, the rules about the machine look at the CPU, and
those about GPUs say that they do not apply.
"""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from observability.profiler.profile_reader import Node, Profile, Readings, Values, profile_of
from observability.profiler.timeline import STEP, Step
from observability.rule import Finding, ProfilerRule, parameter

RULESCONFIG = "AWS's default (smdebug_rulesconfig 1.0.1)"

NO_GPU = "there is no GPU in the profile"


@dataclass
class RuleStatistics:
    """What a rule has looked at: the part of AWS's report on a rule that is not its parameters."""

    datapoints: int = 0
    violations: int = 0
    details: dict[str, Any] = field(default_factory=dict)


@dataclass
class ProfileRule(ProfilerRule):
    """A rule on a profile."""

    question: ClassVar[str]
    """What it asks of a run, for its line in the report."""
    advice: ClassVar[str]
    """What to change when it has found something."""

    def __post_init__(self) -> None:
        """Start with nothing seen."""
        self.statistics = RuleStatistics()
        self.measured = ""
        """What it measured, in a few words, where it has found nothing."""
        self._missing = ""
        self._remark = ""

    def look(self, profiler: Path) -> Iterator[Finding]:
        """Read what is new in a profiler folder, and yield what is wrong."""
        profile = profile_of(profiler)
        profile.refresh()
        yield from self.evaluate(profile)

    def evaluate(self, profile: Profile) -> Iterator[Finding]:
        """Yield what is wrong in a profile."""
        self.statistics, self.measured, self._missing, self._remark = RuleStatistics(), "", "", ""
        yield from self._evaluate(profile)

    @abstractmethod
    def _evaluate(self, profile: Profile) -> Iterator[Finding]:
        """Yield what is wrong; note what was looked at, and what kept it from being judged."""

    def missing(self) -> str:
        """Say which files it needs and has not found."""
        return self._missing

    def remark(self) -> str:
        """Say why nothing could be found, where that is no fault: too little data yet, or no GPU."""
        return self._remark

    def _has_readings(self, profile: Profile) -> bool:
        if any(len(node.readings) for node in profile.nodes.values()):
            return True
        self._missing = "there are no system metrics below system/incremental/"
        return False

    def _has_gpus(self, profile: Profile, number: int = 1) -> bool:
        """Note how many GPUs there are, if not enough to judge by."""
        found = max((len(node.readings.gpus) for node in profile.nodes.values()), default=0)
        if found < number:
            self._remark = NO_GPU if not found else f"there are fewer than {number} GPUs"
        return found >= number

    def _is_early(self, readings: int, patience: int) -> bool:
        """Note how much there is to judge by, if that is not more than the rule's patience."""
        self.statistics.datapoints = max(self.statistics.datapoints, readings)
        if readings <= patience:
            self._remark = f"it judges from {patience + 1:,} readings on, and there are {readings:,}"
        return readings <= patience


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

    def _evaluate(self, profile: Profile) -> Iterator[Finding]:
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
                    self.statistics.violations += 1
                    least = f"at least {self.cpu_threshold_p95:g} % is what a batch that fills it reaches"
                    yield Finding(f"the CPU of {name} has room, 95th percentile {cpu:.0f} %; {least}", cpu)
            self.measured = f"the CPU's 95th percentile is {cpu:.0f} %"
            self.statistics.details[name] = {key: round(value, 2) for key, value in found.items()}

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

    def _evaluate(self, profile: Profile) -> Iterator[Finding]:
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
            self.statistics.violations += int(waits.sum())
            share = 100 * float(waits.mean())
            self.measured = f"{share:.0f} % of the readings"
            self.statistics.details[name] = {"bottlenecks_percent": round(share, 2)}
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

    def _evaluate(self, profile: Profile) -> Iterator[Finding]:
        if not self._has_readings(profile):
            return
        for name, node in profile.nodes.items():
            self.statistics.datapoints = max(self.statistics.datapoints, len(node.readings))
            for shown, column in USAGE.items():
                values = job_cpu(node.readings) if column == "cpu" else node.readings[column]
                values = values[np.isfinite(values)]
                if len(values):
                    self.statistics.details.setdefault(shown, {})[name] = percentiles(values)
            medians = {shown: hosts[name]["p50"] for shown, hosts in self.statistics.details.items() if name in hosts}
            shares = (f"{shown} {medians[shown]:.0f} %" for shown in ("CPU", "CPU memory", "GPU") if shown in medians)
            self.measured = f"medians: {', '.join(shares)}"
        yield from ()


def percentiles(values: Values) -> dict[str, float]:
    """Return what AWS's report shows of a series."""
    parts = np.quantile(values, [1.0, 0.99, 0.95, 0.5, 0.0])
    return {key: round(float(part), 2) for key, part in zip(("max", "p99", "p95", "p50", "min"), parts, strict=True)}


LEAST_STEPS = 100
"""Of a mode; AWS's rule is silent below it, too."""


@dataclass
class StepOutlier(ProfileRule):
    """Fires if more than `n_outliers` steps of a mode took longer than the mean and `stddev` standard deviations.

    The first step of each process is left out. It traces and allocates, and takes so much longer that the others'
    outliers would not be seen beside it; AWS's rule counts it.
    """

    question = "Do some steps take much longer than others?"
    advice = (
        "Look at what happens at these steps: checkpoints, saved tensors, validation, slow input, other jobs on the \
machine."
    )

    stddev: float = parameter(3, "standard deviations", RULESCONFIG)
    mode: str | None = parameter(None, "TRAIN or EVAL; without, each", RULESCONFIG)
    n_outliers: int = parameter(10, "outliers of a mode that are passed over", RULESCONFIG)

    def _evaluate(self, profile: Profile) -> Iterator[Finding]:
        wanted = (self.mode or "").removeprefix(STEP).upper()
        found = {
            (name, mode): ordinary(steps)
            for name, node in profile.nodes.items()
            for mode, steps in node.steps.items()
            if wanted in ("", mode)
        }
        if not found:
            self._missing = "there are no step durations below framework/pevents/"
            return
        most = max(map(len, found.values()))
        if most <= LEAST_STEPS:
            self._remark = f"it judges from {LEAST_STEPS + 1} steps on, and there are {most}"
        for (name, mode), steps in found.items():
            if len(steps) <= LEAST_STEPS:
                continue
            self.statistics.datapoints += len(steps)
            slow = outliers(steps, self.stddev)
            seconds = np.array([step.seconds for step in steps])
            self.statistics.details.setdefault(name, {})[mode] = {
                "step_stats": {**percentiles(seconds), "mean": round(float(seconds.mean()), 6)},
                "stddev": round(float(seconds.std()), 6),
                "number_of_outliers": len(slow),
                "step_numbers": [step.number for step in slow],
            }
            self.measured = ", ".join(filter(None, (self.measured, f"{len(slow)} of {len(steps):,} {mode} steps")))
            if len(slow) > self.n_outliers:
                self.statistics.violations += len(slow)
                worst = max(slow, key=lambda step: step.seconds)
                yield Finding(
                    f"{len(slow)} of {len(steps)} {mode} steps of {name} took over {self.stddev:g} standard deviations "
                    f"longer than the mean of {seconds.mean():.3g} s; step {worst.number} took {worst.seconds:.3g} s",
                    float(len(slow)),
                )


@dataclass
class MaxInitializationTime(ProfileRule):
    """Fires if the first step has not begun `threshold` minutes after the start."""

    question = "Does training start in time?"
    advice = "Look at the log before the first step: reading the channels, loading weights, compiling."

    threshold: float = parameter(20, "minutes", RULESCONFIG)

    def _evaluate(self, profile: Profile) -> Iterator[Finding]:
        if not self._has_readings(profile):
            return
        for name, node in profile.nodes.items():
            minutes = initialization_seconds(node) / 60
            self.statistics.datapoints += sum(map(len, node.steps.values()))
            self.measured = f"{minutes:.1f} min"
            self.statistics.details[name] = {"minutes": round(minutes, 2)}
            if minutes > self.threshold:
                self.statistics.violations += 1
                yield Finding(f"{name} was {minutes:.0f} min without a first step", minutes)


def initialization_seconds(node: Node) -> float:
    """Return the time from a host's first reading to its first step; to its last reading if there is none."""
    times = node.readings.times
    if not len(times):
        return 0.0
    starts = [steps[0].start for steps in node.steps.values() if steps]
    return max((min(starts) if starts else float(times[-1])) - float(times[0]), 0.0)


def ordinary(steps: Sequence[Step]) -> list[Step]:
    """Return the steps without the first of each process."""
    return [step for step in steps if not step.first]


def outliers(steps: Sequence[Step], stddev: float) -> list[Step]:
    """Return the steps that took longer than the mean and that many standard deviations."""
    seconds = np.array([step.seconds for step in steps])
    limit = seconds.mean() + stddev * seconds.std() if len(steps) else 0.0
    return [step for step in steps if step.seconds > limit]


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

    def _evaluate(self, profile: Profile) -> Iterator[Finding]:
        if not self._has_readings(profile) or not self._has_gpus(profile):
            return
        for name, node in profile.nodes.items():
            readings = node.readings
            if self._is_early(len(readings), self.patience):
                continue
            bottlenecks = (readings["gpu_idlest"] < self.gpu_threshold) & (readings["cpu_busiest"] > self.cpu_threshold)
            self.statistics.violations += int(bottlenecks.sum())
            share = 100 * float(bottlenecks.mean())
            self.measured = f"{share:.0f} % of the readings"
            self.statistics.details[name] = {"bottlenecks_percent": round(share, 2)}
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

    def _evaluate(self, profile: Profile) -> Iterator[Finding]:
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
                self.statistics.details.setdefault(name, {})[gpu] = {"increase": round(largest, 2)}
                if largest > self.increase:
                    self.statistics.violations += 1
                    yield Finding(f"memory of {gpu} of {name} grew by {largest:.1f} % of it at once", largest)


@dataclass
class LoadBalancing(ProfileRule):
    """Fires if two GPUs of a host are used differently: by the Jensen-Shannon distance of their histograms."""

    question = "Do all GPUs do the same work?"
    advice = "Give every GPU the same share of each batch, and look for work that only the first one does."

    threshold: float = parameter(0.5, "distance, from 0 to 0.83", RULESCONFIG)
    patience: int = parameter(1000, "readings that are needed", RULESCONFIG)

    def _evaluate(self, profile: Profile) -> Iterator[Finding]:
        if not self._has_readings(profile) or not self._has_gpus(profile, number=2):
            return
        for name, node in profile.nodes.items():
            values = {gpu: node.readings.gpu(gpu, "GPUUtilization") for gpu in node.readings.gpus}
            if self._is_early(min(map(len, values.values()), default=0), self.patience):
                continue
            for one, other in itertools.combinations(values, 2):
                distance = jensen_shannon(values[one], values[other])
                self.measured = f"distance {distance:.2f}"
                self.statistics.details.setdefault(name, {})[f"{one} {other}"] = round(distance, 3)
                if distance > self.threshold:
                    self.statistics.violations += 1
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

    def _evaluate(self, profile: Profile) -> Iterator[Finding]:
        if not self._has_readings(profile) or not self._has_gpus(profile):
            return
        for name, node in profile.nodes.items():
            for gpu in node.readings.gpus:
                values = node.readings.gpu(gpu, "GPUUtilization")
                if self._is_early(len(values), self.patience):
                    continue
                low, high = (float(part) for part in np.quantile(values[-self.window :], [0.05, 0.95]))
                self.measured = f"5th percentile {low:.0f} %, 95th {high:.0f} %"
                self.statistics.details.setdefault(name, {})[gpu] = {"gpu_5": low, "gpu_95": high}
                if high < self.threshold_p95:
                    self.statistics.violations += 1
                    yield Finding(f"{gpu} of {name} is used little: 95th percentile {high:.0f} %", high)
                elif low < self.threshold_p5:
                    self.statistics.violations += 1
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


PROFILE_RULES: tuple[type[ProfileRule], ...] = (
    BatchSize,
    CPUBottleneck,
    GPUMemoryIncrease,
    IOBottleneck,
    LoadBalancing,
    LowGPUUtilization,
    MaxInitializationTime,
    OverallSystemUsage,
    StepOutlier,
)
"""All but ProfilerReport, which evaluates these."""
