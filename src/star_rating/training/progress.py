"""What training says while it runs, a line every few steps and one an epoch, and where in the run it is."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

import tf_keras

from star_rating.logs import History, measurements
from star_rating.model.optimizer import current_learning_rate
from star_rating.results.evaluation import macro_f1, mean_absolute_error

log = logging.getLogger(__name__)


class ProgressLogger(tf_keras.callbacks.Callback):
    """Writes the log lines whose format star_rating.logs defines, keeps the history, and counts the run's steps."""

    def __init__(self, history: History, epochs: int, steps_per_epoch: int, log_every_steps: int) -> None:
        super().__init__()
        self.history = history
        self.epochs = epochs
        self.steps_per_epoch = steps_per_epoch
        self.log_every_steps = log_every_steps
        self.step = 0
        """Training steps done."""
        self.last: dict[str, float] = {}
        """The epoch's running means at the log line before."""
        self.window_start = self.epoch_start = self.fit_start = time.monotonic()

    @property
    def epochs_ended(self) -> int:
        """Epochs whose validation is done too."""
        return len(self.history.epochs)

    @property
    def within_epoch(self) -> bool:
        """Whether the last step was neither the last nor none of its epoch."""
        return self.step % self.steps_per_epoch != 0

    @property
    def validation_is_due(self) -> bool:
        """Whether an epoch's steps are done, and the epoch has not ended yet."""
        return self.step // self.steps_per_epoch > self.epochs_ended

    def as_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of the log line to come."""
        now = time.monotonic()
        return {
            "last": self.last,
            "window_seconds": now - self.window_start,
            "epoch_seconds": now - self.epoch_start,
        }

    def resume_from(self, step: int, history: Mapping[str, Any], progress: Mapping[str, Any]) -> None:
        """Continue after `step` steps; the rest is what History and this class returned from as_dict."""
        self.step = step
        self.history.steps, self.history.train = list(history["steps"]), list(history["train"])
        self.history.epochs = list(history["epochs"])
        self.last = dict(progress["last"])
        now = time.monotonic()
        self.window_start, self.epoch_start = now - progress["window_seconds"], now - progress["epoch_seconds"]

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Start the clock of the first step."""
        del logs
        self.fit_start = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Start the epoch's clock, unless the run goes on within it."""
        del epoch, logs
        if not self.within_epoch:
            self.last = {"examples": 0.0, "loss": 0.0, "accuracy": 0.0}
            self.window_start = self.epoch_start = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Count the step; log every few."""
        del batch
        self.step += 1
        if self.history.first_step_seconds is None:
            self.history.first_step_seconds = time.monotonic() - self.fit_start
        in_epoch = self.step % self.steps_per_epoch
        if in_epoch % self.log_every_steps == 0 or in_epoch == 0:
            self._log_window({name: float(value) for name, value in (logs or {}).items()})

    def _log_window(self, running: dict[str, float]) -> None:
        """Log the means since the last line; Keras only has the epoch's running means."""
        now = time.monotonic()
        examples = running["examples"] - self.last["examples"]
        if not examples:  # every step since was skipped
            return
        window = {
            name: (running[name] * running["examples"] - self.last[name] * self.last["examples"]) / examples
            for name in ("loss", "accuracy")
        }
        self.history.steps.append(self.step)
        self.history.train.append(window)
        log.info(
            "epoch %d/%d step %d/%d %s",
            self.epochs_ended + 1,
            self.epochs,
            self.step,
            self.epochs * self.steps_per_epoch,
            measurements(
                train_loss=window["loss"],
                train_accuracy=window["accuracy"],
                train_learning_rate=current_learning_rate(self.model.optimizer),
                train_examples_per_second=examples / max(now - self.window_start, 1e-9),
            ),
        )
        self.last, self.window_start = running, now

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Log the epoch's means."""
        values = {name: float(value) for name, value in (logs or {}).items()}
        entry = {
            "epoch": epoch + 1.0,
            "step": float((epoch + 1) * self.steps_per_epoch),
            "loss": values["loss"],
            "accuracy": values["accuracy"],
            "examples": values["examples"],
        }
        line = {"train_loss": values["loss"], "train_accuracy": values["accuracy"]}
        if "val_loss" in values:
            entry |= {"validation_loss": values["val_loss"], "validation_accuracy": values["val_accuracy"]}
            entry |= {"validation_examples": values["val_examples"]}
            confusion = self.model.confusion
            entry |= {
                "validation_macro_f1": macro_f1(confusion),
                "validation_mean_absolute_error": mean_absolute_error(confusion),
            }
            line |= {"validation_loss": values["val_loss"], "validation_accuracy": values["val_accuracy"]}
        self.history.epochs.append(entry)
        seconds = time.monotonic() - self.epoch_start
        log.info("epoch %d/%d ended after %.0f s %s", epoch + 1, self.epochs, seconds, measurements(**line))
