"""The gradients, labels and predictions of a Keras step, kept until the step is done.

    capture = GradientCapture(model.optimizer, variables)          # before the step is traced
    capture.open()                                             # before a step whose gradients are wanted
    for variable, gradient in capture.close():                 # after it
        ...

A compiled step hands out no tensors but its results, so the gradients are copied into variables, in float32 and only
while the capture is open. They are taken from the optimizer's compute_gradients: before clipping, without the loss
scale that mixed precision multiplies in, and also of a step that skip_nonfinite_steps leaves out.

    outputs = OutputCapture(model)                 # before the steps are traced
    labels, predictions = outputs.read()           # after a step: int64 [batch], float32 [batch, classes]

A step returns labels and predictions beside its metrics, the one way out of a compiled step for tensors as long as the
batch; what calls the step sees only the metrics. A step that leaves its batch out has neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

Pairs = Iterable[tuple[tf.Tensor | tf.IndexedSlices | None, tf.Variable]]


class GradientCapture:
    """Copies of gradients, as large together as the variables that they are of."""

    def __init__(self, optimizer: tf_keras.optimizers.Optimizer, variables: Sequence[tf.Variable]) -> None:
        """Make `optimizer` (the outermost, if wrapped) copy the gradients of `variables`."""
        self.variables = list(variables)
        # Without values: none is read before a step has assigned it, and filling them takes as long as the weights do.
        self._kept = {
            variable.ref(): tf.Variable(
                tf.raw_ops.Empty(shape=variable.shape, dtype=tf.float32), trainable=False, name="gradient"
            )
            for variable in self.variables
        }
        self._is_open = tf.Variable(initial_value=False, trainable=False, name="gradients_are_kept")
        self._compute = optimizer.compute_gradients
        optimizer.compute_gradients = self._compute_and_keep

    def open(self) -> None:
        """Keep the gradients of the next step."""
        self._is_open.assign(True)  # noqa: FBT003 - TensorFlow's

    def close(self) -> list[tuple[tf.Variable, npt.NDArray[np.float32]]]:
        """Return the last step's gradients if the capture was open, else nothing; later steps copy none."""
        if not bool(self._is_open):
            return []
        self._is_open.assign(False)  # noqa: FBT003
        return [(variable, self._kept[variable.ref()].numpy()) for variable in self.variables]

    def _compute_and_keep(self, loss: Any, var_list: Any, tape: Any = None) -> list[Any]:  # noqa: ANN401 - Keras's
        pairs = self._compute(loss, var_list, tape)
        tf.cond(self._is_open, lambda: self._keep(pairs), lambda: None)
        return list(pairs)

    def _keep(self, pairs: Pairs) -> None:
        for gradient, variable in pairs:
            kept = self._kept.get(variable.ref())
            if kept is not None:
                # An embedding's gradient is a list of rows, some of them twice: their sum is what training applies.
                values = tf.zeros_like(kept) if gradient is None else tf.convert_to_tensor(gradient)
                kept.assign(tf.cast(values, tf.float32))


LABELS, PREDICTIONS = "kept_labels", "kept_predictions"

Metrics = dict[str, Any]
Step = Callable[[Any], Metrics]


class OutputCapture:
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
