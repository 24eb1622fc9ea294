"""Rules on gradients and weights: vanishing, updates of odd size, poor initial weights."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from observability.rule import AWS, Array, Finding, Step, TensorRule, parameter
from observability.rules.loss_rules import TRAIN, scalar

ZERO_BY_NATURE = re.compile(r"(?:k_lin|key)/bias")
"""A key's bias adds the same to all scores of a query, which softmax ignores: its gradient is zero but for rounding."""


@dataclass
class VanishingGradient(TensorRule):
    """The mean of a gradient's absolute values is about zero."""

    threshold: float = parameter(1e-7, "least mean of the absolute values", AWS)

    def __post_init__(self) -> None:
        """Start with nothing seen."""
        self.seen = False

    def look(self, step: Step) -> Iterator[Finding]:
        """Yield each gradient that has vanished; the finding's value is the mean of its absolute values."""
        means = {name: float(np.mean(np.abs(gradient), dtype=np.float64)) for name, gradient in gradients(step)}
        for name in step.reduced(["gradients"]):
            mean_of = step.reduction(name, "abs_mean")
            if mean_of is not None and not ZERO_BY_NATURE.search(name):
                means[name] = mean_of
        self.seen = self.seen or bool(means)
        for name, mean in means.items():
            if mean < self.threshold:
                yield Finding(f"the mean absolute value of {name} is {mean:.3g}", mean, step.number)

    def missing(self) -> str:
        """Name the collection."""
        return "" if self.seen else "no tensor of collection gradients is saved"


@dataclass
class WeightUpdateRatio(TensorRule):
    """The updates of a weight are very large or very small beside it: the ratio of both norms.

    Between two saved training steps; validation changes no weight. A weight that has not changed at all while others
    have is frozen on purpose (freeze_bert_layer), and no finding.
    """

    num_steps: int | None = parameter(
        None, "compare with the first saved step within so many; None: with the last", AWS
    )
    large_threshold: float = parameter(10.0, "largest ratio", AWS)
    small_threshold: float = parameter(1e-8, "smallest ratio", AWS)
    epsilon: float = parameter(1e-9, "keeps the ratio finite where a weight is zero", AWS)

    def __post_init__(self) -> None:
        """Start with no weights."""
        self.saved: deque[tuple[int, dict[str, Array]]] = deque()
        self.compared = False

    def look(self, step: Step) -> Iterator[Finding]:
        """Yield each weight whose update is out of proportion; the finding's value is the ratio."""
        if step.mode not in (TRAIN, "GLOBAL"):
            return
        weights = {name: value for name in step.names(["weights"]) if is_real(value := step.value(name))}
        if not weights:
            return
        while self.saved and self.num_steps is not None and self.saved[0][0] < step.number - self.num_steps:
            self.saved.popleft()
        if self.saved:
            yield from self._compare(self.saved[0][1], weights, step.number)
        if self.num_steps is None:
            self.saved.clear()
        self.saved.append((step.number, weights))

    def missing(self) -> str:
        """Say how many steps there must be; reductions tell nothing of an update."""
        return "" if self.compared else "whole tensors of collection weights are not saved at two training steps"

    def _compare(self, before: dict[str, Array], now: dict[str, Array], step: int) -> Iterator[Finding]:
        ratios = {
            name: float(np.linalg.norm(now[name] - before[name]) / (np.linalg.norm(before[name]) + self.epsilon))
            for name in now
            if name in before and now[name].shape == before[name].shape
        }
        self.compared = self.compared or bool(ratios)
        all_frozen = not any(ratios.values())
        for name, ratio in ratios.items():
            if ratio > self.large_threshold:
                yield Finding(f"{name} has changed by {ratio:.4g} times its norm", ratio, step)
            elif ratio < self.small_threshold and (ratio > 0 or all_frozen):
                yield Finding(f"{name} has changed by only {ratio:.3g} times its norm", ratio, step)


@dataclass
class PoorWeightInitialization(TensorRule):
    """The first steps do not lower the loss, and activations or gradients say that the initial weights are why.

    Asked of the first saved training steps. The loss counts as stuck if none of its values is below the first one after
    `patience` steps. The signs of poor weights are those of AWS's text: variances of activation inputs that differ by
    more than `threshold` between layers, or a gradient whose percentiles 5 and 95 lie closer together than
    `distribution_range`. A pretrained model's gradients are as small as that from the start, so that without the stuck
    loss they are no finding.
    """

    activation_inputs_regex: str = parameter(".*relu_input", "regular expression of activation inputs", AWS)
    threshold: float = parameter(10.0, "largest ratio of two layers' variances", AWS)
    distribution_range: float = parameter(0.001, "least distance of a gradient's percentiles 5 and 95", AWS)
    patience: int = parameter(5, "steps after which a loss that has not fallen is stuck", AWS)
    steps: int = parameter(10, "saved training steps to look at", AWS)

    def __post_init__(self) -> None:
        """Start with nothing seen."""
        re.compile(self.activation_inputs_regex)
        self.losses: list[float] = []
        self.sign: Finding | None = None
        self.seen = False

    def look(self, step: Step) -> Iterator[Finding]:
        """Yield the first sign of poor weights once the loss is stuck; the finding's value is the sign's."""
        if step.mode not in (TRAIN, "GLOBAL") or len(self.losses) >= self.steps:
            return
        losses = [value for name in step.names(["losses"]) if (value := scalar(step.value(name))) is not None]
        if not losses:
            return
        self.losses.append(losses[0])
        self.sign = self.sign or next(self._signs(step), None)
        is_stuck = len(self.losses) > self.patience and min(self.losses[1:]) >= self.losses[0]
        if self.sign and is_stuck:
            sentence = f"the loss has not fallen in {len(self.losses)} saved steps, and {self.sign.sentence}"
            yield Finding(sentence, self.sign.value, step.number)

    def missing(self) -> str:
        """Name what is not saved."""
        if self.seen and self.losses:
            return ""
        return f"no loss, or neither collection gradients nor names like {self.activation_inputs_regex} are saved"

    def _signs(self, step: Step) -> Iterator[Finding]:
        variances = {
            name: float(np.var(step.value(name), dtype=np.float64))
            for name in step.names(patterns=[self.activation_inputs_regex])
        }
        if variances:
            self.seen = True
            low, high = min(variances, key=variances.__getitem__), max(variances, key=variances.__getitem__)
            ratio = variances[high] / max(variances[low], 1e-30)
            if ratio > self.threshold:
                yield Finding(f"the variance of {high} is {ratio:.4g} times that of {low}", ratio, step.number)
        for name, gradient in gradients(step):
            self.seen = True
            low_end, high_end = np.percentile(gradient, [5, 95])
            if high_end - low_end < self.distribution_range:
                distance = float(high_end - low_end)
                yield Finding(f"percentiles 5 and 95 of {name} are {distance:.3g} apart", distance, step.number)


def gradients(step: Step) -> Iterator[tuple[str, Array]]:
    """Yield the gradients that can tell something."""
    for name in step.names(["gradients"]):
        value = step.value(name)
        if is_real(value) and not ZERO_BY_NATURE.search(name):
            yield name, value


def is_real(value: Array) -> bool:
    """Return whether a tensor holds real numbers, and not counts or texts."""
    return value.dtype.kind == "f" and value.size > 0
