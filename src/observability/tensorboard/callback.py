"""What fit tells TensorBoard: the log lines' numbers, each epoch's validation, the weights, the settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tf_keras

from observability.tensorboard.board import Board
from star_rating.training.progress import History


class TensorBoardCallback(tf_keras.callbacks.Callback):
    """Writes to a board while Keras trains; must stand after ProgressLog among the callbacks."""

    def __init__(self, board: Board, history: History, settings: Mapping[str, object]) -> None:
        super().__init__()
        self.board = board
        self.history = history
        self.settings = settings
        self.written = 0

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Write what the run is and starts from; leave out what an interrupted run has written."""
        del logs
        self.written = len(self.history.train)
        if not self.history.steps:
            self.board.text("train", 0, "hyperparameters", as_markdown(self.settings))
            self._write_weights(0)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Write the windows that ProgressLog has added."""
        del batch, logs
        while self.written < len(self.history.train):
            self.board.scalars("train", self.history.steps[self.written], self.history.train[self.written])
            self.written += 1
            self.board.flush()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Write the epoch's validation, and the weights that it leaves."""
        del epoch, logs
        entry = self.history.epochs[-1]
        step = int(entry["step"])
        if "validation_loss" in entry:
            values = {name: entry[f"validation_{name}"] for name in ("loss", "accuracy")}
            self.board.scalars("validation", step, values)
        self._write_weights(step)
        self.board.flush()

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Put on disk what is pending."""
        del logs
        self.board.flush()

    def _write_weights(self, step: int) -> None:
        arrays = {
            f"weights/{variable.name.split(':')[0]}": variable.numpy() for variable in self.model.trainable_weights
        }
        self.board.histograms("train", step, arrays)


def as_markdown(settings: Mapping[str, object]) -> str:
    """Return a table of names and values."""
    rows = (f"| {name} | {value} |" for name, value in settings.items())
    return "\n".join(["| hyperparameter | value |", "|---|---|", *rows])
