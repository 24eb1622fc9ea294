"""Which epoch was the best, when to give up, and the weights of the best one.

    best = BestEpochCallback(hyperparameters, progress.history)
    model.fit(..., callbacks=[progress, best, checkpoints])        # it compares what progress has just added
    record = best.select(model, progress.step)                     # the model has the weights to export

Early stopping: Prechelt 1998, "Early Stopping - But When?" (doi:10.1007/3-540-49430-8_3), with patience as Keras's
EarlyStopping has it. Both decisions are functions of the history alone. It is the same on all hosts, and a checkpoint
keeps it: hosts and resumed runs decide alike.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tf_keras

from star_rating.checkpointing.model_state import Tensors
from star_rating.failures import ConfigurationError
from star_rating.hyperparameters import Hyperparameters
from star_rating.logs import History

log = logging.getLogger(__name__)

LOWER_IS_BETTER = ("validation_loss", "validation_mean_absolute_error")

Epochs = Sequence[Mapping[str, float]]
"""History's, one entry each."""


def best_epoch(epochs: Epochs, metric: str) -> int | None:
    """Return the position of the best epoch, of equals the first; None if no epoch has a finite metric."""
    sign = 1.0 if metric in LOWER_IS_BETTER else -1.0
    values = [sign * epoch.get(metric, np.nan) for epoch in epochs]
    found = [position for position, value in enumerate(values) if np.isfinite(value)]
    return min(found, key=lambda position: values[position], default=None)


def has_stopped_improving(epochs: Epochs, metric: str, patience: int) -> bool:
    """Return whether `patience` epochs have passed since the best one; patience 0 never ends a run."""
    best = best_epoch(epochs, metric)
    return patience > 0 and len(epochs) - 1 - (-1 if best is None else best) >= patience


class BestEpochCallback(tf_keras.callbacks.Callback):
    """Keeps the best epoch's weights in memory, if they are to be exported, and ends a run that no longer improves."""

    def __init__(self, hyperparameters: Hyperparameters, history: History) -> None:
        super().__init__()
        self.exports_best = hyperparameters.export_epoch == "best"
        self.metric = hyperparameters.best_metric
        self.patience = hyperparameters.early_stopping_patience
        self.history = history
        self.tensors: Tensors = {}
        """The best epoch's weights, name -> array; empty before it, and if they are not to be exported."""

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Compare the epoch that has ended with those before."""
        del epoch, logs
        epochs = self.history.epochs
        if self.exports_best and best_epoch(epochs, self.metric) == len(epochs) - 1:
            self.tensors = self.model.exported_values()
        if self._is_over():
            log.info("training ends: %d epoch(s) without a better %s", self.patience, self.metric)
            self.model.stop_training = True

    def size(self, model: tf_keras.Model) -> int:
        """Return the bytes that `tensors` may have."""
        if not self.exports_best:
            return 0
        return sum(variable.dtype.size * variable.shape.num_elements() for variable in model.variables)

    def resume_from(self, model: tf_keras.Model, tensors: Tensors) -> None:
        """Take the weights that a checkpoint has kept; raise ConfigurationError if they are not this model's."""
        model.stop_training = self._is_over()
        if not self.exports_best or best_epoch(self.history.epochs, self.metric) is None:
            return
        expected = {variable.name: (variable.shape, variable.dtype.as_numpy_dtype) for variable in model.variables}
        if {name: (array.shape, array.dtype) for name, array in tensors.items()} != expected:
            raise ConfigurationError(
                "The checkpoint's weights of the best epoch are not those of this model. Give the job an empty "
                "checkpoint path, or the checkpoints of a run of this image."
            )
        self.tensors = tensors

    def select(self, model: tf_keras.Model, step: int) -> dict[str, Any]:
        """Give the model the weights to export; return what run.json keeps of the choice."""
        epochs = self.history.epochs
        best = best_epoch(epochs, self.metric)
        epoch: int | None
        value = None if best is None else epochs[best].get(self.metric)
        if self.exports_best and best is not None:
            values = self.tensors
            epoch, step = best + 1, int(epochs[best]["step"])
            why = f"export_epoch=best: its {self.metric} is the best of {len(epochs)} epoch(s)"
            log.info("epoch %d is exported, %s=%.5g is the best", best + 1, self.metric, value)
        else:
            values = model.exported_values()
            epoch = len(epochs) if epochs and epochs[-1]["step"] == step else None
            why = f"export_epoch=best, and no epoch has a {self.metric}" if self.exports_best else "export_epoch=last"
        for variable in model.variables:
            variable.assign(values[variable.name])
        return {
            "epoch": epoch,
            "step": step,
            "why": why,
            "best_epoch": None if best is None else best + 1,
            "best_metric": self.metric,
            "best_value": value,
            "ended_early": self._is_over(),
        }

    def _is_over(self) -> bool:
        return has_stopped_improving(self.history.epochs, self.metric, self.patience)
