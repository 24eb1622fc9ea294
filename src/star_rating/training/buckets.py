"""Batches for XLA, which compiles the training step anew for each shape that it sees.

    batches = bucketed(batches, batch_size=32)      # adds "active_positions", which DistilBertClassifier understands

Instead of a batch's real tokens, the step works on the next rung of a ladder: the real ones, and as much padding as
the rung has room for. Seven rungs, and the last batch of a pass, are the eight shapes that a run can have.
"""

from __future__ import annotations

import tensorflow as tf

from star_rating.model.packing import real_positions

RUNGS = 8
"""The ladder's steps are eighths of all positions; real batches lie on three or four of them."""
LOWEST = 2


def bucketed(batches: tf.data.Dataset, batch_size: int) -> tf.data.Dataset:
    """Add to each batch which of its flattened positions are worked on, int32[tokens]."""

    def add(features: dict[str, tf.Tensor], *rest: tf.Tensor) -> tuple[object, ...]:
        return features | {"active_positions": active_positions(features["input_mask"], batch_size)}, *rest

    return batches.map(add, num_parallel_calls=2, deterministic=True).prefetch(2)


def active_positions(input_mask: tf.Tensor, batch_size: int) -> tf.Tensor:
    """Return the real positions, then padding up to the next rung; all positions of a batch that is not full."""
    real = tf.reshape(real_positions(input_mask), [-1])
    positions = tf.size(real)
    rung = tf.maximum(-(-tf.math.count_nonzero(real, dtype=tf.int32) * RUNGS // positions), LOWEST)
    number = tf.where(tf.shape(input_mask)[0] == batch_size, -(-positions * rung // RUNGS), positions)
    real_first = tf.concat([tf.where(real), tf.where(~real)], axis=0)[:, 0]
    return tf.cast(real_first[:number], tf.int32)
