"""What training says while it runs: a line every few steps and one an epoch; stops at a loss that is not finite."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf
import tf_keras

from star_rating.failures import LossNotFiniteError
from star_rating.logs import measurements
from star_rating.training.optimizer import current_learning_rate

log = logging.getLogger(__name__)


class Examples(tf_keras.metrics.Metric):
    """Counts the reviews of an epoch, so that windows of a running mean can be told apart."""

    def __init__(self) -> None:
        super().__init__(name="examples")
        self.total = self.add_weight(name="total", initializer="zeros", dtype=tf.int64)

    def update_state(self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None) -> None:
        """Add a batch."""
        del y_pred, sample_weight
        self.total.assign_add(tf.shape(y_true, out_type=tf.int64)[0])

    def result(self) -> tf.Tensor:
        """Return the number of reviews since the epoch began."""
        return tf.identity(self.total)

    def reset_state(self) -> None:
        """Start an epoch."""
        self.total.assign(0)


@dataclass
class History:
    """What the training curves are drawn from, and run.json keeps."""

    steps: list[int] = field(default_factory=list)
    """Global step of each entry of `train`."""
    train: list[dict[str, float]] = field(default_factory=list)
    """Mean loss and accuracy since the entry before."""
    epochs: list[dict[str, float]] = field(default_factory=list)
    """One entry an epoch: step, loss, accuracy, and validation_loss and validation_accuracy if validation ran."""
    first_step_seconds: float | None = None
    """From the start of fit to the end of the first step: tracing, compiling, and the step."""

    def as_dict(self) -> dict[str, Any]:
        """Return what run.json keeps."""
        return {"steps": self.steps, "train": self.train, "epochs": self.epochs}


class ProgressLog(tf_keras.callbacks.Callback):
    """Writes the log lines whose format star_rating.logs defines, and keeps the history."""

    def __init__(self, history: History, epochs: int, steps_per_epoch: int, log_every_steps: int) -> None:
        super().__init__()
        self.history = history
        self.epochs = epochs
        self.steps_per_epoch = steps_per_epoch
        self.log_every_steps = log_every_steps
        self.epoch = 0
        self.last: dict[str, float] = {}
        self.last_time = time.monotonic()
        self.epoch_time = time.monotonic()
        self.fit_time = time.monotonic()

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Start the clock of the first step."""
        del logs
        self.fit_time = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Start the epoch's clock."""
        del logs
        self.epoch = epoch
        self.last = {"examples": 0.0, "loss": 0.0, "accuracy": 0.0}
        self.last_time = self.epoch_time = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Check the loss at every step; log every few."""
        running = {name: float(value) for name, value in (logs or {}).items()}
        step = self.epoch * self.steps_per_epoch + batch + 1
        if self.history.first_step_seconds is None:
            self.history.first_step_seconds = time.monotonic() - self.fit_time
        if not math.isfinite(running["loss"]):
            raise LossNotFiniteError(
                f"The training loss is {running['loss']} at step {step} (epoch {self.epoch + 1}). "
                "Lower learning_rate, or set gradient_clip_norm=1."
            )
        if (batch + 1) % self.log_every_steps == 0 or batch + 1 == self.steps_per_epoch:
            self._check_weights(step)
            self._log_window(step, running)

    def _check_weights(self, step: int) -> None:
        """Look for NaN where the loss does not show it: oneDNN's ReLU turns a NaN into 0, and the head has one."""
        for variable in self.model.trainable_variables:
            if not bool(tf.reduce_all(tf.math.is_finite(variable))):
                raise LossNotFiniteError(
                    f"The weights hold NaN or infinity at step {step} (epoch {self.epoch + 1}), first in "
                    f"{variable.name}. Lower learning_rate, or set gradient_clip_norm=1; in the first steps, check the "
                    "pretrained weights."
                )

    def _log_window(self, step: int, running: dict[str, float]) -> None:
        """Log the means since the last line; Keras only has the epoch's running means."""
        now = time.monotonic()
        examples = running["examples"] - self.last["examples"]
        window = {
            name: (running[name] * running["examples"] - self.last[name] * self.last["examples"]) / examples
            for name in ("loss", "accuracy")
        }
        self.history.steps.append(step)
        self.history.train.append(window)
        log.info(
            "epoch %d/%d step %d/%d %s",
            self.epoch + 1,
            self.epochs,
            step,
            self.epochs * self.steps_per_epoch,
            measurements(
                train_loss=window["loss"],
                train_accuracy=window["accuracy"],
                train_learning_rate=current_learning_rate(self.model.optimizer),
                train_examples_per_second=examples / max(now - self.last_time, 1e-9),
            ),
        )
        self.last, self.last_time = running, now

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Log the epoch's means."""
        values = {name: float(value) for name, value in (logs or {}).items()}
        entry = {
            "epoch": epoch + 1.0,
            "step": float((epoch + 1) * self.steps_per_epoch),
            "loss": values["loss"],
            "accuracy": values["accuracy"],
        }
        line = {"train_loss": values["loss"], "train_accuracy": values["accuracy"]}
        if "val_loss" in values:
            entry |= {"validation_loss": values["val_loss"], "validation_accuracy": values["val_accuracy"]}
            entry |= {"validation_examples": values["val_examples"]}
            line |= {"validation_loss": values["val_loss"], "validation_accuracy": values["val_accuracy"]}
        self.history.epochs.append(entry)
        seconds = time.monotonic() - self.epoch_time
        log.info("epoch %d/%d ended after %.0f s %s", epoch + 1, self.epochs, seconds, measurements(**line))
