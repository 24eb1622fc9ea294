"""Rules about the duration of steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from observability.profiler.reading import Node, Profile
from observability.profiler.rules.base import RULESCONFIG, ProfileRule
from observability.profiler.rules.system import percentiles
from observability.profiler.timeline import STEP, Step
from observability.rules.rule import Finding, parameter

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

    def _judge(self, profile: Profile) -> Iterator[Finding]:
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
            self.evidence.datapoints += len(steps)
            slow = outliers(steps, self.stddev)
            seconds = np.array([step.seconds for step in steps])
            self.evidence.details.setdefault(name, {})[mode] = {
                "step_stats": {**percentiles(seconds), "mean": round(float(seconds.mean()), 6)},
                "stddev": round(float(seconds.std()), 6),
                "number_of_outliers": len(slow),
                "step_numbers": [step.number for step in slow],
            }
            self.measured = ", ".join(filter(None, (self.measured, f"{len(slow)} of {len(steps):,} {mode} steps")))
            if len(slow) > self.n_outliers:
                self.evidence.violations += len(slow)
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

    def _judge(self, profile: Profile) -> Iterator[Finding]:
        if not self._has_readings(profile):
            return
        for name, node in profile.nodes.items():
            minutes = initialization_seconds(node) / 60
            self.evidence.datapoints += sum(map(len, node.steps.values()))
            self.measured = f"{minutes:.1f} min"
            self.evidence.details[name] = {"minutes": round(minutes, 2)}
            if minutes > self.threshold:
                self.evidence.violations += 1
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
