"""Tokenised reviews as framed TFRecords: a TFRecordWriter without TensorFlow.

    serializer = ExampleSerializer(max_seq_length=64, vocabulary_size=30522, pad_id=0)
    file.write(frame(serializer.serialize(ids, label=4)))

data/schema.py says what a record holds.

Why not tf.train.Example itself: here a record costs 3 us of one core, there 19 us, and a review costs the tokenizer
about 140 us of one core; a process that imports TensorFlow also starts five seconds later and 500 MB larger. The
bytes are the same (tests/src/star_rating/preparation/test_prepare_tfrecord.py compares them).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from star_rating.data.schema import (
    FOOTER,
    HEADER,
    LABEL_FEATURE,
    NUMBER_OF_CLASSES,
    SEQUENCE_FEATURES,
    masked_checksum,
)

# Field tags of the protocol buffer wire format: (field number << 3) | wire type 2, a length and that many bytes.
# From tensorflow/core/example/{example,feature}.proto.
_EXAMPLE_FEATURES = b"\x0a"
_FEATURES_ENTRY = b"\x0a"
_ENTRY_KEY = b"\x0a"
_ENTRY_VALUE = b"\x12"
_FEATURE_INT64_LIST = b"\x1a"
_INT64_LIST_PACKED_VALUES = b"\x0a"

_IDS, _MASK, _SEGMENTS, _LABEL = (name.encode() for name in (*SEQUENCE_FEATURES, LABEL_FEATURE))


class ExampleSerializer:
    """Token ids and a label to the bytes of a tf.train.Example with features of one fixed length."""

    def __init__(self, max_seq_length: int, vocabulary_size: int, pad_id: int) -> None:
        self._max_seq_length = max_seq_length
        self._id_bytes = [varint(token_id) for token_id in range(vocabulary_size)]
        self._padding = [self._id_bytes[pad_id] * missing for missing in range(max_seq_length + 1)]
        # Everything behind input_ids depends only on how many tokens are real and on the label.
        segments = _int64_feature(_SEGMENTS, bytes(max_seq_length))
        masks = [
            _int64_feature(_MASK, b"\x01" * length + bytes(max_seq_length - length))
            for length in range(max_seq_length + 1)
        ]
        labels = [_int64_feature(_LABEL, varint(label)) for label in range(NUMBER_OF_CLASSES)]
        self._rest = [[mask + label + segments for mask in masks] for label in labels]

    def serialize(self, ids: Sequence[int], label: int) -> bytes:
        """Return one Example: `ids` (at most max_seq_length) padded, its mask, zero segments, `label` (0 to 4)."""
        length = len(ids)
        id_bytes = self._id_bytes
        packed = b"".join([id_bytes[token_id] for token_id in ids]) + self._padding[self._max_seq_length - length]
        rest = self._rest[label][length]
        return _head(len(packed), len(rest)) + packed + rest


def frame(record: bytes) -> bytes:
    """Return the record as it stands in a TFRecord file: length, its checksum, the bytes, their checksum."""
    return _header(len(record)) + record + FOOTER.pack(masked_checksum(record))


def varint(value: int) -> bytes:
    """Return a non-negative integer in the wire format's base 128, lowest digits first."""
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)


def _delimited(tag: bytes, payload: bytes) -> bytes:
    return tag + varint(len(payload)) + payload


def _int64_feature(name: bytes, packed: bytes) -> bytes:
    """Return one entry of Features.feature: the name, and an Int64List of values already packed as varints."""
    value = _delimited(_FEATURE_INT64_LIST, _delimited(_INT64_LIST_PACKED_VALUES, packed))
    return _delimited(_FEATURES_ENTRY, _delimited(_ENTRY_KEY, name) + _delimited(_ENTRY_VALUE, value))


@lru_cache(maxsize=4096)
def _head(packed_length: int, rest_length: int) -> bytes:
    """Return what stands before the packed input_ids; all of it follows from the two lengths."""
    ids_feature = _int64_feature(_IDS, bytes(packed_length))
    features_length = len(ids_feature) + rest_length
    return _EXAMPLE_FEATURES + varint(features_length) + ids_feature[: len(ids_feature) - packed_length]


@lru_cache(maxsize=4096)
def _header(length: int) -> bytes:
    return HEADER.pack(length, masked_checksum(length.to_bytes(8, "little")))
