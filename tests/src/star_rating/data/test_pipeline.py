"""From channels to batches: shuffled by seed, exact when evaluated, resumable anywhere."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from star_rating.data.channel import Channel, open_channel
from star_rating.data.pipeline import batches_in_a_pass, evaluation_batches, records_of_batch, training_batches
from star_rating.model.xla import pad_to_buckets
from tests.helpers.training_job import examples, write_records

LENGTH = 8


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Channel:
    folder = tmp_path_factory.mktemp("train")
    for part, records in enumerate((13, 1, 9)):
        write_records(folder / f"part-{part}.tfrecord", examples(records, LENGTH, seed=part))
    return open_channel("train", folder, max_seq_length=LENGTH, vocabulary_size=1000)


def rows(batches: tf.data.Dataset, count: int | None = None) -> list[tuple[int, ...]]:
    taken = itertools.islice(batches.as_numpy_iterator(), count)
    return [tuple(ids[mask == 1]) for features, _ in taken for ids, mask in zip(*features.values(), strict=True)]


def one_pass(channel: Channel, **options: int) -> list[tuple[int, ...]]:
    return rows(training_batches(channel, 5, LENGTH, **options), batches_in_a_pass(channel, 5))


def test_a_training_pass_holds_every_record_once(channel: Channel) -> None:
    in_order = rows(evaluation_batches(channel, 5, LENGTH))
    assert len(in_order) == channel.records == 23
    assert sorted(one_pass(channel, seed=1)) == sorted(in_order)


def test_examples_are_shuffled_and_not_batches(channel: Channel) -> None:
    in_order = rows(evaluation_batches(channel, 5, LENGTH))
    chunks = [frozenset(in_order[start : start + 5]) for start in range(0, 23, 5)]
    shuffled = one_pass(channel, seed=1)
    assert not any(frozenset(shuffled[start : start + 5]) in chunks for start in range(0, 20, 5))


def test_the_order_follows_from_the_seed(channel: Channel) -> None:
    assert one_pass(channel, seed=1) == one_pass(channel, seed=1)
    assert one_pass(channel, seed=1) != one_pass(channel, seed=2)


def test_passes_differ_from_each_other(channel: Channel) -> None:
    two = rows(training_batches(channel, 5, LENGTH, seed=1), 10)
    assert two[:23] != two[23:]
    assert sorted(two[:23]) == sorted(two[23:])


@pytest.mark.parametrize("seen", [0, 1, 5, 7])
def test_a_resumed_run_reads_what_an_uninterrupted_one_would(channel: Channel, seen: int) -> None:
    uninterrupted = training_batches(channel, 5, LENGTH, seed=1).skip(seen)
    resumed = training_batches(channel, 5, LENGTH, seed=1, first_batch=seen)
    assert rows(uninterrupted, 6) == rows(resumed, 6)


def test_a_resumed_run_does_not_read_the_passes_before_it_again(channel: Channel) -> None:
    passes = 10**12  # reading these would not end
    resumed = training_batches(channel, 5, LENGTH, seed=1, first_batch=passes * batches_in_a_pass(channel, 5) + 2)
    assert len(rows(resumed, 1)) == 5


@pytest.mark.parametrize("batch", [0, 4, 5, 9])
def test_a_batchs_records_can_be_found_again(channel: Channel, batch: int) -> None:
    places = records_of_batch(channel, 5, seed=1, batch=batch)
    found = [rows(tf_records(path).skip(record).take(1))[0] for path, record in places]
    assert found == rows(training_batches(channel, 5, LENGTH, seed=1, first_batch=batch), 1)


def tf_records(path: Path) -> tf.data.Dataset:
    specification = {name: tf.io.FixedLenFeature([LENGTH], tf.int64) for name in ("input_ids", "input_mask")}
    batches = tf.data.TFRecordDataset(str(path)).batch(1)
    return batches.map(lambda serialized: (tf.io.parse_example(serialized, specification), 0))


def test_evaluation_is_one_pass_in_order_or_its_first_batches(channel: Channel) -> None:
    in_order = rows(evaluation_batches(channel, 7, LENGTH))
    assert rows(evaluation_batches(channel, 7, LENGTH, steps=2)) == in_order[:14]
    assert rows(evaluation_batches(channel, 7, LENGTH, steps=100)) == in_order


def test_every_batch_has_the_length_that_xla_compiles_for(channel: Channel) -> None:
    shapes = {features["input_ids"].shape[1] for features, _ in evaluation_batches(channel, 5, LENGTH)}
    assert shapes == {LENGTH}


def test_labels_stay_with_their_reviews(channel: Channel) -> None:
    for features, labels in training_batches(channel, 5, LENGTH, seed=3).take(10).as_numpy_iterator():
        # training_job.examples gives each class words of its own.
        assert np.array_equal((features["input_ids"][:, 1] - 5) // 7, labels)


def test_no_iterator_has_a_thread_that_its_end_waits_for(channel: Channel) -> None:
    training = training_batches(channel, 5, LENGTH, seed=3)
    for batches in (training, pad_to_buckets(training, 5), evaluation_batches(channel, 5, LENGTH, steps=1)):
        assert batches.options().autotune.enabled is False
