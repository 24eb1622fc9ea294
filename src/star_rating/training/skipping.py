"""A training step that leaves out a batch whose loss or gradient is NaN or infinite (skip_nonfinite_steps).

    model = SkippingClassifier(config, number_of_classes=5)
    model.fit(...)                     # `logs["skipped"]` is 1 for a batch that was left out

Weights, optimizer and metrics are then what they were before the step. The batch counts as a step all the same: it has
been read, and the next step draws other dropout masks.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from star_rating.model.distilbert import DistilBertClassifier


class SkippingClassifier(DistilBertClassifier):
    """A DistilBertClassifier whose training step checks before it changes anything."""

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:  # noqa: ANN401 - Keras's
        """Do Keras's training step if loss and gradients are finite."""
        inputs, labels, _ = tf_keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            logits = self(inputs, training=True)
            loss = self.loss(labels, logits)
        gradients = self.optimizer.compute_gradients(loss, self.trainable_variables, tape)

        def update() -> tf.Tensor:
            self.optimizer.apply_gradients(gradients)
            self.compute_loss(inputs, labels, logits)  # into the loss's running mean
            self.compute_metrics(inputs, labels, logits, sample_weight=None)
            return tf.constant(0.0)

        skipped = tf.cond(self._is_finite(loss, gradients), update, lambda: tf.constant(1.0))
        return {**self.get_metrics_result(), "skipped": skipped}

    def _is_finite(self, loss: tf.Tensor, gradients: list[tuple[tf.Tensor, tf.Variable]]) -> tf.Tensor:
        finite = tf.math.is_finite(loss)
        if isinstance(self.optimizer, tf_keras.mixed_precision.LossScaleOptimizer):
            return finite  # it looks for its scale by gradients that overflow, and leaves those out itself
        return finite & tf.math.is_finite(tf.linalg.global_norm([gradient for gradient, _ in gradients]))
