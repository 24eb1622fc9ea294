"""Which records are whose: every one once, proportionally, whatever the hosts hold."""

from __future__ import annotations

from itertools import chain, pairwise

import numpy as np
import pytest

from star_rating.distributed.shares import most_of_a_batch, part_in_order, records_of_batches, slice_of

SHARDS = [(5, 15, 45), (1, 3, 9), (1, 400, 37), (0, 7), (64, 64, 64, 64), (1, 1, 1), (100,)]


@pytest.mark.parametrize("number", [0, 1, 3, 32, 33])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_slices_are_disjoint_complete_and_even(number: int, size: int) -> None:
    slices = [slice_of(number, rank, size) for rank in range(size)]
    assert slices[0][0] == 0
    assert slices[-1][1] == number
    assert all(before[1] == after[0] for before, after in pairwise(slices))
    assert all(number // size <= end - start <= most_of_a_batch(None, 0, size, number) for start, end in slices)


@pytest.mark.parametrize("shards", SHARDS)
@pytest.mark.parametrize("batch_size", [1, 4, 13, 500])
def test_a_pass_over_uneven_shards_takes_each_record_once_in_batches_of_one_size(
    shards: tuple[int, ...], batch_size: int
) -> None:
    batches = list(records_of_batches(shards, batch_size))
    assert np.sum(batches, axis=0).tolist() == list(shards)
    sizes = [sum(given) for given in batches]
    assert sizes == [batch_size] * (sum(shards) // batch_size) + [sum(shards) % batch_size] * (
        sum(shards) % batch_size > 0
    )
    for rank in range(len(shards)):
        most = most_of_a_batch(shards, rank, len(shards), batch_size)
        assert all(0 <= given[rank] <= most for given in batches)


def test_a_host_gives_its_share_of_every_batch() -> None:
    assert set(records_of_batches((10, 30, 90), 13)) == {(1, 3, 9)}


def test_shards_of_any_sizes_never_need_more_room_than_promised() -> None:
    random = np.random.default_rng(7)
    for _ in range(200):
        shards = tuple(random.integers(0, 60, random.integers(1, 6)).tolist())
        batch_size = int(random.integers(1, 40))
        for given in records_of_batches(shards, batch_size):
            for rank, own in enumerate(given):
                assert own <= most_of_a_batch(shards, rank, len(shards), batch_size)


@pytest.mark.parametrize("records", [1, 10, 65])
def test_parts_in_order_make_up_the_first_records(records: int) -> None:
    shards = (5, 15, 45)
    held = [[(rank, index) for index in range(shards[rank])] for rank in range(3)]
    sharded = [held[rank][slice(*part_in_order(shards, rank, 3, records))] for rank in range(3)]
    assert list(chain(*sharded)) == list(chain(*held))[:records]
    whole = list(range(65))
    replicated = [whole[slice(*part_in_order(None, rank, 3, records))] for rank in range(3)]
    assert list(chain(*replicated)) == whole[:records]
