"""Each operation against TensorFlow's own, values and gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import tensorflow as tf

from star_rating.model import operations


def with_gradients(
    function: Callable[..., tf.Tensor], arguments: list[tf.Tensor], upstream: tf.Tensor
) -> list[tf.Tensor]:
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        result = function(*arguments)
    return [result, *tape.gradient(result, arguments, output_gradients=upstream)]


def assert_same(ours: list[tf.Tensor], theirs: list[tf.Tensor], atol: float = 1e-6) -> None:
    for our, their in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(tf.convert_to_tensor(our), tf.convert_to_tensor(their), atol=atol)


@pytest.mark.parametrize("spread", [0.01, 1.0, 10.0])
def test_gelu(spread: float) -> None:
    x, upstream = tf.random.stateless_normal([2, 40, 30], [1, 2]) * [[[spread]], [[1.0]]]
    assert_same(with_gradients(operations.gelu, [x], upstream), with_gradients(tf.nn.gelu, [x], upstream), atol=4e-6)


def test_layer_norm() -> None:
    x, upstream = tf.random.stateless_normal([2, 40, 30], [1, 2])
    gamma, beta = tf.random.stateless_normal([2, 30], [3, 4])

    def reference(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> tf.Tensor:
        mean, variance = tf.nn.moments(x, [-1], keepdims=True)
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, 1e-12)

    ours = with_gradients(partial(operations.layer_norm, epsilon=1e-12), [x, gamma, beta], upstream)
    assert_same(ours, with_gradients(reference, [x, gamma, beta], upstream), atol=1e-5)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_drop_scales_what_it_keeps_and_lets_the_same_gradients_through(size: int) -> None:
    x, upstream = tf.random.stateless_uniform([2, size], [1, 2], minval=1.0, maxval=2.0)
    result, gradient = with_gradients(lambda x: operations.drop(x, 0.1, tf.constant([5, 6], tf.int64)), [x], upstream)
    kept = result.numpy() != 0
    share_kept = 1 - round(0.1 * 2**16) / 2**16
    np.testing.assert_allclose(result, np.where(kept, x / share_kept, 0), rtol=1e-6)
    np.testing.assert_allclose(gradient, np.where(kept, upstream / share_kept, 0), rtol=1e-6)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("seed", [[0, 1], [2**31 - 2, 10**6]])
def test_drop_draws_the_bits_of_tensorflows_own_generator(seed: list[int], compiled: bool) -> None:  # noqa: FBT001
    words = tf.random.stateless_uniform([500], seed, minval=None, maxval=None, dtype=tf.uint32, alg="philox")
    bits = words.numpy().view(np.uint16)
    drop = tf.function(lambda seed: operations.drop(tf.ones([40, 25]), 0.3, seed), jit_compile=compiled)
    kept = drop(tf.constant(seed, tf.int64)).numpy().reshape(-1) != 0
    np.testing.assert_array_equal(kept, bits >= round(0.3 * 2**16))


def test_permute_rows_has_the_gradient_of_gather() -> None:
    rows = tf.random.stateless_normal([5, 3], [1, 2])
    index, inverse = tf.constant([4, 0, 2]), tf.constant([1, 3, 2, 3, 0])
    upstream = tf.random.stateless_normal([3, 3], [3, 4])
    ours = with_gradients(lambda rows: operations.permute_rows(rows, index, inverse), [rows], upstream)
    assert_same(ours, with_gradients(lambda rows: tf.gather(rows, index), [rows], upstream))


def test_permute_rows_gives_no_gradient_of_a_place_that_is_no_rows() -> None:
    rows = tf.random.stateless_normal([2, 3], [1, 2])
    index, inverse = tf.constant([1, 1, 0]), tf.constant([2, 0])
    upstream = tf.constant([[1.0] * 3, [np.nan] * 3, [2.0] * 3])
    result, gradient = with_gradients(lambda rows: operations.permute_rows(rows, index, inverse), [rows], upstream)
    np.testing.assert_array_equal(result, tf.gather(rows, index))
    np.testing.assert_array_equal(gradient, [[2.0] * 3, [1.0] * 3])
