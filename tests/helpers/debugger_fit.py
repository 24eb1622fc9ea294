"""A small Keras fit with the debugger's callbacks, and a recorder that keeps on its own what the hook should save.

recorder = Recorder()
fit(attached, recorder, jit_compile=True)
recorder.weights[step]["two_inputs/classifier/bias:0"]
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from observability.debugger.debugger import Debugger
from star_rating.model.optimizer import FusedAdam
from star_rating.model.xla import CompiledStep

STEPS, EPOCHS, BATCH = 12, 2, 4
WORDS, LENGTH = 20, 4
LOSS = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)

Array = npt.NDArray[Any]


class TwoInputs(tf_keras.Model):
    """A subclassed model with the classifier's inputs."""

    def __init__(self) -> None:
        super().__init__(name="two_inputs")
        self.embedding = tf_keras.layers.Embedding(WORDS, 6, name="embedding")
        self.classifier = tf_keras.layers.Dense(5, name="classifier", dtype="float32")
        self({"input_ids": tf.zeros([1, LENGTH], tf.int64), "input_mask": tf.ones([1, LENGTH], tf.int64)})

    def call(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        vectors = self.embedding(inputs["input_ids"])
        mask = tf.cast(inputs["input_mask"], vectors.dtype)[..., tf.newaxis]
        return self.classifier(tf.reduce_mean(vectors * mask, axis=1))


class Recorder(tf_keras.callbacks.Callback):
    """Losses and metrics as Keras reports them, weights after each step, and gradients computed once more, eagerly."""

    def __init__(self) -> None:
        super().__init__()
        self.logs: list[dict[str, float]] = []
        self.weights: list[dict[str, Array]] = []
        self.gradients: list[dict[str, Array]] = []

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        del logs
        inputs, labels = batch_of(batch)
        with tf.GradientTape() as tape:
            loss = LOSS(labels, self.model(inputs, training=True))
        variables = self.model.trainable_variables
        gradients = tape.gradient(loss, variables)
        self.gradients.append(
            {
                variable.name.split(":")[0]: tf.convert_to_tensor(gradient).numpy()
                for variable, gradient in zip(variables, gradients, strict=True)
            }
        )

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        del batch
        assert logs is not None
        self.logs.append({name: float(value) for name, value in logs.items()})
        self.weights.append({variable.name: variable.numpy() for variable in self.model.variables})


def batch_of(number: int) -> tuple[dict[str, Array], Array]:
    """Return a batch of each epoch; one word is often twice in it."""
    random = np.random.default_rng(number)
    ids = random.integers(0, WORDS, (BATCH, LENGTH))
    return {"input_ids": ids, "input_mask": np.ones((BATCH, LENGTH), np.int64)}, random.integers(0, 5, BATCH)


def batches() -> tf.data.Dataset:
    made = [batch_of(number) for number in range(STEPS)]
    inputs = {name: np.stack([batch[name] for batch, _ in made]) for name in made[0][0]}
    return tf.data.Dataset.from_tensor_slices((inputs, np.stack([labels for _, labels in made])))


def fit(
    attached: Debugger, *callbacks: tf_keras.callbacks.Callback, jit_compile: bool = False, clip: float | None = None
) -> tf_keras.Model:
    """Fit a new model; every callback before the debugger's."""
    model = TwoInputs()
    optimizer: tf_keras.optimizers.Optimizer = FusedAdam(0.01, global_clipnorm=clip)
    model.compile(optimizer, LOSS, metrics=["accuracy"])
    optimizer.build(model.trainable_variables)  # as the trainer does
    if jit_compile:
        model.train_step = CompiledStep().wrap(model.train_step)
    model.fit(
        batches(),
        epochs=EPOCHS,
        validation_data=batches().take(3),
        callbacks=[*callbacks, *attached.callbacks],
        verbose=0,
    )
    return model
