"""What the split promises, on random reviews."""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from star_rating.failures import DataError
from star_rating.preparation.split import LEFT_OUT, SPLITS, assign_splits, balance, merge_groups_that_share_a_text

SHARES = (0.90, 0.05, 0.05)
Array = npt.NDArray[Any]


def hashes_of(values: Array, seed: int) -> Array:
    """Return a random hash for each distinct value."""
    _, inverse = np.unique(values, return_inverse=True)
    hashes: Array = np.random.default_rng(seed).integers(0, 2**64, size=inverse.max() + 1, dtype=np.uint64)
    return hashes[inverse]


def reviews(count: int, groups: int, texts: int, seed: int) -> tuple[Array, Array, Array]:
    """Return labels of unequal classes, text hashes and group hashes; few texts mean many duplicates."""
    generator = np.random.default_rng(seed)
    labels = generator.choice(5, size=count, p=[0.04, 0.25, 0.28, 0.30, 0.13]).astype(np.uint8)
    text_hashes = hashes_of(generator.integers(0, texts, size=count), seed + 1)
    return labels, text_hashes, hashes_of(generator.integers(0, groups, size=count), seed + 2)


def sides(keys: Array, assignment: Array) -> int:
    """Return the largest number of splits that one key is found in."""
    found: dict[int, set[int]] = defaultdict(set)
    for key, split in zip(keys.tolist(), assignment.tolist(), strict=True):
        found[key].add(split)
    return max(map(len, found.values()))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("count", "groups", "texts"), [(300, 60, 10**6), (3000, 500, 9000), (3000, 10**6, 600)])
def test_no_review_and_no_text_is_on_two_sides(count: int, groups: int, texts: int, seed: int) -> None:
    labels, text_hashes, group_hashes = reviews(count, groups, texts, seed)

    assignment = assign_splits(labels, text_hashes, group_hashes, SHARES)

    assert sides(group_hashes, assignment) == sides(text_hashes, assignment) == 1
    assert set(assignment.tolist()) == {0, 1, 2}


def test_texts_tie_groups_together_over_several_steps() -> None:
    # a and b share text 1, b and c text 2; d stands alone, with a duplicate of its own.
    groups = np.array([40, 30, 30, 20, 99, 99], dtype=np.uint64)
    texts = np.array([1, 1, 2, 2, 3, 3], dtype=np.uint64)

    assert merge_groups_that_share_a_text(groups, texts).tolist() == [20, 20, 20, 20, 99, 99]


@pytest.mark.parametrize(("count", "groups"), [(4000, 400), (40_000, 10**9), (400_000, 10**9)])
def test_every_class_comes_near_its_share(count: int, groups: int) -> None:
    labels, text_hashes, group_hashes = reviews(count, groups, 10**12, seed=1)

    assignment = assign_splits(labels, text_hashes, group_hashes, SHARES)

    reached = np.array([np.bincount(labels[assignment == split], minlength=5) for split in range(3)])
    aimed_at = np.outer(SHARES, np.bincount(labels))
    # Groups of ten sentences in the small case; single reviews, dealt in buckets of up to ten, in the others.
    assert np.abs(reached - aimed_at).max() <= 4


def test_the_split_depends_on_the_seed_and_not_on_the_order() -> None:
    labels, text_hashes, group_hashes = reviews(2000, 400, 10**9, seed=3)
    order = np.random.default_rng(9).permutation(labels.size)

    assignment = assign_splits(labels, text_hashes, group_hashes, SHARES)
    shuffled = assign_splits(labels[order], text_hashes[order], group_hashes[order], SHARES)
    other_seed = assign_splits(labels, hashes_of(text_hashes, 77), hashes_of(group_hashes, 78), SHARES)

    assert shuffled.tolist() == assignment[order].tolist()
    in_both_tests = ((assignment == 2) & (other_seed == 2)).sum()
    assert in_both_tests < 0.5 * (assignment == 2).sum()


@pytest.mark.parametrize("count", range(3, 12))
def test_small_inputs_leave_no_split_empty(count: int) -> None:
    labels = np.array([0, 1] * count, dtype=np.uint8)[:count]
    hashes = hashes_of(np.arange(count), seed=count)

    assert set(assign_splits(labels, hashes, hashes, SHARES).tolist()) == {0, 1, 2}


def test_a_share_of_zero_leaves_a_split_out() -> None:
    labels, text_hashes, group_hashes = reviews(100, 50, 10**6, seed=0)

    assert set(assign_splits(labels, text_hashes, group_hashes, (0.8, 0.2, 0.0)).tolist()) == {0, 1}


@pytest.mark.parametrize(
    ("labels", "groups", "message"),
    [
        ([], [], "no usable review"),
        ([4] * 50, range(50), r"All 50 usable reviews have 5 star\(s\)"),
        ([0, 1], [1, 2], r"2 usable review\(s\) in 2 group\(s\)"),
        ([0, 1] * 30, [1] * 60, r"60 usable review\(s\) in 1 group\(s\)"),
    ],
)
def test_what_cannot_be_split_is_refused(labels: list[int], groups: list[int], message: str) -> None:
    hashes = hashes_of(np.array(groups), 0) if labels else np.array([], dtype=np.uint64)
    texts = hashes_of(np.arange(len(labels)), 1) if labels else hashes

    with pytest.raises(DataError, match=message):
        assign_splits(np.array(labels, dtype=np.uint8), texts, hashes, SHARES)


@pytest.mark.parametrize("seed", range(4))
def test_balancing_is_exact_in_every_split_and_only_drops(seed: int) -> None:
    labels, text_hashes, group_hashes = reviews(3000, 10**6, 2000, seed)
    dealt = assign_splits(labels, text_hashes, group_hashes, SHARES)

    kept = balance(dealt, labels, text_hashes)

    for split in range(len(SPLITS)):
        before = np.bincount(labels[dealt == split], minlength=5)
        assert np.bincount(labels[kept == split], minlength=5).tolist() == [before.min()] * 5
    assert ((kept == dealt) | (kept == LEFT_OUT)).all()


def test_balancing_ignores_a_class_that_the_whole_input_lacks() -> None:
    labels = np.array([1, 1, 1, 4] * 30, dtype=np.uint8)
    hashes = hashes_of(np.arange(labels.size), seed=0)
    dealt = np.zeros(labels.size, dtype=np.uint8)

    kept = balance(dealt, labels, hashes)

    assert np.bincount(labels[kept == 0], minlength=5).tolist() == [0, 30, 0, 0, 30]


def test_balancing_refuses_a_split_without_a_class_that_others_have() -> None:
    labels = np.array([0, 1, 1, 1], dtype=np.uint8)
    dealt = np.array([0, 0, 0, 2], dtype=np.uint8)

    with pytest.raises(DataError, match=r"nothing in test: of its 1 reviews none has 1 star\(s\)"):
        balance(dealt, labels, hashes_of(labels, 0))


def test_pairs_of_duplicates_never_part_under_any_share() -> None:
    labels, text_hashes, group_hashes = reviews(600, 10**6, 200, seed=5)
    for shares in itertools.permutations((0.5, 0.3, 0.2)):
        assert sides(text_hashes, assign_splits(labels, text_hashes, group_hashes, shares)) == 1
