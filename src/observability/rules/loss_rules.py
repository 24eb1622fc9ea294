"""Rules on the course of the losses: not decreasing, overtraining, overfitting.

    history = LossHistory(spacing=10)
    history.add(step, ["loss"])
    history.of("TRAIN")                # {"loss": [Loss(step=0, value=1.61), Loss(step=10, value=1.58), ...]}

Each mode's losses are compared among themselves, each the mean of the batches since the one before. Keras gives the
hook the mean since the epoch began: smooth late in an epoch, one noisy batch at its start. With the count of reviews
that this image saves beside it (`examples`), the mean of the batches between is computed from it. At the end of an
epoch smdebug writes the training loss into the last validation step, under the name that the validation loss has there:
so if val_loss is saved, nothing else counts as validation.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from observability.rule import AWS, Array, Finding, Step, TensorRule, parameter
from observability.rules.tensor_rules import listed

EXAMPLES = "examples"
TRAIN, EVAL = "TRAIN", "EVAL"


@dataclass(frozen=True)
class Loss:
    """A loss and the global step that it was saved at."""

    step: int
    value: float


@dataclass(frozen=True)
class _Mean:
    """A mean since the epoch began."""

    mode_step: int
    value: float
    examples: float


class LossHistory:
    """The losses of a run so far, of one or several loss tensors."""

    def __init__(self, spacing: int = 0) -> None:
        self.spacing = spacing
        """Global steps that must lie between two losses; those between are averaged or, without `examples`, skipped."""
        self._series: dict[tuple[str, str], list[Loss]] = {}
        self._means: dict[str, _Mean] = {}
        self._batch_size = 0.0

    def of(self, mode: str) -> dict[str, list[Loss]]:
        """Return tensor name -> losses of a mode."""
        return {name: losses for (of_mode, name), losses in self._series.items() if of_mode == mode}

    def modes(self) -> set[str]:
        """Return the modes that have losses."""
        return {mode for mode, _ in self._series}

    def add(self, step: Step, names: list[str]) -> bool:
        """Take in the losses of a step; return whether there is a new one."""
        added = False
        for name in names:
            value = scalar(step.value(name))
            if value is None or (step.mode == EVAL and name == "loss" and (EVAL, "val_loss") in self._series):
                continue
            mode = EVAL if name == "val_loss" else step.mode
            if name == "val_loss":
                self._series.pop((EVAL, "loss"), None)
            losses = self._series.setdefault((mode, name), [])
            if losses and step.number - losses[-1].step < self.spacing:
                continue
            losses.append(Loss(step.number, self._since_last(step, name, value)))
            added = True
        return added

    def _since_last(self, step: Step, name: str, mean: float) -> float:
        if step.mode != TRAIN or EXAMPLES not in step.names(patterns=[EXAMPLES + "$"]):
            return mean
        now = _Mean(step.mode_step, mean, float(step.value(EXAMPLES).reshape(-1)[0]))
        before = self._means.get(name)
        self._means[name] = now
        if before is None:
            self._batch_size = now.examples / (now.mode_step + 1)
            return mean
        examples, steps = now.examples - before.examples, now.mode_step - before.mode_step
        # The same epoch still, if there are as many reviews between as steps between need; the last batch may be small.
        if examples <= (steps - 1) * self._batch_size or examples <= 0:
            return mean
        return (now.value * now.examples - before.value * before.examples) / examples


def scalar(value: Array) -> float | None:
    """Return a tensor of one number as that number."""
    return float(value.reshape(-1)[0]) if value.size == 1 and value.dtype.kind in "fiu" else None


RECENT = 5
"""Losses that a level is the median of: a single batch does not make a level."""
ENOUGH = 10
"""Losses before the first judgement: of fewer, the noise cannot be told."""
SURE = 4.0
"""Standard deviations of the noise that a rise must exceed to count."""
NOISE_FROM = 100
"""Losses that the noise is told from, the newest."""
VISIBLE = 3.0
"""Standard deviations at which a change is seen."""

NOTEBOOK = "AWS's page does not list it, and AWS's own notebooks send it"

MODES = ("TRAIN", "EVAL", "GLOBAL")


@dataclass
class LossNotDecreasing(TensorRule):
    """The loss does not fall, or has risen.

    AWS's rule compares two single losses, `num_steps` apart, and so fires on every healthy run sooner or later: between
    ten batches and the next ten, chance alone moves the loss by several per cent. Here the losses, `num_steps` apart
    each, are held against each other with their noise, which is estimated from their own scatter:

    - risen: the median of the last five is above the lowest level before (or the first loss of all) by more than
      `increase_threshold_percent` and four standard deviations of the noise;
    - not decreased: the second half of all is not below the first half by `diff_percent`. Asked once there are so many
      that the noise could not hide a change of `increase_threshold_percent`.

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
        self.courses: defaultdict[tuple[str, str], Course] = defaultdict(Course)

    def look(self, step: Step) -> Iterator[Finding]:
        """Yield the losses that are not decreasing; the finding's value is the change in per cent."""
        collections = listed(self.collection_names) + ["losses"] * self.use_losses_collection
        names = dict.fromkeys(losses_in(step, collections))
        if self.tensor_regex:
            names |= dict.fromkeys(step.names(patterns=listed(self.tensor_regex)))
        if not self.history.add(step, list(names)):
            return
        for mode in self.history.modes():
            if self.mode not in ("GLOBAL", mode):
                continue
            for name, losses in self.history.of(mode).items():
                if losses[-1].step == step.number:
                    course = self.courses[mode, name]
                    course.add(losses[-1].value)
                    yield from self._judge(course, f"{mode} {name}", losses)

    def missing(self) -> str:
        """Name the collection if no loss was in it."""
        wanted = self.history.modes() if self.mode == "GLOBAL" else self.history.modes() & {self.mode}
        return "" if wanted else f"no loss is saved{'' if self.mode == 'GLOBAL' else f' in mode {self.mode}'}"

    def _judge(self, course: Course, name: str, losses: Sequence[Loss]) -> Iterator[Finding]:
        if len(course.levels) < ENOUGH:
            return
        most = math.log1p(self.increase_threshold_percent / 100)
        if course.recent - course.lowest > most + SURE * course.noise():
            yield self._finding(f"{name} has risen", course.lowest, course.recent, losses)
            return
        first, second = course.halves()
        least = -math.log1p(-min(self.diff_percent, 99) / 100)
        if first - second < least and VISIBLE * course.noise() * 2 / math.sqrt(len(course.levels)) < most:
            yield self._finding(f"{name} has not decreased", first, second, losses)

    def _finding(self, what: str, before: float, now: float, losses: Sequence[Loss]) -> Finding:
        change = 100 * math.expm1(now - before)
        return Finding(
            f"{what}: {math.exp(before):.4g} before, {math.exp(now):.4g} now ({change:+.3g} %), {len(losses)} losses "
            f"since step {losses[0].step}",
            change,
            losses[-1].step,
        )


class Course:
    """The logarithms of a run's losses: a change in per cent is a difference, at a loss of 100 as at one of 0.1."""

    def __init__(self) -> None:
        self.levels: list[float] = []
        self.sums = [0.0]
        """Of the first 0, 1, 2, ... levels."""
        self.recent = math.inf
        """Median of the last levels."""
        self.lowest = math.inf
        """The first level, or the lowest median before the recent one."""

    def add(self, loss: float) -> None:
        """Take in the next loss."""
        level = math.log(max(loss, 1e-12)) if not math.isnan(loss) else math.nan
        self.lowest = min(self.lowest, self.recent) if self.levels else level
        self.levels.append(level)
        self.sums.append(self.sums[-1] + level)
        if len(self.levels) >= RECENT:
            self.recent = statistics.median(self.levels[-RECENT:])

    def halves(self) -> tuple[float, float]:
        """Return the means of the first and the second half of all levels."""
        half = len(self.levels) // 2
        return self.sums[half] / half, (self.sums[-1] - self.sums[-1 - half]) / half

    def noise(self) -> float:
        """Return the levels' standard deviation about a slow course: from the median deviation of their differences."""
        differences = np.diff(self.levels[-NOISE_FROM:])
        deviation = float(np.median(np.abs(differences - np.median(differences))))
        return deviation * 1.4826 / math.sqrt(2)  # of a normal distribution; of the difference of two


@dataclass
class Overfit(TensorRule):
    """The mean validation loss is above the mean training loss: the model knows the training data by heart.

    Both are means over all losses from `start_step` on, as AWS's text has it. A `step` of its patience is a validation.
    """

    collection_names: str = parameter("losses", "collections with losses, with commas between", NOTEBOOK)
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
        training, validation = train_and_validation(self.history, step, self.collection_names, self.tensor_regex)
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

    collection_names: str = parameter("losses", "collections with losses, with commas between", NOTEBOOK)
    patience_train: int = parameter(5, "training losses without a new optimum", AWS)
    patience_validation: int = parameter(10, "validation losses without a new optimum", AWS)
    delta: float = parameter(0.01, "least improvement that is a new optimum", AWS)

    def __post_init__(self) -> None:
        """Start with no losses."""
        self.history = LossHistory()

    def look(self, step: Step) -> Iterator[Finding]:
        """Yield that nothing improves; the finding's value is the best validation loss."""
        training, validation = train_and_validation(self.history, step, self.collection_names, "")
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


def train_and_validation(
    history: LossHistory, step: Step, collections: str, patterns: str
) -> tuple[list[Loss], list[Loss]]:
    """Take in a step, and return the losses of training and validation: of the first loss tensor of each."""
    names = step.names(patterns=listed(patterns)) if patterns else losses_in(step, listed(collections))
    history.add(step, names)
    training, validation = (next(iter(history.of(mode).values()), []) for mode in (TRAIN, EVAL))
    return training, validation


def losses_in(step: Step, collections: list[str]) -> list[str]:
    """Return the losses of collections; the notebook's rules name `metrics` too, which has accuracies and counts."""
    return [name for name in step.names(collections) if "loss" in name] if collections else []


def missing_losses(history: LossHistory) -> str:
    """Say which of the two modes has no losses."""
    absent = [word for mode, word in ((TRAIN, "training"), (EVAL, "validation")) if not history.of(mode)]
    return f"no {' and no '.join(absent)} loss is saved" if absent else ""
