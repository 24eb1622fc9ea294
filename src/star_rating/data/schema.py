"""What a record of a channel is: its features, its classes, and TFRecord's frame around it.

Written by `prepare` and read by training, which agree by this one file. It imports no TensorFlow.

A record is a tf.train.Example of int64 features, as the notebook's training script reads it: `input_ids`,
`input_mask` and `segment_ids` of max_seq_length values each, and `label_ids`, one value from 0 to 4. A TFRecord file
is a sequence of frames: the record's length, the length's checksum, the record, the record's checksum.
"""

from __future__ import annotations

import struct

import google_crc32c

NUMBER_OF_CLASSES = 5
STARS = tuple(str(stars) for stars in range(1, NUMBER_OF_CLASSES + 1))
"""Star ratings in the order of the classes: class 0 is one star."""

INPUT_FEATURES = ("input_ids", "input_mask")
"""What the model reads."""
SEQUENCE_FEATURES = (*INPUT_FEATURES, "segment_ids")
"""Features of max_seq_length values; segment_ids is all zeros."""
LABEL_FEATURE = "label_ids"
"""star_rating - 1."""

HEADER = struct.Struct("<QI")
"""The record's length in bytes, and that length's checksum."""
FOOTER = struct.Struct("<I")
"""The record's checksum."""

_CRC_MASK_DELTA = 0xA282EAD8  # tensorflow/core/lib/hash/crc32c.h


def masked_checksum(data: bytes) -> int:
    """Return the CRC-32C, rotated and offset as TFRecord wants it so that a checksum of checksums stays useful."""
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + _CRC_MASK_DELTA) & 0xFFFFFFFF
