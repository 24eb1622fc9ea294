"""Which review goes to train, validation and test: seeded, stratified, and never one review on two sides.

    assignment = assign_splits(labels, text_hashes, group_hashes, shares=(0.9, 0.05, 0.05))

Reviews belong together when they share an id (the sentences of one review) or a text to the letter. Each group's
seeded hash picks one of 65,536 buckets, and whole buckets are dealt to the splits so that each class comes as near
to its share as it can. Up to some ten thousand groups a bucket is a group; beyond that, dealing buckets is as good and
takes a fixed time. The result depends on the seed and on the reviews, not on their order or their files.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from star_rating.data.schema import NUMBER_OF_CLASSES
from star_rating.failures import DataError

SPLITS = ("train", "validation", "test")
LEFT_OUT = len(SPLITS)
"""The assignment of a review that balancing dropped."""
BUCKET_BITS = 16

Labels = npt.NDArray[np.uint8]
Hashes = npt.NDArray[np.uint64]
Assignment = npt.NDArray[np.uint8]
"""Per review: an index into SPLITS, or LEFT_OUT."""


def assign_splits(labels: Labels, text_hashes: Hashes, group_hashes: Hashes, shares: Sequence[float]) -> Assignment:
    """Return each review's split; `shares` add up to 1 in the order of SPLITS, and a share of 0 leaves one out.

    Raise DataError when there is nothing to learn (one class) or too little to give each split a review.
    """
    present = np.flatnonzero(np.bincount(labels, minlength=NUMBER_OF_CLASSES))
    if present.size == 0:
        raise DataError("The input holds no usable review. Check the files, and the names of their columns.")
    if present.size == 1 and shares[SPLITS.index("train")] > 0:
        raise DataError(
            f"All {labels.size:,} usable reviews have {present[0] + 1} star(s): there is nothing to learn. "
            "Check the star_rating column."
        )
    groups = merge_groups_that_share_a_text(group_hashes, text_hashes)
    buckets = (groups >> np.uint64(64 - BUCKET_BITS)).astype(np.intp)
    histogram = np.bincount(buckets * NUMBER_OF_CLASSES + labels, minlength=NUMBER_OF_CLASSES << BUCKET_BITS).reshape(
        -1, NUMBER_OF_CLASSES
    )
    return deal_buckets(histogram, shares)[buckets]


def merge_groups_that_share_a_text(group_hashes: Hashes, text_hashes: Hashes) -> Hashes:
    """Return the group hashes with one value, their smallest, for all groups that duplicate texts tie together."""
    order = np.argsort(text_hashes, kind="stable")
    follows_its_copy = text_hashes[order][1:] == text_hashes[order][:-1]
    left, right = group_hashes[order[:-1][follows_its_copy]], group_hashes[order[1:][follows_its_copy]]
    apart = left != right
    tied, ends = np.unique(np.concatenate([left[apart], right[apart]]), return_inverse=True)
    if tied.size == 0:
        return group_hashes
    edges = ends.reshape(2, -1)
    graph = coo_array((np.ones(edges.shape[1], dtype=np.bool_), (edges[0], edges[1])), shape=(tied.size, tied.size))
    _, component = connected_components(graph, directed=False)
    # `tied` is sorted: a component's first member is its smallest.
    _, first = np.unique(component, return_index=True)
    position = np.minimum(np.searchsorted(tied, group_hashes), tied.size - 1)
    merged = group_hashes.copy()
    is_tied = tied[position] == group_hashes
    merged[is_tied] = tied[first[component[position[is_tied]]]]
    return merged


def deal_buckets(histogram: npt.NDArray[np.int64], shares: Sequence[float]) -> Assignment:
    """Return each bucket's split, given its reviews per class, int64[buckets, classes].

    Greedy: the large buckets first, each to the split where it least increases the sum of squared distances from the
    classes' targets, in units of the target. Within a power of two of size the order is the hash's, so that another
    seed gives another split.
    """
    sizes = histogram.sum(axis=1)
    filled = np.flatnonzero(sizes)
    wanted = [split for split, share in enumerate(shares) if share > 0]
    if filled.size < len(wanted):
        raise DataError(
            f"The input holds {sizes.sum():,} usable review(s) in {filled.size} group(s) that must stay together (one "
            f"review_id, or one text), too few for {len(wanted)} splits. Bring more reviews."
        )
    order = filled[np.argsort(-np.frexp(sizes[filled])[1], kind="stable")]
    targets = np.outer(shares, histogram.sum(axis=0))
    with np.errstate(divide="ignore"):
        weights = np.where(targets > 0, 1 / targets, 0.0).tolist()
    placed = [[0] * histogram.shape[1] for _ in shares]
    result = np.full(len(histogram), LEFT_OUT, dtype=np.uint8)
    # Plain lists: 65,536 rounds over 15 numbers are ten times faster so than as arrays.
    for bucket, counts in zip(order.tolist(), histogram[order].tolist(), strict=True):
        classes = [(label, count) for label, count in enumerate(counts) if count]
        # ((placed + count - target)^2 - (placed - target)^2) / target, less 2 * count, which is the same everywhere.
        costs = [
            sum(count * (2 * placed[split][label] + count) * weights[split][label] for label, count in classes)
            for split in wanted
        ]
        split = wanted[costs.index(min(costs))]
        result[bucket] = split
        for label, count in classes:
            placed[split][label] += count
    _leave_no_split_empty(result, order, wanted)
    return result


def _leave_no_split_empty(result: Assignment, order: npt.NDArray[np.intp], wanted: Sequence[int]) -> None:
    """Give each empty split the last (smallest) bucket of the split that has the most; for tiny inputs."""
    for split in wanted:
        dealt = result[order]
        if not (dealt == split).any():
            most = np.bincount(dealt, minlength=len(SPLITS)).argmax()
            result[order[dealt == most][-1]] = split


def balance(assignment: Assignment, labels: Labels, text_hashes: Hashes) -> Assignment:
    """Leave out reviews until each split has as many of each class as of its smallest; the hashes choose which.

    Classes that the whole input lacks do not count. Raise DataError when a split lacks a class that others have.
    """
    balanced = assignment.copy()
    present = np.flatnonzero(np.bincount(labels, minlength=NUMBER_OF_CLASSES))
    for split in np.unique(assignment):
        in_split = assignment == split
        counts = np.bincount(labels[in_split], minlength=NUMBER_OF_CLASSES)[present]
        smallest = int(counts.min())
        if smallest == 0:
            raise DataError(
                f"--balance would leave nothing in {SPLITS[split]}: of its {in_split.sum():,} reviews none has "
                f"{present[counts.argmin()] + 1} star(s). Bring more reviews, or give that split a larger share."
            )
        for label in present:
            rows = np.flatnonzero(in_split & (labels == label))
            if rows.size > smallest:
                balanced[rows[np.argpartition(text_hashes[rows], smallest)[smallest:]]] = LEFT_OUT
    return balanced
