"""Losses and weights that are NaN or infinite: noticed at the step, named with the records, and never saved.

    guard = NonFiniteGuard(progress, ...)
    model.fit(..., callbacks=[guard, progress, ...]) # no log line shows what it refuses

With skip_nonfinite_steps the step itself leaves such a batch out (model/train_step.py); the guard counts, and ends the
run when there are too many.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras

from star_rating.failures import LossNotFiniteError
from star_rating.training.progress import ProgressLogger

log = logging.getLogger(__name__)

RECORDS_SHOWN = 12
"""Of a batch, in the failure's sentence; the log has all."""
REMEDY = "Lower learning_rate, or set gradient_clip_norm=1"

Records = Sequence[tuple[Path, int]]
"""File and record, from 0."""


class NonFiniteGuard(tf_keras.callbacks.Callback):
    """Ends a run that has diverged with a LossNotFiniteError; stands before ProgressLogger among the callbacks."""

    def __init__(
        self,
        progress: ProgressLogger,
        allowed_skips: int,
        records_of_batch: Callable[[int], Records],
        last_checkpoint: Callable[[], Path | None],
    ) -> None:
        super().__init__()
        self.progress = progress
        self.allowed_skips = allowed_skips
        self.records_of_batch = records_of_batch
        self.last_checkpoint = last_checkpoint
        self.skipped: list[int] = []
        """Steps that were left out."""

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Look at the step's loss, and every few steps at all weights."""
        del batch
        step = self.progress.step + 1  # ProgressLogger comes after, and has not counted it
        values = logs or {}
        if float(values.get("skipped", 0.0)):
            self._skipped(step)
            return
        if not math.isfinite(values["loss"]):
            raise self._failure(f"The training loss is {float(values['loss'])} at step {step}. {REMEDY}.", step)
        # oneDNN's ReLU turns a NaN into 0, so that the loss shows nothing: the weights before it do, and are few.
        self._require_finite(self.model.pre_classifier.trainable_variables, step)
        if step % self.progress.log_every_steps == 0 or step % self.progress.steps_per_epoch == 0:
            self.require_finite_weights(step)

    def require_finite_weights(self, step: int) -> None:
        """Raise LossNotFiniteError if a weight is NaN or infinite after this step."""
        self._require_finite(self.model.trainable_variables, step)

    def _require_finite(self, variables: Sequence[tf.Variable], step: int) -> None:
        for variable in variables:
            if not bool(tf.reduce_all(tf.math.is_finite(variable))):
                raise self._failure(
                    f"The weights hold NaN or infinity at step {step}, first in {variable.name}. {REMEDY}; in the "
                    "first steps, check the pretrained weights.",
                    step,
                )

    def _skipped(self, step: int) -> None:
        self.skipped.append(step)
        if len(self.skipped) > self.allowed_skips:
            raise self._failure(
                f"Loss or gradient is NaN or infinite at step {step}, as at {len(self.skipped) - 1} step(s) before it; "
                f"skip_nonfinite_steps allows {self.allowed_skips}. {REMEDY}.",
                step,
            )
        log.warning("step %d is left out, its loss or gradient is NaN or infinite; batch: %s", step, self._batch(step))

    def _failure(self, what: str, step: int) -> LossNotFiniteError:
        records = self.records_of_batch(step - 1)
        log.error("batch of step %d: %s", step, describe_records(records))
        checkpoint = self.last_checkpoint()
        good = f" The last good checkpoint is {checkpoint}." if checkpoint else ""
        return LossNotFiniteError(f"{what}{good} The step's batch: {describe_records(records, RECORDS_SHOWN)}.")

    def _batch(self, step: int) -> str:
        return describe_records(self.records_of_batch(step - 1))


def describe_records(records: Records, shown: int | None = None) -> str:
    """Return "part-0.tfrecord records 3, 17; part-1.tfrecord record 5", and how many more there are."""
    first = sorted(records)[:shown]
    files = [
        f"{path.name} record{'s' if len(group) > 1 else ''} {', '.join(str(record) for _, record in group)}"
        for path, group in ((path, list(group)) for path, group in groupby(first, key=lambda place: place[0]))
    ]
    more = f" and {len(records) - len(first)} more (in the log)" if len(records) > len(first) else ""
    return "; ".join(files) + more
