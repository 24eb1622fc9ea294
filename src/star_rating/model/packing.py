"""A padded batch, packed: its real tokens as one flat list, and the blocks that attention wants them in.

    tokens = PackedTokens.of(input_ids, input_mask)                     # the real tokens, as many as there are
    tokens = PackedTokens.of(input_ids, input_mask, active_positions)   # these positions: XLA has to know the shapes
    blocks = AttentionBlocks.of(tokens, heads=12, head_dim=64, num_splits=3)
    blocks.pack(vectors)        # [tokens, 3 * dim] -> for each group three [reviews, heads, width, head_dim]
    blocks.unpack(contexts)     # with num_splits=1: per group one [reviews, heads, width, head_dim] -> [tokens, dim]

Every layer but attention works on a [tokens, dim] matrix. Attention wants reviews as the rows of a block, which is as
wide as its longest review; so the reviews are sorted by length and cut into groups of similar length, a block each.
What is computed for a review does not depend on its place. Indices and shapes are made once per batch: one gather then
does in every layer what padding, splitting and moving the heads to the front would take three passes for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import tensorflow as tf

from star_rating.model.operations import permute_rows

MASKED = -1e30
"""Added to the scores of padding: below any score, even a diverged model's, so that softmax gives exactly zero."""

MOST_GROUPS = 4


@dataclass(frozen=True)
class LengthGroup:
    """Reviews of similar length, and their block."""

    tokens: tf.Tensor
    """int32[reviews, width], the token in each slot; where none is, a number behind the last token's."""
    bias: tf.Tensor
    """float32[reviews, 1, 1, width], added to the attention scores: 0, or MASKED where no real token is."""


@dataclass(frozen=True)
class PackedTokens:
    """The tokens of a batch."""

    ids: tf.Tensor
    """int[tokens]"""
    positions: tf.Tensor
    """int32[tokens], in the padded row: for the position embeddings."""
    first: tf.Tensor
    """int32[reviews], the index of each review's [CLS]; reviews in the order of the groups."""
    review_of_row: tf.Tensor
    """int32[batch], the review in each row of the batch."""
    groups: tuple[LengthGroup, ...]

    @classmethod
    def of(cls, input_ids: tf.Tensor, input_mask: tf.Tensor, active_positions: tf.Tensor | None = None) -> PackedTokens:
        """List the tokens of int[batch, length] ids and mask.

        `active_positions`, int32[tokens], are distinct positions of the flattened batch, all real ones among them.
        """
        real = real_positions(input_mask)
        return (
            cls._of_real(input_ids, real)
            if active_positions is None
            else cls._of_active(input_ids, real, active_positions)
        )

    @classmethod
    def _of_real(cls, input_ids: tf.Tensor, real: tf.Tensor) -> PackedTokens:
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
    def _of_active(cls, input_ids: tf.Tensor, real: tf.Tensor, active_positions: tf.Tensor) -> PackedTokens:
        """List `active_positions`, with the batch as the one group: all shapes follow from the arguments' shapes."""
        batch, length = tf.unstack(tf.shape(input_ids))
        count = tf.size(active_positions)
        block = tf.tensor_scatter_nd_update(
            tf.fill([batch * length], count), active_positions[:, tf.newaxis], tf.range(count)
        )
        return cls(
            ids=tf.gather(tf.reshape(input_ids, [-1]), active_positions),
            positions=active_positions % length,
            first=tf.gather(block, tf.range(batch) * length),
            review_of_row=tf.range(batch),
            groups=(LengthGroup(tf.reshape(block, [batch, length]), _bias(real)),),
        )


@dataclass(frozen=True)
class AttentionBlocks:
    """The layout of vectors of `num_splits` times `heads` heads: a row is one head's vector of one token."""

    heads: int
    head_dim: int
    num_splits: int
    shapes: tuple[tf.Tensor, ...]
    """int32[4] a group: reviews, heads, width, head_dim."""
    sizes: tf.Tensor
    """int32[groups * num_splits]: the slots of each group's each split."""
    row_of_slot: tf.Tensor
    """int32[slots], counting through groups, splits, reviews, heads and width; the number of rows: none."""
    row_to_take: tf.Tensor
    """int32[slots]: the same, and some row where there is none."""
    slot_of_row: tf.Tensor
    """int32[tokens * num_splits * heads]"""

    @classmethod
    def of(cls, tokens: PackedTokens, heads: int, head_dim: int, num_splits: int) -> AttentionBlocks:
        """Compute indices and shapes for a batch."""
        rows = tf.size(tokens.ids) * (num_splits * heads)
        row_of_slot = tf.minimum(tf.concat([_rows(group, heads, num_splits) for group in tokens.groups], axis=0), rows)
        slots = tf.size(row_of_slot)
        # Slots without a token are written to one entry behind the rows, which is cut off.
        slot_of_row = tf.tensor_scatter_nd_update(
            tf.fill([rows + 1], slots), row_of_slot[:, tf.newaxis], tf.range(slots)
        )[:rows]
        blocks = [tf.unstack(tf.shape(group.tokens)) for group in tokens.groups]
        return cls(
            heads,
            head_dim,
            num_splits,
            shapes=tuple(tf.stack([reviews, heads, width, head_dim]) for reviews, width in blocks),
            sizes=tf.stack([reviews * heads * width for reviews, width in blocks for _ in range(num_splits)]),
            row_of_slot=row_of_slot,
            row_to_take=tf.minimum(row_of_slot, rows - 1),
            slot_of_row=slot_of_row,
        )

    def pack(self, vectors: tf.Tensor) -> list[list[tf.Tensor]]:
        """Split [tokens, num_splits * dim]: per group num_splits blocks, [reviews, heads, width, head_dim]."""
        placed = permute_rows(tf.reshape(vectors, [-1, self.head_dim]), self.row_to_take, self.slot_of_row)
        blocks = iter(tf.split(placed, self.sizes, num=len(self.shapes) * self.num_splits))
        return [[tf.reshape(next(blocks), shape) for _ in range(self.num_splits)] for shape in self.shapes]

    def unpack(self, blocks: Sequence[tf.Tensor]) -> tf.Tensor:
        """Take one [reviews, heads, width, head_dim] a group back to [tokens, dim]."""
        placed = tf.concat([tf.reshape(block, [-1, self.head_dim]) for block in blocks], axis=0)
        return tf.reshape(permute_rows(placed, self.slot_of_row, self.row_of_slot), [-1, self.heads * self.head_dim])


def real_positions(input_mask: tf.Tensor) -> tf.Tensor:
    """bool[batch, length]: what the mask marks, and each row's first position, its [CLS]."""
    return (input_mask != 0) | (tf.range(tf.shape(input_mask)[1]) == 0)


def number_of_groups(length: int | None) -> int:
    """Return how many groups are worth their tracing for rows of `length` positions (None: not known when traced).

    With the lengths of Amazon's reviews, two halve the attention products of a batch of 32 at length 128, and four
    divide them by three at 256.
    """
    return min(max((length or 128) // 64, 1), MOST_GROUPS)


def _group(first: tf.Tensor, lengths: tf.Tensor, count: tf.Tensor) -> LengthGroup:
    width = tf.maximum(tf.reduce_max(lengths), 1)  # a group without reviews has no maximum
    filled = tf.sequence_mask(lengths, width)
    return LengthGroup(tf.where(filled, first[:, tf.newaxis] + tf.range(width), count), _bias(filled))


def _bias(real: tf.Tensor) -> tf.Tensor:
    return tf.where(real, 0.0, MASKED)[:, tf.newaxis, tf.newaxis, :]


def _rows(group: LengthGroup, heads: int, num_splits: int) -> tf.Tensor:
    """Return the row in each slot of a group, in the order num_splits, reviews, heads, width."""
    split = tf.range(num_splits)[:, tf.newaxis, tf.newaxis, tf.newaxis]
    head = tf.range(heads)[:, tf.newaxis]
    return tf.reshape((group.tokens[:, tf.newaxis, :] * num_splits + split) * heads + head, [-1])
