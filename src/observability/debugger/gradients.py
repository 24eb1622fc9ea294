"""The gradients of a Keras training step, kept for whoever wants to see them once the step is done.

    tap = GradientTap(model.optimizer, variables)          # before the step is traced
    tap.open()                                             # before a step whose gradients are wanted
    for variable, gradient in tap.close():                 # after it
        ...

A compiled step hands out no tensors but its results, so the gradients are copied into variables, in float32 and only
while the tap is open. They are taken from the optimizer's compute_gradients: before clipping, without the loss scale
that mixed precision multiplies in, and also of a step that skip_nonfinite_steps leaves out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

Pairs = Iterable[tuple[tf.Tensor | tf.IndexedSlices | None, tf.Variable]]


class GradientTap:
    """Copies of gradients, as large together as the variables that they are of."""

    def __init__(self, optimizer: tf_keras.optimizers.Optimizer, variables: Sequence[tf.Variable]) -> None:
        """Make `optimizer` (the outermost, if wrapped) copy the gradients of `variables`."""
        self.variables = list(variables)
        self._kept = {
            variable.ref(): tf.Variable(tf.zeros(variable.shape), trainable=False, name="gradient")
            for variable in self.variables
        }
        self._is_open = tf.Variable(initial_value=False, trainable=False, name="gradients_are_kept")
        self._compute = optimizer.compute_gradients
        optimizer.compute_gradients = self._compute_and_keep

    def open(self) -> None:
        """Keep the gradients of the next step."""
        self._is_open.assign(True)  # noqa: FBT003 - TensorFlow's

    def close(self) -> list[tuple[tf.Variable, npt.NDArray[np.float32]]]:
        """Return the last step's gradients if the tap was open, else nothing; later steps copy none."""
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
            if kept is not None and gradient is not None:
                # An embedding's gradient is a list of rows, some of them twice: their sum is what training applies.
                kept.assign(tf.cast(tf.convert_to_tensor(gradient), tf.float32))
