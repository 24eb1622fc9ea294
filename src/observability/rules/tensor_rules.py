"""Rules on any tensors: not finite, all zero, unchanged, of odd variance."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from observability.rules.rule import AWS, AWS_EXAMPLE, Array, Finding, Step, parameter
from observability.rules.selection import SelectingRule


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
