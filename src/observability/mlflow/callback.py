"""What fit logs to MLflow: the log lines' numbers by step, each epoch's validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tf_keras

from observability.mlflow.tracker import Tracker
from observability.tensorboard import History


class MlflowCallback(tf_keras.callbacks.Callback):
    """Hands a run's history to a tracker as it grows; must stand after ProgressLog among the callbacks.

    A resumed run's history has what was logged before. It is handed over again, and the tracker leaves out what the
    server has: what a server missed while it was down arrives so.
    """

    def __init__(self, tracker: Tracker, history: History, learning_rate: Callable[[], float]) -> None:
        super().__init__()
        self._tracker = tracker
        self._history = history
        self._learning_rate = learning_rate
        self._lines = self._epochs = 0
        """Entries that were handed over."""

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Hand over the log lines that are new."""
        del batch, logs
        if self._lines < len(self._history.train):
            self._tracker.log(self._history.steps[-1], {"train:learning_rate": self._learning_rate()})
        self.hand_over()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Hand over the epoch's measures."""
        del epoch, logs
        self.hand_over()

    def hand_over(self) -> None:
        """Hand over what is new; at first, what a checkpoint has."""
        history = self._history
        while self._lines < len(history.train):
            line = history.train[self._lines]
            self._tracker.log(history.steps[self._lines], {f"train:{name}": value for name, value in line.items()})
            self._lines += 1
        while self._epochs < len(history.epochs):
            entry = history.epochs[self._epochs]
            values = {
                name.replace("validation_", "validation:"): value
                for name, value in entry.items()
                if name.startswith("validation_")
            }
            self._tracker.log(int(entry["step"]), {"epoch": entry["epoch"], **values})
            self._epochs += 1
