"""The all-reduce of gradients over hosts: what each has computed for its reviews becomes what one would have for all.

    exchange = GradientExchange(collectives, max_rows=4096)
    gradients = exchange(gradients, model.trainable_variables)      # every host's, added up; once a step

Dense gradients travel in buckets, the last layer's first: backpropagation has them first, and computes on while they
travel. An embedding's gradient is zero but for the rows of the batch's own tokens; these alone travel. The hosts first
tell one another which rows they have, a few kilobytes, and then add up one matrix of the rows that any of them has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from star_rating.distributed.collectives import Collectives, Key

BUCKET_BYTES = 16 << 20
"""Small enough for the exchange to begin early, large enough for a ring's rounds not to matter."""

ROWS_PER_BUCKET = 64
"""Rows travel in multiples of this: each number of them is a collective operation of its own."""
MAX_ROW_BUCKETS = 10_000

Gradient = Any  # tf.Tensor or tf.IndexedSlices; TensorFlow is untyped


class GradientExchange:
    """Adds up gradients over the hosts."""

    def __init__(self, collectives: Collectives, max_rows: int) -> None:
        self.collectives = collectives
        self.max_rows = max_rows
        """Tokens that any host's part of a batch may have, and so rows of an embedding; the same on all hosts."""
        self._dense_bytes = self._whole_bytes = self._sparse = 0
        self._row_bytes = self._rows_sent = 0

    def __call__(self, gradients: Sequence[Gradient], variables: Sequence[tf.Variable]) -> list[Gradient]:
        """Return the sums; gradients of embeddings stay sparse, with each row once."""
        sums: list[Gradient] = list(gradients)
        self._whole_bytes = sum(_bytes(variable.shape) for variable in variables)
        dense = [index for index, gradient in enumerate(gradients) if isinstance(gradient, tf.Tensor)]
        dense.reverse()
        sizes = [_bytes(gradients[index].shape) for index in dense]
        self._dense_bytes = sum(sizes)
        for number, bucket in enumerate(gradient_buckets(sizes)):
            members = [dense[position] for position in bucket]
            totals = self._sum_bucket([gradients[index] for index in members], number)
            for index, total in zip(members, totals, strict=True):
                sums[index] = total
        sparse = [index for index in range(len(gradients)) if index not in dense]
        self._sparse = len(sparse)
        for number, index in enumerate(sparse):
            sums[index] = self._sum_rows(gradients[index], variables[index].shape, number)
        return sums

    def record(self) -> dict[str, float]:
        """Return the bytes of gradients that are added up a step, and what they would be with whole embeddings."""
        rows_a_step = self._row_bytes * self._sparse / max(self._rows_sent, 1)
        return {"gradient_bytes": self._dense_bytes + rows_a_step, "gradient_bytes_if_dense": self._whole_bytes}

    def _count(self, elements: npt.NDArray[np.int32]) -> None:
        self._row_bytes += 4 * int(elements)
        self._rows_sent += 1

    def _sum_bucket(self, tensors: Sequence[tf.Tensor], number: int) -> list[tf.Tensor]:
        key = Key.GRADIENT_BUCKETS + number
        if len(tensors) == 1:
            return [self.collectives.sum(tensors[0], key)]
        together = self.collectives.sum(tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0), key)
        parts = tf.split(together, [tensor.shape.num_elements() for tensor in tensors])
        return [tf.reshape(part, tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]

    def _sum_rows(self, slices: tf.IndexedSlices, shape: tf.TensorShape, number: int) -> tf.IndexedSlices:
        indices = tf.cast(slices.indices, tf.int32)
        mine = tf.unique(indices).y
        room = min(self.max_rows, int(shape[0]))
        padded = tf.ensure_shape(tf.pad(mine, [[0, room - tf.size(mine)]], constant_values=-1), [room])
        everyones = self.collectives.all_gather(padded, Key.ROWS + number)
        rows = tf.unique(tf.boolean_mask(everyones, everyones >= 0)).y
        # Where each of this host's indices is among the rows: they are all there, so that nothing new is found.
        place = tf.unique(tf.concat([rows, indices], axis=0)).idx[tf.size(rows) :]
        count = tf.size(rows)
        row_buckets = -(-count // ROWS_PER_BUCKET)
        values = tf.math.unsorted_segment_sum(slices.values, place, row_buckets * ROWS_PER_BUCKET)
        tf.numpy_function(self._count, [tf.size(values)], [])
        total = self.collectives.sum(values, Key.ROW_VALUES + MAX_ROW_BUCKETS * number + row_buckets)
        return tf.IndexedSlices(total[:count], rows, tf.constant(shape.as_list(), tf.int32))


def _bytes(shape: tf.TensorShape) -> int:
    return 4 * int(shape.num_elements())


def gradient_buckets(sizes: Sequence[int]) -> list[list[int]]:
    """Cut a sequence of sizes in bytes into runs of about BUCKET_BYTES; return the positions in each."""
    result: list[list[int]] = []
    room = 0
    for position, size in enumerate(sizes):
        if not result or size > room:
            result.append([])
            room = BUCKET_BYTES
        result[-1].append(position)
        room -= size
    return result
