"""Attention's layout: where each token's vectors of each head lie in the grids of the groups of reviews.

    grid = AttentionGrid.of(tokens, heads=12, parts=3)
    grid.scatter(vectors)       # [tokens, 3 * dim] -> for each group three [reviews, heads, width, head_dim]
    grid.gather(contexts)       # with parts=1: for each group one [reviews, heads, width, head_dim] -> [tokens, dim]

The indices are made once a batch. One gather then does in every layer what padding, splitting into parts and moving
the heads to the front would take three passes for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf

from star_rating.model.operations import gather_once
from star_rating.model.tokens import Group, Tokens


@dataclass(frozen=True)
class AttentionGrid:
    """The layout of vectors of `parts` times `heads` heads: a row is one head's vector of one token."""

    heads: int
    parts: int
    shapes: tuple[tf.Tensor, ...]
    """int32[2] a group: reviews and width."""
    row_of_place: tf.Tensor
    """int32[places], counting through groups, parts, reviews, heads and width; behind the last row: none."""
    place_of_row: tf.Tensor
    """int32[tokens * parts * heads]"""

    @classmethod
    def of(cls, tokens: Tokens, heads: int, parts: int) -> AttentionGrid:
        """Compute the indices for a batch."""
        rows = tf.size(tokens.ids) * (parts * heads)
        row_of_place = tf.concat([_rows(group, heads, parts) for group in tokens.groups], axis=0)
        places = tf.size(row_of_place)
        # Places without a token are written to one entry behind the rows, which is cut off.
        place_of_row = tf.tensor_scatter_nd_update(
            tf.fill([rows + 1], places), tf.minimum(row_of_place, rows)[:, tf.newaxis], tf.range(places)
        )[:rows]
        return cls(heads, parts, tuple(tf.shape(group.tokens) for group in tokens.groups), row_of_place, place_of_row)

    def scatter(self, vectors: tf.Tensor) -> list[list[tf.Tensor]]:
        """Lay [tokens, parts * dim] out: for each group a list of its parts, [reviews, heads, width, head_dim]."""
        head_dim = vectors.shape[-1] // (self.parts * self.heads)
        placed = gather_once(tf.reshape(vectors, [-1, head_dim]), self.row_of_place, self.place_of_row)
        shapes = [[reviews, self.heads, width, head_dim] for reviews, width in map(tf.unstack, self.shapes)]
        sizes = [reviews * heads * width for reviews, heads, width, _ in shapes for _ in range(self.parts)]
        blocks = iter(tf.split(placed, sizes, num=len(sizes)))
        return [[tf.reshape(next(blocks), shape) for _ in range(self.parts)] for shape in shapes]

    def gather(self, blocks: Sequence[tf.Tensor]) -> tf.Tensor:
        """Take one [reviews, heads, width, head_dim] a group back to [tokens, dim]."""
        head_dim = blocks[0].shape[-1]
        placed = tf.concat([tf.reshape(block, [-1, head_dim]) for block in blocks], axis=0)
        return tf.reshape(gather_once(placed, self.place_of_row, self.row_of_place), [-1, self.heads * head_dim])


def _rows(group: Group, heads: int, parts: int) -> tf.Tensor:
    """Return the row at each place of a group, in the order parts, reviews, heads, width."""
    part = tf.range(parts)[:, tf.newaxis, tf.newaxis, tf.newaxis]
    head = tf.range(heads)[:, tf.newaxis]
    return tf.reshape((group.tokens[:, tf.newaxis, :] * parts + part) * heads + head, [-1])
