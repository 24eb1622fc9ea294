"""Which positions of a padded batch are worked on, and where their vectors lie.

    tokens = Tokens.unpadded(input_ids, input_mask)     # or Tokens.padded, where XLA wants static shapes
    grid = tokens.grid.scatter(vectors)                 # [tokens, dim] -> [batch, width, dim], for attention
    vectors = tokens.grid.gather(grid)                  # and back

The model is the same for both: without padding, the token list is the batch's real tokens, and the grid is as wide as
its longest review; padded, it is all positions, and scatter and gather only reshape.
"""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

MASKED = -1e30
"""Added to the scores of padding: below any score, even a diverged model's, so that softmax gives exactly zero."""


@dataclass(frozen=True)
class Grid:
    """The places of a [tokens, dim] matrix's rows in a [batch, width] grid."""

    batch: tf.Tensor
    width: tf.Tensor
    slots: tf.Tensor | None
    """int32[tokens], each row's place in the flattened grid; None: the rows are the grid, in order."""

    def scatter(self, rows: tf.Tensor) -> tf.Tensor:
        """Lay [tokens, dim] out as [batch, width, dim], zeros where no token is."""
        if self.slots is not None:
            rows = _scatter_rows(rows, self.slots, self.batch * self.width)
        return tf.reshape(rows, [self.batch, self.width, rows.shape[-1]])

    def gather(self, grid: tf.Tensor) -> tf.Tensor:
        """Take [batch, width, dim] back to [tokens, dim]."""
        rows = tf.reshape(grid, [-1, grid.shape[-1]])
        return rows if self.slots is None else gather_rows(rows, self.slots)


@dataclass(frozen=True)
class Tokens:
    """The tokens of a batch as one flat list, and where they belong."""

    ids: tf.Tensor
    """int[tokens]"""
    positions: tf.Tensor
    """int32[tokens], for the position embeddings."""
    first: tf.Tensor
    """int32[batch], the index of each review's [CLS]."""
    grid: Grid
    bias: tf.Tensor
    """float32[batch, 1, 1, width], added to the attention scores: 0, or MASKED where no token is."""

    @classmethod
    def unpadded(cls, input_ids: tf.Tensor, input_mask: tf.Tensor) -> Tokens:
        """List the real tokens only; their number differs from batch to batch."""
        batch, length = tf.unstack(tf.shape(input_ids))
        real = _real_tokens(input_mask)
        lengths = tf.reduce_sum(tf.cast(real, tf.int32), axis=1)
        width = tf.maximum(tf.reduce_max(lengths), 1)  # an empty batch has no maximum
        rows, positions = tf.unstack(tf.cast(tf.where(real), tf.int32), num=2, axis=1)
        first = tf.cumsum(lengths, exclusive=True)
        rank = tf.range(tf.size(rows)) - tf.gather(first, rows)
        return cls(
            ids=tf.gather(tf.reshape(input_ids, [-1]), rows * length + positions),
            positions=positions,
            first=first,
            grid=Grid(batch, width, slots=rows * width + rank),
            bias=_attention_bias(tf.sequence_mask(lengths, width)),
        )

    @classmethod
    def padded(cls, input_ids: tf.Tensor, input_mask: tf.Tensor) -> Tokens:
        """List every position, in order; all shapes follow from the input's."""
        batch, length = tf.unstack(tf.shape(input_ids))
        return cls(
            ids=tf.reshape(input_ids, [-1]),
            positions=tf.tile(tf.range(length), [batch]),
            first=tf.range(batch) * length,
            grid=Grid(batch, length, slots=None),
            bias=_attention_bias(_real_tokens(input_mask)),
        )


def _real_tokens(input_mask: tf.Tensor) -> tf.Tensor:
    """bool[batch, length]: what the mask marks, and each row's first position."""
    return (input_mask != 0) | (tf.range(tf.shape(input_mask)[1]) == 0)


def _attention_bias(real: tf.Tensor) -> tf.Tensor:
    return tf.where(real, 0.0, MASKED)[:, tf.newaxis, tf.newaxis, :]


# Scatter and gather of distinct rows are each other's gradients. TensorFlow's own gradient of gather, which must allow
# for repeated rows, adds them up one by one.
@tf.custom_gradient
def _scatter_rows(rows: tf.Tensor, slots: tf.Tensor, count: tf.Tensor) -> tuple[tf.Tensor, object]:
    grid = tf.ensure_shape(
        tf.scatter_nd(slots[:, tf.newaxis], rows, tf.stack([count, rows.shape[-1]])), [None, rows.shape[-1]]
    )
    return grid, lambda upstream: (tf.gather(upstream, slots), None, None)


@tf.custom_gradient
def gather_rows(grid: tf.Tensor, slots: tf.Tensor) -> tuple[tf.Tensor, object]:
    """Take [slots, dim] out of [count, dim]; no slot may come twice."""
    shape = tf.shape(grid)
    return tf.gather(grid, slots), lambda upstream: (tf.scatter_nd(slots[:, tf.newaxis], upstream, shape), None)
