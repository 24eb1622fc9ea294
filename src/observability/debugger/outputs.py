"""Labels and predictions of a Keras step, kept for whoever wants to see them once the step is done.

    tap = OutputTap(model)                  # before the steps are traced
    labels, predictions = tap.read()        # after a step: int64 [batch], float32 [batch, classes]

A step returns them beside its metrics, the one way out of a compiled one for tensors as long as the batch; what calls
the step sees the metrics alone. A step that leaves its batch out (skip_nonfinite_steps) has neither.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

LABELS, PREDICTIONS = "kept_labels", "kept_predictions"

Metrics = dict[str, Any]
Step = Callable[[Any], Metrics]


class OutputTap:
    """Copies of the last step's labels and predictions, in training and in evaluation."""

    def __init__(self, model: tf_keras.Model) -> None:
        """Make `model`'s steps keep what they compare."""
        self._kept = {
            LABELS: tf.Variable(tf.zeros([0], tf.int64), trainable=False, shape=tf.TensorShape(None)),
            PREDICTIONS: tf.Variable(tf.zeros([0], tf.float32), trainable=False, shape=tf.TensorShape(None)),
        }
        self._compute_metrics = model.compute_metrics
        model.compute_metrics = self._with_outputs
        model.train_step = self._without_outputs(model.train_step)
        model.test_step = self._without_outputs(model.test_step)

    def read(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Return the last step's labels and predictions; empty where it had none."""
        labels, predictions = (self._kept[name].numpy() for name in (LABELS, PREDICTIONS))
        for variable in self._kept.values():
            variable.assign(tf.zeros([0], variable.dtype))
        return labels, predictions

    def _with_outputs(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> Metrics:  # noqa: ANN401 - Keras's
        metrics = self._compute_metrics(x, y, y_pred, sample_weight)
        return {**metrics, LABELS: tf.cast(y, tf.int64), PREDICTIONS: tf.cast(y_pred, tf.float32)}

    def _without_outputs(self, step: Step) -> Step:
        def run(data: Any) -> Metrics:  # noqa: ANN401 - Keras's
            metrics = dict(step(data))
            for name, variable in self._kept.items():
                if name in metrics:
                    variable.assign(metrics.pop(name))
            return metrics

        return run
