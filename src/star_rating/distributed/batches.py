"""A host's part of each batch: `({"input_ids", "input_mask"}, labels, weights)`.

    batches = training_batches(channel, batch_size=32, max_seq_length=64, seed=42)

Batches are those that one host would train on (FullyReplicated), or as many records of as many hosts (ShardedByS3Key);
shares.py says which are whose. A weight is one divided by the reviews of the whole batch: weighted losses add up to the
batch's mean over all hosts, whatever each had of it. A host that has none works on one row of padding with weight 0.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from star_rating.data import pipeline
from star_rating.data.records import without_autotune
from star_rating.distributed import shares
from star_rating.distributed.channels import DistributedChannel

Read = Callable[[tf.Tensor], tf.data.Dataset]


def training_batches(
    channel: DistributedChannel,
    batch_size: int,
    max_seq_length: int,
    *,
    seed: int,
    first_batch: int = 0,
) -> tf.data.Dataset:
    """Return endless parts of batches, from batch `first_batch` on."""
    if channel.shards is None:
        parts = pipeline.passes(channel, batch_size, seed, first_batch, tf.data.TFRecordDataset).map(
            lambda batch: (_slice(batch, channel), tf.shape(batch)[0])
        )
    else:
        parts = tf.data.Dataset.from_generator(
            lambda: _sharded(channel, batch_size, seed, first_batch, tf.data.TFRecordDataset),
            output_signature=(tf.TensorSpec([None], tf.string), tf.TensorSpec([], tf.int32)),
        )
    parse = pipeline.parser(max_seq_length)

    def weighted(serialized: tf.Tensor, reviews: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
        features, labels = parse(serialized)
        own = tf.size(labels)
        fill = tf.maximum(1 - own, 0)
        weights = tf.pad(tf.fill([own], 1.0 / tf.cast(reviews, tf.float32)), [[0, fill]])
        padded = {name: tf.pad(values, [[0, fill], [0, 0]]) for name, values in features.items()}
        return padded, tf.pad(labels, [[0, fill]]), weights

    return without_autotune(parts.map(weighted, num_parallel_calls=2, deterministic=True).prefetch(4))


def records_of_batch(channel: DistributedChannel, batch_size: int, *, seed: int, batch: int) -> list[tuple[Path, int]]:
    """Return file and record of what this host has of a batch."""

    def places(path: tf.Tensor) -> tf.data.Dataset:
        return tf.data.TFRecordDataset(path).enumerate().map(lambda record, _: tf.stack([path, tf.as_string(record)]))

    if channel.shards is None:
        parts = pipeline.passes(channel, batch_size, seed, batch, places).map(lambda batch: _slice(batch, channel))
        part = next(parts.as_numpy_iterator())
    else:
        part, _ = next(_sharded(channel, batch_size, seed, batch, places))
    return [(Path(path.decode()), int(record)) for path, record in part]


def evaluation_batches(
    channel: DistributedChannel, batch_size: int, max_seq_length: int, *, steps: int = 0
) -> tf.data.Dataset:
    """Return this host's part of one exact pass, or of its first `steps` batches, in order: (features, labels)."""
    records = min(channel.records, steps * batch_size) if steps else channel.records
    start, end = shares.part_in_order(channel.shards, channel.rank, channel.size, records)
    paths = tf.constant([str(path) for path in channel.files], tf.string)
    own = tf.data.TFRecordDataset(paths).skip(start).take(end - start)
    return without_autotune(own.batch(-(-batch_size // channel.size)).map(pipeline.parser(max_seq_length)).prefetch(2))


def local_batch_size(channel: DistributedChannel, batch_size: int) -> int:
    """Return how many reviews this host can have of one batch; at least one, if only of padding."""
    return max(1, shares.most_of_a_batch(channel.shards, channel.rank, channel.size, batch_size))


def max_local_batch_size(channel: DistributedChannel, batch_size: int) -> int:
    """Return how many reviews any host can have of one batch."""
    return max(local_batch_size(dataclasses.replace(channel, rank=rank), batch_size) for rank in range(channel.size))


def _slice(batch: tf.Tensor, channel: DistributedChannel) -> tf.Tensor:
    number = tf.shape(batch)[0]
    return batch[number * channel.rank // channel.size : number * (channel.rank + 1) // channel.size]


def _sharded(
    channel: DistributedChannel, batch_size: int, seed: int, first_batch: int, read: Read
) -> Iterator[tuple[npt.NDArray[Any], int]]:
    """Yield this host's records of each batch, and the number of all hosts' records."""
    assert channel.shards is not None
    first_pass, seen = divmod(first_batch, pipeline.batches_in_a_pass(channel, batch_size))
    for number in itertools.count(first_pass):
        plan = shares.records_of_batches(channel.shards, batch_size)
        passed_over = sum(given[channel.rank] for given in itertools.islice(plan, seen))
        records = _records(channel, seed, number, passed_over, read)
        for given in plan:
            own = list(itertools.islice(records, given[channel.rank]))
            yield np.array(own, dtype=object), sum(given)
        seen = 0


def _records(channel: DistributedChannel, seed: int, number: int, passed_over: int, read: Read) -> Iterator[Any]:
    if not channel.local_records:
        return iter(())
    one_pass = pipeline.shuffled(channel.files, channel.local_records, seed, tf.constant(number, tf.int64), read)
    records: Iterator[Any] = one_pass.skip(passed_over).as_numpy_iterator()
    return records
