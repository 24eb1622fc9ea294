"""Gradient buckets, and sums over hosts: dense and sparse gradients, the same on every host."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from star_rating.distributed.collectives import Collectives
from star_rating.distributed.gradients import BUCKET_BYTES, ROWS_PER_BUCKET, GradientExchange, gradient_buckets

ROWS, DIM = 1000, 8


class Doubling(Collectives):
    """Two hosts that have computed the same; notes what travels."""

    def __init__(self) -> None:
        super().__init__(2)
        self.sent: dict[int, int] = {}

    def sum(self, tensor: tf.Tensor, key: int | tf.Tensor) -> tf.Tensor:
        assert int(key) not in self.sent, "two operations with one key"
        self.sent[int(key)] = int(tf.size(tensor)) * 4
        return tensor * 2.0

    def all_gather(self, tensor: tf.Tensor, key: int) -> tf.Tensor:
        del key
        return tf.concat([tensor, tensor], axis=0)


def slices(ids: list[int]) -> tf.IndexedSlices:
    values = np.random.default_rng(1).normal(size=(len(ids), DIM)).astype(np.float32)
    return tf.IndexedSlices(tf.constant(values), tf.constant(ids), tf.constant([ROWS, DIM]))


def test_sums_are_those_of_whole_gradients_and_only_used_rows_travel() -> None:
    table = tf.Variable(tf.zeros([ROWS, DIM]))
    kernel, bias = tf.Variable(tf.zeros([DIM, 3])), tf.Variable(tf.zeros([3]))
    gradients = [slices([7, 3, 7, 999, 0]), tf.ones([DIM, 3]), tf.fill([3], 2.0)]
    collectives = Doubling()
    exchange = GradientExchange(collectives, max_rows=64)
    embedding, *dense = exchange(gradients, [table, kernel, bias])
    np.testing.assert_allclose(tf.convert_to_tensor(embedding), 2 * tf.convert_to_tensor(gradients[0]).numpy())
    assert sorted(embedding.indices.numpy().tolist()) == [0, 3, 7, 999]
    np.testing.assert_array_equal(dense[0], np.full([DIM, 3], 2.0))
    np.testing.assert_array_equal(dense[1], np.full([3], 4.0))
    sent = exchange.record()
    assert sent["gradient_bytes"] == sum(collectives.sent.values()) == 4 * (ROWS_PER_BUCKET * DIM + 3 * DIM + 3)
    assert sent["gradient_bytes_if_dense"] == 4 * (ROWS * DIM + 3 * DIM + 3)


def test_a_frozen_body_leaves_nothing_sparse() -> None:
    exchange = GradientExchange(Doubling(), max_rows=64)
    (bias,) = exchange([tf.ones([3])], [tf.Variable(tf.zeros([3]))])
    np.testing.assert_array_equal(bias, [2.0, 2.0, 2.0])
    assert exchange.record() == {"gradient_bytes": 12, "gradient_bytes_if_dense": 12}


def test_a_copy_is_exact_to_the_sign_of_zero() -> None:
    class Adding(Collectives):
        def sum(self, tensor: tf.Tensor, key: int | tf.Tensor) -> tf.Tensor:
            del key
            return tensor + tf.zeros_like(tensor)

    for array in (np.array([-0.0, 1.5, np.nan], np.float32), np.array([2**40, -1]), np.array([True, False, True])):
        copied = Adding(2).broadcast(array, rank=0, number=0)
        assert copied.dtype == array.dtype
        assert copied.tobytes() == array.tobytes()


def test_packs_are_of_about_one_size_and_in_order() -> None:
    sizes = [BUCKET_BYTES // 3] * 7 + [3 * BUCKET_BYTES, 10]
    runs = gradient_buckets(sizes)
    assert [position for run in runs for position in run] == list(range(len(sizes)))
    assert all(sum(sizes[position] for position in run) <= BUCKET_BYTES or len(run) == 1 for run in runs)
    assert len(runs) == 5
