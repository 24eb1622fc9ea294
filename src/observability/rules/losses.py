"""A run's losses as rules compare them: each mode's apart, each the mean of the batches since the one before.

    history = LossHistory(spacing=10)
    history.add(step, names=["loss"])
    history.of("TRAIN")                # {"loss": [Loss(step=0, value=1.61), Loss(step=10, value=1.58), ...]}

What Keras gives the hook is the mean since the epoch began: smooth late in an epoch, one noisy batch at its start. With
the count of reviews that this image saves beside it (`examples`), the mean of the batches between is had back. And at
the end of an epoch smdebug writes its training loss into the last validation step, under the name that the validation
loss has there: so where val_loss is saved, nothing else counts as validation.
"""

from __future__ import annotations

from dataclasses import dataclass

from observability.rules.rule import Array, Step

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
