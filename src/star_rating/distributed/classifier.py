"""A DistilBertClassifier that trains with the other hosts: each computes its part, and the gradients are added up.

    model = SharedClassifier(config, number_of_classes=5)
    model.join(cluster, stop, most_tokens=2048, skips_nonfinite=False)
    model.compile(...)
    model.fit(training_batches(...), ...)

After each step all hosts have the same weights, slots, metrics and logs, to the last bit: what callbacks decide from
them, all decide. A stop that any host is asked for travels with the step's sums, so that all stop after the same one.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf
import tf_keras

from star_rating.distributed.cluster import Cluster
from star_rating.distributed.collectives import Collectives, Key
from star_rating.distributed.gradients import Gradient, GradientExchange
from star_rating.interruption import StopRequest
from star_rating.model.distilbert import DistilBertClassifier

Batch = tuple[Mapping[str, tf.Tensor], tf.Tensor, tf.Tensor]
"""Features, labels, and weights that are 1 / reviews of the whole batch, or 0 for padding."""


class SharedClassifier(DistilBertClassifier):
    """One host's copy of the model."""

    def join(self, cluster: Cluster, stop: StopRequest, most_tokens: int, *, skips_nonfinite: bool) -> None:
        """Take part in the training of `cluster`; `most_tokens` is what a host can have of one batch."""
        self.cluster = cluster
        self.stop = stop
        self.skips_nonfinite = skips_nonfinite
        self.collectives = Collectives(cluster.size)
        self.exchange = GradientExchange(self.collectives, most_tokens)

    def next_dropout_step(self) -> tf.Tensor:
        """Return a number that no other host draws its masks with."""
        return super().next_dropout_step() * self.cluster.size + self.cluster.rank

    def train_step(self, data: Batch) -> dict[str, tf.Tensor]:
        """Do a step with all hosts; `logs` are of the whole batch."""
        gradients, sums = self.part_of_step(data)
        stopping = tf.numpy_function(lambda: np.float32(self.stop.signal is not None), [], tf.float32)
        loss, correct, reviews, stops = tf.unstack(
            self.collectives.sum(tf.stack([*sums, tf.ensure_shape(stopping, [])]), Key.SUMS)
        )
        totals = self.exchange(gradients, self.trainable_variables)

        def update() -> tf.Tensor:
            self.optimizer.apply_gradients(zip(totals, self.trainable_variables, strict=True))
            self._add_up(loss, correct, reviews)
            return tf.constant(0.0)

        logs = {}
        if self.skips_nonfinite:
            finite = tf.math.is_finite(loss) & tf.math.is_finite(tf.linalg.global_norm(totals))
            logs["skipped"] = tf.cond(finite, update, lambda: tf.constant(1.0))
        else:
            update()
        return {**self.get_metrics_result(), **logs, "stops": stops}

    def part_of_step(self, data: Batch) -> tuple[list[Gradient], list[tf.Tensor]]:
        """Return this host's part of the gradients and of [loss, correct reviews, reviews]; what XLA compiles."""
        features, labels, weights = data
        with tf.GradientTape() as tape:
            logits = self(features, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = tf.reduce_sum(losses * weights)
        gradients = self.optimizer.compute_gradients(loss, self.trainable_variables, tape)
        real = tf.cast(weights > 0, tf.float32)
        return [gradient for gradient, _ in gradients], [loss, _correct(labels, logits, real), tf.reduce_sum(real)]

    def evaluate(
        self,
        x: tf.data.Dataset | None = None,
        *,
        callbacks: tf_keras.callbacks.CallbackList | None = None,
        **_: object,
    ) -> dict[str, float]:
        """Evaluate this host's batches, and return the means over all hosts' reviews; raises Stopped on all hosts."""
        sums = np.zeros(3)
        for index, batch in enumerate(x or ()):
            if self.stop.signal is not None:
                break
            sums += self._measured(*batch).numpy()
            if callbacks is not None:
                callbacks.on_test_batch_end(index, {})
        every = self.cluster.gather({"sums": sums.tolist(), "stops": self.stop.signal is not None})
        if any(own["stops"] for own in every):
            self.stop.heed_another_host()
        loss, correct, reviews = np.sum([own["sums"] for own in every], axis=0).tolist()
        return {"loss": loss / reviews, "accuracy": correct / reviews, "examples": reviews}

    @tf.function(reduce_retracing=True)
    def _measured(self, features: Mapping[str, tf.Tensor], labels: tf.Tensor) -> tf.Tensor:
        logits = self(features, training=False)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        ones = tf.ones_like(losses)
        return tf.stack([tf.reduce_sum(losses), _correct(labels, logits, ones), tf.reduce_sum(ones)])

    def _add_up(self, loss: tf.Tensor, correct: tf.Tensor, reviews: tf.Tensor) -> None:
        """Bring the epoch's metrics up to date, as Keras does on one host."""
        metrics = {metric.name: metric for metric in self.metrics}
        metrics["loss"].update_state(loss, sample_weight=reviews)
        metrics["accuracy"].total.assign_add(correct)
        metrics["accuracy"].count.assign_add(reviews)
        metrics["examples"].total.assign_add(tf.cast(reviews, tf.int64))


def _correct(labels: tf.Tensor, logits: tf.Tensor, real: tf.Tensor) -> tf.Tensor:
    hits = tf.cast(tf.argmax(logits, axis=-1, output_type=labels.dtype) == labels, tf.float32)
    return tf.reduce_sum(hits * real)
