"""Which positions of a padded batch are worked on: the real tokens, as one flat list.

    tokens = Tokens.of(input_ids, input_mask)               # the real tokens, as many as there are
    tokens = Tokens.of(input_ids, input_mask, worked_on)    # these positions: under XLA, where shapes must be known

Every layer but attention works on a [tokens, dim] matrix. Attention wants reviews as the rows of a grid, which is as
wide as its longest review; so the reviews are sorted by length, and cut into groups of alike length, a grid each
(attention_grid.py). What is computed for a review does not depend on its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import tensorflow as tf

MASKED = -1e30
"""Added to the scores of padding: below any score, even a diverged model's, so that softmax gives exactly zero."""

MOST_GROUPS = 4


@dataclass(frozen=True)
class Group:
    """Reviews of alike length, and their grid."""

    tokens: tf.Tensor
    """int32[reviews, width], the token at each place; where none is, a number behind the last token's."""
    bias: tf.Tensor
    """float32[reviews, 1, 1, width], added to the attention scores: 0, or MASKED where no real token is."""


@dataclass(frozen=True)
class Tokens:
    """The tokens of a batch."""

    ids: tf.Tensor
    """int[tokens]"""
    positions: tf.Tensor
    """int32[tokens], in the padded row: for the position embeddings."""
    first: tf.Tensor
    """int32[reviews], the index of each review's [CLS]; reviews in the order of the groups."""
    review_of_row: tf.Tensor
    """int32[batch], the review in each row of the batch."""
    groups: tuple[Group, ...]

    @classmethod
    def of(cls, input_ids: tf.Tensor, input_mask: tf.Tensor, worked_on: tf.Tensor | None = None) -> Tokens:
        """List the tokens of int[batch, length] ids and mask.

        `worked_on`, int32[tokens], are distinct positions of the flattened batch, all real ones among them.
        """
        real = real_positions(input_mask)
        return cls._real(input_ids, real) if worked_on is None else cls._chosen(input_ids, real, worked_on)

    @classmethod
    def _real(cls, input_ids: tf.Tensor, real: tf.Tensor) -> Tokens:
        """List the real tokens, the longest review's first."""
        lengths = tf.reduce_sum(tf.cast(real, tf.int32), axis=1)
        rows = tf.argsort(lengths, direction="DESCENDING", stable=True)
        lengths, sorted_real = tf.gather(lengths, rows), tf.gather(real, rows)
        reviews, positions = tf.unstack(tf.cast(tf.where(sorted_real), tf.int32), num=2, axis=1)
        first = tf.cumsum(lengths, exclusive=True)
        count = number_of_groups(real.shape[1])
        bounds = [tf.size(rows) * bound // count for bound in range(count + 1)]
        return cls(
            ids=tf.gather_nd(input_ids, tf.stack([tf.gather(rows, reviews), positions], axis=1)),
            positions=positions,
            first=first,
            review_of_row=tf.math.invert_permutation(rows),
            groups=tuple(
                _group(first[start:end], lengths[start:end], tf.size(reviews)) for start, end in pairwise(bounds)
            ),
        )

    @classmethod
    def _chosen(cls, input_ids: tf.Tensor, real: tf.Tensor, worked_on: tf.Tensor) -> Tokens:
        """List `worked_on`, with the batch as the one group: all shapes follow from the arguments' shapes."""
        batch, length = tf.unstack(tf.shape(input_ids))
        count = tf.size(worked_on)
        grid = tf.tensor_scatter_nd_update(tf.fill([batch * length], count), worked_on[:, tf.newaxis], tf.range(count))
        return cls(
            ids=tf.gather(tf.reshape(input_ids, [-1]), worked_on),
            positions=worked_on % length,
            first=tf.gather(grid, tf.range(batch) * length),
            review_of_row=tf.range(batch),
            groups=(Group(tf.reshape(grid, [batch, length]), _bias(real)),),
        )


def real_positions(input_mask: tf.Tensor) -> tf.Tensor:
    """bool[batch, length]: what the mask marks, and each row's first position, its [CLS]."""
    return (input_mask != 0) | (tf.range(tf.shape(input_mask)[1]) == 0)


def number_of_groups(length: int | None) -> int:
    """Return how many groups are worth their tracing for rows of `length` positions (None: not known when traced).

    With the lengths of Amazon's reviews, two halve the attention products of a batch of 32 at length 128, and four
    divide them by three at 256.
    """
    return min(max((length or 128) // 64, 1), MOST_GROUPS)


def _group(first: tf.Tensor, lengths: tf.Tensor, count: tf.Tensor) -> Group:
    width = tf.maximum(tf.reduce_max(lengths), 1)  # a group without reviews has no maximum
    filled = tf.sequence_mask(lengths, width)
    return Group(tf.where(filled, first[:, tf.newaxis] + tf.range(width), count), _bias(filled))


def _bias(real: tf.Tensor) -> tf.Tensor:
    return tf.where(real, 0.0, MASKED)[:, tf.newaxis, tf.newaxis, :]
