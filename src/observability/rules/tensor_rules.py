"""Rules on any tensors: not finite, all zero, unchanged, of odd variance, saturated, or none at all for too long.

SaturatedActivation is for models with tanh or sigmoid layers whose inputs are saved; this image's model has neither.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from observability.rule import AWS, AWS_EXAMPLE, OURS, Array, Finding, Step, TensorRule, parameter

NUMBERS = "fiub"
"""Kinds of numpy's dtypes; a text is nobody's business."""


@dataclass
class SelectingRule(TensorRule):
    """A rule on the tensors that its parameters select: the union of both, or all."""

    collection_names: str = parameter("", "collections to inspect, with commas between", OURS)
    tensor_regex: str = parameter("", "regular expressions of tensor names to inspect, with commas between", OURS)

    def __post_init__(self) -> None:
        """Start with nothing seen."""
        self.collections = listed(self.collection_names)
        self.patterns = listed(self.tensor_regex)
        for pattern in self.patterns:
            re.compile(pattern)
        self.seen = False

    def selected(self, step: Step) -> Iterator[tuple[str, Array]]:
        """Yield name and value."""
        for name in step.names(self.collections, self.patterns):
            value = step.value(name)
            if value.dtype.kind in NUMBERS and value.size:
                self.seen = True
                yield name, value

    def reductions(self, step: Step, *kinds: str) -> Iterator[tuple[str, list[float]]]:
        """Yield name and reductions of what was saved as reductions alone; those that have all `kinds`."""
        for name in step.reduced(self.collections, self.patterns):
            values = [value for kind in kinds if (value := step.reduction(name, kind)) is not None]
            if len(values) == len(kinds):
                self.seen = True
                yield name, values

    def missing(self) -> str:
        """Name the collections and expressions if no tensor was in them."""
        return "" if self.seen else f"no tensor of {self.in_words()} is saved"

    def in_words(self) -> str:
        """Return what is selected."""
        parts = [f"collection {name}" for name in self.collections] + [f"names like {name}" for name in self.patterns]
        return " or ".join(parts) or "any collection"


def listed(text: str) -> list[str]:
    """Return the parts of a text with commas between."""
    return [part for part in (part.strip() for part in text.split(",")) if part]


@dataclass
class ExplodingTensor(SelectingRule):
    """A tensor holds NaN or infinity."""

    only_nan: bool = parameter(False, "look for NaN alone, not for infinity", AWS)  # noqa: FBT003

    def look(self, step: Step) -> Iterator[Finding]:
        """Yield each tensor with a value that is not finite; the finding's value is their share."""
        for name, value in self.selected(step):
            bad = np.isnan(value) if self.only_nan else ~np.isfinite(value)
            share = float(bad.mean())
            if share:
                kind = "NaN" if self.only_nan else "NaN or infinite"
                yield Finding(f"{share:.3g} of {name} is {kind}", share, step.number)
        for name, values in self.reductions(step, "min", "max", "mean"):
            bad = np.isnan(values) if self.only_nan else ~np.isfinite(values)
            if bad.any():
                yield Finding(f"minimum, maximum and mean of {name} are {values}", float(bad.mean()), step.number)


@dataclass
class AllZero(SelectingRule):
    """Enough of a tensor's values are zero.

    AWS asks for a selection and has no default for it. Here it is all tensors of more than one number: a single number
    (an accuracy, a count) may well be zero.
    """

    threshold: float = parameter(100.0, "per cent of the values that must be zero", AWS)

    def look(self, step: Step) -> Iterator[Finding]:
        """Yield each tensor with that many zeros; the finding's value is the per cent."""
        for name, value in self.selected(step):
            zeros = 100 * (1 - np.count_nonzero(value) / value.size)
            if value.size > 1 and zeros >= self.threshold:
                yield Finding(f"{zeros:.4g} % of {name} is zero", zeros, step.number)
        for name, (largest,) in self.reductions(step, "abs_max"):
            if largest == 0:
                yield Finding(f"100 % of {name} is zero", 100.0, step.number)


@dataclass
class UnchangedTensor(SelectingRule):
    """A tensor has the same values at several saved steps in a row, as numpy.allclose sees it."""

    collection_names: str = parameter("losses", "collections to inspect, with commas between", AWS_EXAMPLE)
    num_steps: int = parameter(3, "saved steps to compare; they need not be consecutive", AWS)
    rtol: float = parameter(1e-5, "relative tolerance", AWS)
    atol: float = parameter(1e-8, "absolute tolerance", AWS)
    equal_nan: bool = parameter(False, "take NaN as equal to NaN", AWS)  # noqa: FBT003

    def __post_init__(self) -> None:
        """Start with no history."""
        super().__post_init__()
        self.last: dict[tuple[str, str], deque[Array]] = {}

    def look(self, step: Step) -> Iterator[Finding]:
        """Yield each unchanged tensor; the finding's value is its largest change."""
        for name, value in self.selected(step):
            # A name is another quantity in another mode: the loss of training and that of validation.
            earlier = self.last.setdefault((step.mode, name), deque(maxlen=max(self.num_steps - 1, 1)))
            if len(earlier) == earlier.maxlen and all(self._alike(value, other) for other in earlier):
                change = max(float(np.max(np.abs(value - other))) for other in earlier)
                yield Finding(
                    f"{name} has not changed over {self.num_steps} saved {step.mode} steps", change, step.number
                )
            earlier.append(value)

    def _alike(self, value: Array, other: Array) -> bool:
        return value.shape == other.shape and np.allclose(
            value, other, rtol=self.rtol, atol=self.atol, equal_nan=self.equal_nan
        )


@dataclass
class TensorVariance(SelectingRule):
    """The variance of a tensor's values is very high or very low."""

    collection_names: str = parameter("weights", "collections to inspect, with commas between", AWS_EXAMPLE)
    max_threshold: float | None = parameter(10.0, "largest variance; None: no limit", AWS_EXAMPLE)
    min_threshold: float | None = parameter(1e-5, "smallest variance; None: no limit", AWS_EXAMPLE)

    def look(self, step: Step) -> Iterator[Finding]:
        """Yield each tensor beyond a limit; the finding's value is the variance. A single number has none."""
        variances = {
            name: float(np.var(value, dtype=np.float64)) for name, value in self.selected(step) if value.size > 1
        }
        variances |= {name: variance for name, (variance,) in self.reductions(step, "variance")}
        for name, variance in variances.items():
            if self.max_threshold is not None and variance > self.max_threshold:
                yield Finding(f"the variance of {name} is {variance:.4g}", variance, step.number)
            elif self.min_threshold is not None and variance < self.min_threshold:
                yield Finding(f"the variance of {name} is only {variance:.4g}", variance, step.number)


@dataclass
class SaturatedActivation(SelectingRule):
    """Most nodes of a tanh or sigmoid layer get inputs at which the function is flat."""

    tensor_regex: str = parameter(".*tanh_input|.*sigmoid_input", "regular expression of activation inputs", AWS)
    threshold_tanh_min: float = parameter(-9.4999, "input of tanh below which it is flat", AWS)
    threshold_tanh_max: float = parameter(9.4999, "input of tanh above which it is flat", AWS)
    threshold_sigmoid_min: float = parameter(-23.0, "input of sigmoid below which it is flat", AWS)
    threshold_sigmoid_max: float = parameter(16.99999, "input of sigmoid above which it is flat", AWS)
    threshold_inactivity: float = parameter(1.0, "per cent of the batch below which a node is saturated", AWS)
    threshold_layer: float = parameter(50.0, "per cent of a layer's nodes that may be saturated", AWS)

    def look(self, step: Step) -> Iterator[Finding]:
        """Yield each saturated layer; the finding's value is the per cent of its nodes."""
        for name, value in self.selected(step):
            is_tanh = "tanh" in name
            low = self.threshold_tanh_min if is_tanh else self.threshold_sigmoid_min
            high = self.threshold_tanh_max if is_tanh else self.threshold_sigmoid_max
            active = (value > low) & (value < high)
            nodes = active.reshape(-1, value.shape[-1])  # the last axis is the layer's nodes
            saturated = 100 * float(np.mean(100 * nodes.mean(axis=0) < self.threshold_inactivity))
            if saturated > self.threshold_layer:
                yield Finding(f"{saturated:.4g} % of the nodes of {name} are saturated", saturated, step.number)


@dataclass
class StalledTrainingRule(TensorRule):
    """No tensor was saved for a long time.

    While a run is followed, until now; afterwards, between two steps, by the times of their files: a copy that does not
    keep those hides a stall, and never makes one.
    """

    threshold: float = parameter(1800.0, "seconds without a tensor", AWS)
    stop_training_on_fire: bool = parameter(False, "whether the platform shall stop the job", AWS)  # noqa: FBT003
    training_job_name_prefix: str = parameter("", "which job the platform shall stop", AWS)

    def __post_init__(self) -> None:
        """Start with no step."""
        self.last: float | None = None
        self.last_step: int | None = None
        self.seen = False

    def look(self, step: Step) -> Iterator[Finding]:
        """Yield a pause between two steps; the finding's value is its seconds."""
        self.seen = True
        if self.last is not None and step.written_at - self.last > self.threshold:
            pause = step.written_at - self.last
            yield Finding(f"no tensor was saved for {pause:.0f} s before it", pause, step.number)
        self.last, self.last_step = step.written_at, step.number

    def wait(self, now: float) -> Iterator[Finding]:
        """Yield a pause that goes on; it begins with the last step, or with the first look."""
        self.last = now if self.last is None else self.last
        if now - self.last > self.threshold:
            yield Finding(f"no tensor was saved for {now - self.last:.0f} s", now - self.last, self.last_step)

    def missing(self) -> str:
        """Say that there is nothing."""
        return "" if self.seen else "no step is saved"
