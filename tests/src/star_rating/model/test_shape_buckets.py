from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from star_rating.model.xla import NUM_BUCKETS, active_positions, pad_to_buckets

LENGTH = 16
BATCH = 8


def mask_of(lengths: list[int]) -> tf.Tensor:
    return tf.constant(np.arange(LENGTH) < np.array(lengths)[:, None], tf.int32)


@pytest.mark.parametrize(("real", "expected"), [(1, 32), (4, 32), (5, 48), (8, 64), (9, 80), (16, 128)])
def test_the_real_positions_and_padding_up_to_the_next_bucket(real: int, expected: int) -> None:
    mask = mask_of([real] * BATCH)
    positions = active_positions(mask, BATCH).numpy()
    assert len(positions) == expected == len(set(positions))
    assert set(np.flatnonzero(mask.numpy())) <= set(positions)


def test_a_batch_that_is_not_full_has_all_its_positions() -> None:
    assert sorted(active_positions(mask_of([1, 2, 3]), BATCH).numpy()) == list(range(3 * LENGTH))


def test_a_row_of_padding_has_its_cls() -> None:
    assert LENGTH in active_positions(mask_of([5, 0, 5, 5, 5, 5, 5, 5]), BATCH).numpy()[: 7 * 5 + 1]


def test_random_batches_have_few_shapes() -> None:
    lengths = np.random.default_rng(0).integers(1, LENGTH + 1, [50, BATCH])
    features = {"input_mask": (np.arange(LENGTH) < lengths[..., None]).astype(np.int32)}
    batches = tf.data.Dataset.from_tensor_slices((features, np.zeros([50, BATCH], np.int32)))
    assert len({len(batch["active_positions"]) for batch, _ in pad_to_buckets(batches, BATCH)}) <= NUM_BUCKETS - 1
