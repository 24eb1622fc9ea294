"""From checked channels to batches: `({"input_ids", "input_mask"}, labels)`, int32 [batch, length] and [batch].

    batches = training_batches(channel, batch_size=32, max_seq_length=64, seed=42)

Training shuffles examples, not batches; the order of pass N is a function of the seed and N alone. Evaluation is one
pass in the order of the files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import tensorflow as tf

from star_rating.data.channel import Channel
from star_rating.data.records import without_autotune
from star_rating.data.schema import INPUT_FEATURES, LABEL_FEATURE

SHUFFLE_BUFFER = 100_000
"""Records; about 40 MB at 64 tokens. A channel up to this size is shuffled perfectly, a larger one also by files."""
FILES_AT_ONCE = 16


def training_batches(
    channel: Channel,
    batch_size: int,
    max_seq_length: int,
    *,
    seed: int,
    first_batch: int = 0,
) -> tf.data.Dataset:
    """Return endless batches, pass after pass; the last batch of a pass holds what is left over.

    A run that resumes says with `first_batch` how many batches it has seen; they are not read again.
    """
    batches = passes(channel, batch_size, seed, first_batch, tf.data.TFRecordDataset)
    return _parsed(batches, max_seq_length)


def records_of_batch(channel: Channel, batch_size: int, *, seed: int, batch: int) -> list[tuple[Path, int]]:
    """Return file and record, both batch and record from 0, of what `training_batches` yields as batch `batch`."""

    def places(path: tf.Tensor) -> tf.data.Dataset:
        return tf.data.TFRecordDataset(path).enumerate().map(lambda record, _: (path, record))

    paths, records = next(passes(channel, batch_size, seed, batch, places).as_numpy_iterator())
    return [(Path(path.decode()), int(record)) for path, record in zip(paths, records, strict=True)]


def passes(
    channel: Channel,
    batch_size: int,
    seed: int,
    first_batch: int,
    read: Callable[[tf.Tensor], tf.data.Dataset],
) -> tf.data.Dataset:
    """Return endless batches of what `read` makes of each file, which is one element a record."""
    first_pass, seen = divmod(first_batch, batches_in_a_pass(channel, batch_size))
    passes = tf.data.Dataset.range(first_pass, tf.int64.max).flat_map(
        lambda number: shuffled(channel.files, channel.records, seed, number, read).batch(batch_size)
    )
    return passes.skip(seen)


def shuffled(
    files: Sequence[Path],
    records: int,
    seed: int,
    number: tf.Tensor,
    read: Callable[[tf.Tensor], tf.data.Dataset] = tf.data.TFRecordDataset,
) -> tf.data.Dataset:
    """Return pass `number` over the files' records, in the pass's own order."""
    pass_seed = tf.constant(seed, tf.int64) * 1_000_003 + number
    paths = tf.data.Dataset.from_tensor_slices([str(path) for path in files]).shuffle(len(files), seed=pass_seed)
    in_files = paths.interleave(read, cycle_length=FILES_AT_ONCE, block_length=16)
    return in_files.shuffle(min(records, SHUFFLE_BUFFER), seed=pass_seed)


def evaluation_batches(channel: Channel, batch_size: int, max_seq_length: int, *, steps: int = 0) -> tf.data.Dataset:
    """Return one exact pass in order, or its first `steps` batches."""
    records = tf.data.TFRecordDataset([str(path) for path in channel.files]).batch(batch_size)
    return _parsed(records.take(steps) if steps else records, max_seq_length)


def batches_in_a_pass(channel: Channel, batch_size: int) -> int:
    """Return the number of batches of one pass, the incomplete last one included."""
    return -(-channel.records // batch_size)


def steps_per_epoch(channel: Channel, batch_size: int, wanted: int) -> int:
    """Return the steps of an epoch: `wanted`, or with 0 one pass of the channel."""
    return wanted or batches_in_a_pass(channel, batch_size)


def parser(max_seq_length: int) -> Callable[[tf.Tensor], tuple[dict[str, tf.Tensor], tf.Tensor]]:
    """Return what makes features and labels of serialized examples, string[batch]."""
    specification = {name: tf.io.FixedLenFeature([max_seq_length], tf.int64) for name in INPUT_FEATURES}
    specification[LABEL_FEATURE] = tf.io.FixedLenFeature([], tf.int64)

    def parse(serialized: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        features = {
            name: tf.cast(value, tf.int32) for name, value in tf.io.parse_example(serialized, specification).items()
        }
        labels = features.pop(LABEL_FEATURE)
        return features, labels

    return parse


def _parsed(batches: tf.data.Dataset, max_seq_length: int) -> tf.data.Dataset:
    return without_autotune(batches.map(parser(max_seq_length), num_parallel_calls=2, deterministic=True).prefetch(4))
