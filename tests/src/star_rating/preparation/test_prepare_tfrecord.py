"""The hand-made bytes are TensorFlow's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from star_rating.preparation.tfrecord import ExampleSerializer, frame, varint

VOCABULARY = 30_522


def example(ids: list[int], label: int, max_seq_length: int, pad_id: int) -> bytes:
    missing = max_seq_length - len(ids)
    features = {
        "input_ids": ids + [pad_id] * missing,
        "input_mask": [1] * len(ids) + [0] * missing,
        "segment_ids": [0] * max_seq_length,
        "label_ids": [label],
    }
    message = tf.train.Example(
        features=tf.train.Features(
            feature={
                name: tf.train.Feature(int64_list=tf.train.Int64List(value=value)) for name, value in features.items()
            }
        )
    )
    serialized: bytes = message.SerializeToString(deterministic=True)
    return serialized


@pytest.mark.parametrize("pad_id", [0, 300])
@pytest.mark.parametrize("max_seq_length", [3, 64, 128, 512])
def test_a_record_is_byte_for_byte_a_tensorflow_example(max_seq_length: int, pad_id: int) -> None:
    serializer = ExampleSerializer(max_seq_length, VOCABULARY, pad_id)
    generator = np.random.default_rng(max_seq_length)
    for length in {0, 1, 2, max_seq_length // 2, max_seq_length}:
        # Ids of one, two and three bytes, mixed.
        ids = (2 ** generator.uniform(0, np.log2(VOCABULARY), size=length)).astype(int).tolist()
        for label in range(5):
            assert serializer.serialize(ids, label) == example(ids, label, max_seq_length, pad_id)


@pytest.mark.parametrize(
    ("value", "expected"), [(0, b"\x00"), (127, b"\x7f"), (128, b"\x80\x01"), (16384, b"\x80\x80\x01")]
)
def test_varints(value: int, expected: bytes) -> None:
    assert varint(value) == expected


def test_framing_is_byte_for_byte_tensorflows(tmp_path: Path) -> None:
    records = [b"", b"a", b"x" * 1000, bytes(range(256))]
    with tf.io.TFRecordWriter(str(tmp_path / "theirs")) as writer:
        for record in records:
            writer.write(record)

    assert b"".join(map(frame, records)) == (tmp_path / "theirs").read_bytes()


def test_tensorflow_notices_a_flipped_bit_in_what_was_framed(tmp_path: Path) -> None:
    damaged = bytearray(frame(b"some record"))
    damaged[14] ^= 1
    (tmp_path / "damaged").write_bytes(damaged)

    with pytest.raises(tf.errors.DataLossError):
        list(tf.data.TFRecordDataset(str(tmp_path / "damaged")))
