"""Rules on the course of the losses: not decreasing, overtraining, overfitting."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from star_rating.rules.losses import EVAL, TRAIN, Loss, LossHistory
from star_rating.rules.rule import AWS, Finding, Step, TensorRule, parameter
from star_rating.rules.selection import listed

RECENT = 5
"""Losses that a level is the median of: a single batch does not make a level."""
ENOUGH = 20
"""Losses after which a run that learns anything has a second half below its first."""
SURE = 4.0
"""Standard deviations of the noise that a change must exceed to count."""

MODES = ("TRAIN", "EVAL", "GLOBAL")


@dataclass
class LossNotDecreasing(TensorRule):
    """The loss does not fall, or has risen.

    AWS's rule compares two single losses, `num_steps` apart, and so fires on every healthy run sooner or later: between
    ten batches and the next ten, chance alone moves the loss by several per cent. Here the losses, `num_steps` apart
    each, are held against each other with their noise, which is estimated from their own scatter:

    - risen: the median of the last five is above the lowest level before (or the first loss of all) by more than
      `increase_threshold_percent` and four standard deviations of the noise;
    - not decreased: the second half of all is not below the first half by `diff_percent`. Asked from 20 losses on, or
      as soon as the noise is too small to hide such a decrease.

    mode=GLOBAL looks at every mode, each compared with itself: a validation loss is never held against a training loss.
    Of `collection_names` only the losses count, in which AWS's rule takes an accuracy for a loss.
    """

    collection_names: str = parameter("", "collections with losses, with commas between", AWS)
    tensor_regex: str = parameter("", "regular expressions of tensors that are losses, with commas between", AWS)
    use_losses_collection: bool = parameter(True, "inspect the collection losses", AWS)  # noqa: FBT003
    num_steps: int = parameter(10, "least steps between two losses that are compared", AWS)
    diff_percent: float = parameter(0.1, "least decrease", AWS)
    increase_threshold_percent: float = parameter(5.0, "largest increase", AWS)
    mode: str = parameter("GLOBAL", "TRAIN, EVAL, or GLOBAL for all", AWS)

    def __post_init__(self) -> None:
        """Start with no losses."""
        if self.mode == "None":
            self.mode = "GLOBAL"
        if self.mode not in MODES:
            raise ValueError(f"mode is {self.mode!r}; one of {', '.join(MODES)} is needed")
        self.history = LossHistory(self.num_steps)

    def look(self, step: Step) -> Iterator[Finding]:
        """Yield the losses that are not decreasing; the finding's value is the change in per cent."""
        names = dict.fromkeys(name for name in self._in_collections(step) if "loss" in name)
        if self.tensor_regex:
            names |= dict.fromkeys(step.names(patterns=listed(self.tensor_regex)))
        if not self.history.add(step, list(names)):
            return
        for mode in self.history.modes():
            if self.mode not in ("GLOBAL", mode):
                continue
            for name, losses in self.history.of(mode).items():
                if losses[-1].step == step.number:
                    yield from self._judge(losses, f"{mode} {name}")

    def missing(self) -> str:
        """Name the collection if no loss was in it."""
        wanted = self.history.modes() if self.mode == "GLOBAL" else self.history.modes() & {self.mode}
        return "" if wanted else f"no loss is saved{'' if self.mode == 'GLOBAL' else f' in mode {self.mode}'}"

    def _in_collections(self, step: Step) -> list[str]:
        collections = listed(self.collection_names) + ["losses"] * self.use_losses_collection
        return step.names(collections) if collections else []

    def _judge(self, losses: Sequence[Loss], name: str) -> Iterator[Finding]:
        if len(losses) <= RECENT:
            return
        # In logarithms a change in per cent is a difference, and noise is as large at a loss of 100 as at one of 0.1.
        levels = np.log(np.maximum([loss.value for loss in losses], 1e-12))
        noise = noise_of(levels)
        now = float(np.median(levels[-RECENT:]))
        before = min(float(levels[0]), *(float(np.median(levels[i : i + RECENT])) for i in range(len(levels) - RECENT)))
        if now - before > math.log1p(self.increase_threshold_percent / 100) + SURE * noise:
            yield self._finding(f"{name} has risen", before, now, losses)
            return
        half = len(levels) // 2
        first, second = float(np.mean(levels[:half])), float(np.mean(levels[-half:]))
        least = -math.log1p(-self.diff_percent / 100)
        if first - second < least and (len(levels) >= ENOUGH or SURE * noise * math.sqrt(2 / half) < least):
            yield self._finding(f"{name} has not decreased", first, second, losses)

    def _finding(self, what: str, before: float, now: float, losses: Sequence[Loss]) -> Finding:
        change = 100 * math.expm1(now - before)
        return Finding(
            f"{what}: {math.exp(before):.4g} before, {math.exp(now):.4g} now ({change:+.3g} %), {len(losses)} losses "
            f"since step {losses[0].step}",
            change,
            losses[-1].step,
        )


def noise_of(levels: Sequence[float] | np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """Return the standard deviation of independent noise on a slow course: from the differences' median deviation."""
    differences = np.diff(levels)
    deviation = float(np.median(np.abs(differences - np.median(differences))))
    return deviation * 1.4826 / math.sqrt(2)  # of a normal distribution; of the difference of two


@dataclass
class Overfit(TensorRule):
    """The mean validation loss is above the mean training loss: the model knows the training data by heart.

    Both are means over all losses from `start_step` on, as AWS's text has it. A `step` of its patience is a validation.
    """

    tensor_regex: str = parameter("", "regular expressions of tensors that are losses, with commas between", AWS)
    start_step: int = parameter(0, "global step from which on losses count", AWS)
    patience: int = parameter(1, "validations in a row that must exceed the ratio", AWS)
    ratio_threshold: float = parameter(0.1, "largest (validation - training) / training", AWS)

    def __post_init__(self) -> None:
        """Start with no losses."""
        self.history = LossHistory()
        self.exceeded = 0

    def look(self, step: Step) -> Iterator[Finding]:
        """Yield that the validation loss is too far above; the finding's value is the ratio."""
        if step.number < self.start_step:
            return
        training, validation = train_and_validation(self.history, step, self.tensor_regex)
        if not training or not validation or validation[-1].step != step.number:
            return
        mean = float(np.mean([loss.value for loss in training]))
        of_validation = float(np.mean([loss.value for loss in validation]))
        ratio = (of_validation - mean) / max(abs(mean), 1e-12)
        self.exceeded = self.exceeded + 1 if ratio > self.ratio_threshold else 0
        if self.exceeded >= self.patience:
            yield Finding(
                f"the mean validation loss {of_validation:.4g} is {100 * ratio:.3g} % above the mean training loss "
                f"{mean:.4g}",
                ratio,
                step.number,
            )

    def missing(self) -> str:
        """Name the mode that has no losses."""
        return missing_losses(self.history)


@dataclass
class Overtraining(TensorRule):
    """Neither the training nor the validation loss improves any more, and training goes on.

    A `step` of AWS's patience is a saved loss: of validation, one each time that the model is validated.
    """

    patience_train: int = parameter(5, "training losses without a new optimum", AWS)
    patience_validation: int = parameter(10, "validation losses without a new optimum", AWS)
    delta: float = parameter(0.01, "least improvement that is a new optimum", AWS)

    def __post_init__(self) -> None:
        """Start with no losses."""
        self.history = LossHistory()

    def look(self, step: Step) -> Iterator[Finding]:
        """Yield that nothing improves; the finding's value is the best validation loss."""
        training, validation = train_and_validation(self.history, step, "")
        if not training or not validation or validation[-1].step != step.number:
            return
        waited_train, _ = self._waited(training)
        waited, best = self._waited(validation)
        if waited_train >= self.patience_train and waited >= self.patience_validation:
            yield Finding(
                f"the validation loss was best with {best.value:.4g} at step {best.step}, {waited} validations ago, "
                f"and is {validation[-1].value:.4g} now; nor has the training loss improved for {waited_train}",
                best.value,
                step.number,
            )

    def missing(self) -> str:
        """Name the mode that has no losses."""
        return missing_losses(self.history)

    def _waited(self, losses: Sequence[Loss]) -> tuple[int, Loss]:
        """Return how many losses have come after the optimum, and the optimum."""
        best, waited = losses[0], 0
        for loss in losses[1:]:
            if loss.value < best.value - self.delta:
                best, waited = loss, 0
            else:
                waited += 1
        return waited, best


def train_and_validation(history: LossHistory, step: Step, tensor_regex: str) -> tuple[list[Loss], list[Loss]]:
    """Take in a step, and return the losses of training and validation: of the first loss tensor of each."""
    history.add(step, step.names([] if tensor_regex else ["losses"], listed(tensor_regex)))
    training, validation = (next(iter(history.of(mode).values()), []) for mode in (TRAIN, EVAL))
    return training, validation


def missing_losses(history: LossHistory) -> str:
    """Say which of the two modes has no losses."""
    absent = [word for mode, word in ((TRAIN, "training"), (EVAL, "validation")) if not history.of(mode)]
    return f"no {' and no '.join(absent)} loss is saved" if absent else ""
