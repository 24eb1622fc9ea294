"""TFRecord files that are damaged, or made by somebody else: training can read the channel, or it is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from hypothesis import strategies

from star_rating.data.channel import open_channel
from star_rating.data.pipeline import evaluation_batches
from star_rating.failures import DataError
from star_rating.preparation.tfrecord import frame
from tests.helpers.fuzzing import INTERESTING_BYTES, damaged_bytes, feed
from tests.helpers.training_job import examples

pytestmark = pytest.mark.slow

LENGTH = 8
VOCABULARY = 100

Features = dict[str, tf.train.Feature]
"""One review."""


def int64(values: Sequence[int]) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


GOOD = [{name: int64(values) for name, values in record.items()} for record in examples(5, LENGTH, seed=0)]

numbers = strategies.sampled_from([-1, 0, 1, 4, 5, 99, 100, 2**31, 2**32 + 1, 2**63 - 1, -(2**63)])
lists = strategies.lists(numbers, max_size=3) | strategies.lists(numbers, min_size=LENGTH, max_size=LENGTH)
other_features = strategies.one_of(
    lists.map(int64),
    strategies.just(tf.train.Feature()),
    lists.map(lambda values: tf.train.Feature(float_list=tf.train.FloatList(value=values))),
    strategies.binary(max_size=4).map(lambda value: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))),
)


@strategies.composite
def records(draw: strategies.DrawFn) -> bytes:
    """One serialized review: good, with another feature, merged from two, or with damaged bytes."""
    features: Features = dict(draw(strategies.sampled_from(GOOD)))
    for name in draw(strategies.lists(strategies.sampled_from([*features, "unknown"]), max_size=2)):
        features[name] = draw(other_features)
    for name in draw(strategies.lists(strategies.sampled_from(sorted(features)), max_size=1)):
        del features[name]
    serialized = serialize(features)
    match draw(strategies.sampled_from(("whole", "whole", "merged", "bytes"))):
        case "merged":
            return serialized + serialize(draw(strategies.sampled_from(GOOD)))
        case "bytes":
            return draw(damaged_bytes([serialized]))
        case _:
            return serialized


def serialize(features: Features) -> bytes:
    content: bytes = tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
    return content


framed = strategies.lists(records().map(frame), min_size=1, max_size=4).map(b"".join)
good = b"".join(frame(serialize(features)) for features in GOOD)
files = framed | damaged_bytes([good, b"", b"star_rating\treview_body\n", *INTERESTING_BYTES])


def test_training_reads_what_the_check_accepts(
    tmp_path: Path, say: Callable[[str], None], scaled: Callable[..., int]
) -> None:
    path = tmp_path / "a.tfrecord"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        channel = open_channel("train", tmp_path, max_seq_length=LENGTH, vocabulary_size=VOCABULARY)
        labels: list[Any] = []
        for features, batch in evaluation_batches(channel, 3, LENGTH):
            assert 0 <= features["input_ids"].numpy().min() <= features["input_ids"].numpy().max() < VOCABULARY
            labels.extend(batch.numpy())
        assert len(labels) == channel.records
        assert tuple(labels.count(label) for label in range(5)) == channel.label_histogram

    say(f"TFRecord files: {feed(read, files, number=scaled(1500), allowed=(DataError,))}")
