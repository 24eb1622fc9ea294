"""transformers' TFDistilBertForSequenceClassification with Keras's fit, padded: what the notebook's script does.

It reads the TFRecords that ours reads, in the same batches. The notebook's switches for XLA and mixed precision are
left out: on a CPU they did nothing or made it slower.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tf_keras
from transformers import TFDistilBertForSequenceClassification

from benchmarks.contestants import clock as clocks
from benchmarks.measuring.channels import batches_of


class Timer(tf_keras.callbacks.Callback):
    """Tells the clock when a step ends."""

    def __init__(self, clock: clocks.StepClock) -> None:
        super().__init__()
        self.clock = clock

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Note the step."""
        del batch
        self.clock.step_ended(float((logs or {})["loss"]))


def main() -> None:
    """Train for the given steps."""
    options = clocks.arguments()
    clock = clocks.StepClock()
    model = TFDistilBertForSequenceClassification.from_pretrained(options.weights)
    model.compile(
        optimizer=tf_keras.optimizers.Adam(learning_rate=options.learning_rate, epsilon=1e-8),
        loss=tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[tf_keras.metrics.SparseCategoricalAccuracy("accuracy")],
    )
    batches = batches_of(options.case, options.batch_size, options.length).map(as_transformers_names)
    model.fit(batches, steps_per_epoch=options.steps, verbose=0, callbacks=[Timer(clock)])
    clock.report(compute="float32, XLA off")


def as_transformers_names(
    features: Mapping[str, tf.Tensor], labels: tf.Tensor
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """Rename what the TFRecords call input_mask."""
    return {"input_ids": features["input_ids"], "attention_mask": features["input_mask"]}, labels


if __name__ == "__main__":
    main()
