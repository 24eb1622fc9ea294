"""XLA's training step: batches of few shapes, and a step that is compiled once for each, counted and timed.

    batches = pad_to_buckets(batches, batch_size=32)    # adds "active_positions", an input of DistilBertClassifier
    compiled = CompiledStep()
    model.train_step = compiled.wrap(model.train_step)  # after compile, before fit
    model.fit(batches, ...)
    compiled.record()                                   # {"compilations": 5, "seconds_per_step": 3.1}

XLA compiles the training step anew for each shape that it sees. Instead of a batch's real tokens, the step works on the
smallest shape bucket that holds them: the real ones, and padding to fill it. Seven buckets, and the last batch of an
epoch, are the eight shapes that a run can have.

Keras's own `jit_compile` would compile evaluation too, whose two shapes and few steps never earn that back, and says
nothing about what it compiled. TensorFlow compiles a cluster for each distinct tuple of argument shapes (and for
nothing else here: no argument's value is a compile-time constant), so counting the shapes that reach the compiled
function counts its compilations; a test holds this against TensorFlow's own log.
"""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from star_rating.model.packing import real_positions

log = logging.getLogger(__name__)

NUM_BUCKETS = 8
"""Bucket N holds N eighths of all positions; real batches fall into three or four of them."""
SMALLEST_BUCKET = 2

STEPS_TIMED = 20
"""Steps that did not compile, after which `on_timed` is called; their median passes over validation and log lines."""


class CompiledStep:
    """A model's training step under XLA."""

    def __init__(self, on_timed: Callable[[float], object] = lambda _: None) -> None:
        """`on_timed` gets a step's median seconds once STEPS_TIMED are timed."""
        self.shapes: set[tuple[tuple[int, ...], ...]] = set()
        self._seconds: list[float] = []
        self._on_timed = on_timed
        self._previous: float | None = None
        """When the last step began; None if it compiled."""

    def wrap(self, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Return the function of a batch, compiled."""
        compiled = tf.function(function, jit_compile=True, reduce_retracing=True)

        def step(data: Any) -> Any:  # noqa: ANN401 - Keras's
            tf.numpy_function(self._begin, [tf.shape(tensor) for tensor in tf.nest.flatten(data)], [])
            return compiled(data)

        return step

    def record(self) -> dict[str, int | float | None]:
        """Return what run.json keeps."""
        return {"compilations": len(self.shapes), "seconds_per_step": self._median()}

    def _begin(self, *shapes: npt.NDArray[np.int32]) -> None:
        """Note that a step begins, on a batch of these shapes."""
        now = time.monotonic()
        if self._previous is not None and len(self._seconds) < STEPS_TIMED:
            self._seconds.append(now - self._previous)
            if len(self._seconds) == STEPS_TIMED:
                self._on_timed(statistics.median(self._seconds))
        key = tuple(tuple(int(size) for size in shape) for shape in shapes)
        self._previous = now
        if key not in self.shapes:
            self._previous = None
            self.shapes.add(key)
            log.info("XLA compiles the training step for shape %d of its batches", len(self.shapes))

    def _median(self) -> float | None:
        return statistics.median(self._seconds) if self._seconds else None


def pad_to_buckets(batches: tf.data.Dataset, batch_size: int) -> tf.data.Dataset:
    """Add to each batch which of its flattened positions are worked on, int32[tokens].

    A batch with weights, one host's part, is first filled to `batch_size` with rows of weight 0: parts differ in size.
    """

    def add(features: dict[str, tf.Tensor], labels: tf.Tensor, *weights: tf.Tensor) -> tuple[object, ...]:
        if weights:
            fill = tf.maximum(batch_size - tf.size(labels), 0)
            features = {name: tf.pad(values, [[0, fill], [0, 0]]) for name, values in features.items()}
            labels = tf.pad(labels, [[0, fill]])
            weights = tuple(tf.pad(values, [[0, fill]]) for values in weights)
        return features | {"active_positions": active_positions(features["input_mask"], batch_size)}, labels, *weights

    return batches.map(add, num_parallel_calls=2, deterministic=True).prefetch(2)


def active_positions(input_mask: tf.Tensor, batch_size: int) -> tf.Tensor:
    """Return the real positions, then padding up to the bucket's size; all positions of a batch that is not full."""
    real = tf.reshape(real_positions(input_mask), [-1])
    positions = tf.size(real)
    bucket = tf.maximum(-(-tf.math.count_nonzero(real, dtype=tf.int32) * NUM_BUCKETS // positions), SMALLEST_BUCKET)
    number = tf.where(tf.shape(input_mask)[0] == batch_size, -(-positions * bucket // NUM_BUCKETS), positions)
    real_first = tf.concat([tf.where(real), tf.where(~real)], axis=0)[:, 0]
    return tf.cast(real_first[:number], tf.int32)
