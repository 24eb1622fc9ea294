"""The records of one TFRecord file: its frames, what is in each record, and whether a model can be trained on it.

    scanned = scan(path)                                   # one reading: hash, frames, longest record
    for checked in check_records(path, scanned, limits):   # TensorFlow parses each record
        histogram += checked.labels

A file is never parsed before its frames have been walked: TensorFlow allocates whatever length a record claims.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from star_rating.data.fingerprint import Fingerprint
from star_rating.data.schema import (
    FOOTER,
    HEADER,
    INPUT_FEATURES,
    LABEL_FEATURE,
    NUMBER_OF_CLASSES,
    SEQUENCE_FEATURES,
    masked_checksum,
)
from star_rating.failures import DataError

LONGEST_RECORD = 2**20
"""Bytes: 512 tokens take 15 KB at most; the rest is room for features of somebody else's."""
RECORDS_A_CHECK = 4096
BYTES_A_CHECK = 2**26
"""Of records that are parsed at once."""
LARGEST_FINGERPRINT = 2_000_000
"""Hashes of a channel, of 8 bytes each; a larger channel is sampled."""

_BYTES_A_READ = 2**23

UNPARSABLE = (tf.errors.InvalidArgumentError, UnicodeDecodeError)
"""TensorFlow's error quotes the record: where its bytes are not UTF-8, Python cannot even make the message."""

ODD = {
    "cls": "begin with another token than the tokenizer's [CLS], which is what the model's head reads and what every "
    "sentence gets when the model is used. Tokenise with add_special_tokens=True, and the weights' own tokenizer",
    "padding": "have input_mask 1 where input_ids is [PAD]: the model attends to padding. Set the mask to 0 there",
    "masked": "have input_mask 0 where input_ids is a token: the model never sees it. Set the mask to 1 there, unless "
    "tokens are masked on purpose",
}
"""Kind -> what is said of records that can be trained on and that hardly anybody means."""

Labels = npt.NDArray[np.int64]
"""Records per class."""
Hashes = npt.NDArray[np.uint64]


class Limits(NamedTuple):
    """What a record's numbers are held against."""

    max_seq_length: int
    vocabulary_size: int
    cls_id: int | None = None
    """The tokenizer's [CLS]; None: not known, not checked."""
    pad_id: int | None = None
    """The tokenizer's [PAD]."""


@dataclass(frozen=True)
class Scanned:
    """What one reading of a file's bytes tells."""

    sha256: str
    records: int
    longest: int
    """Bytes of the longest record."""
    whole: bool
    """Whether the frames end where the file does."""


@dataclass(frozen=True)
class CheckedRecords:
    """Some records of a file, checked."""

    labels: Labels
    hashes: Hashes
    """Of each record's tokens: equal for equal ids under equal masks."""
    odd: Mapping[str, Sequence[int]]
    """Key of ODD -> the records that are so, by their number in the file."""


def scan(path: Path) -> Scanned:
    """Hash a file and walk its frames in one reading.

    Raises DataError for a file that is compressed, for a record that is no review's by its length, and for a file that
    changes meanwhile.
    """
    digest, records, longest, next_header, position, carried = hashlib.sha256(), 0, 0, 0, 0, b""
    with _opened(path) as file:
        before = os.fstat(file.fileno())
        while chunk := file.read(_BYTES_A_READ):
            digest.update(chunk)
            if position == 0 and chunk.startswith(b"\x1f\x8b"):
                raise DataError(
                    f"{path} is not a TFRecord file as it is: it is compressed with gzip. Uncompress it (gunzip), or "
                    "write it without compression."
                )
            data, base = carried + chunk, position - len(carried)
            position += len(chunk)
            while next_header + HEADER.size <= position:
                length, checksum = HEADER.unpack_from(data, next_header - base)
                if length > LONGEST_RECORD:
                    _refuse_length(path, records, length, checksum)
                    next_header = 2**63  # not a header: TensorFlow says which checksum is wrong before it comes here
                    break
                longest = max(longest, length)
                next_header += HEADER.size + length + FOOTER.size
                records += 1
            carried = data[max(next_header - base, 0) :][-HEADER.size :] if next_header < position else b""
        require_unchanged(path, before)
    return Scanned(digest.hexdigest(), records, longest, whole=next_header == position)


def require_unchanged(path: Path, before: os.stat_result) -> None:
    """Raise DataError if a file is not what it was when it was opened."""
    try:
        after = path.stat()
    except FileNotFoundError:
        raise _gone(path) from None
    if (before.st_ino, before.st_size, before.st_mtime_ns) != (after.st_ino, after.st_size, after.st_mtime_ns):
        raise DataError(f"{path} changes while it is read. Start the job when whatever writes it has ended.")


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise _gone(path) from None


def _gone(path: Path) -> DataError:
    return DataError(f"{path} was there when the job began, and was removed. Leave the channels alone meanwhile.")


def is_tfrecord(path: Path) -> bool:
    """Return whether a file begins as TFRecords do; False for what cannot be read, or is no file."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            header = file.read(HEADER.size)
    except OSError:
        return False
    return len(header) == HEADER.size and HEADER.unpack(header)[1] == masked_checksum(header[:8])


def check_records(path: Path, scanned: Scanned, limits: Limits) -> Iterator[CheckedRecords]:
    """Parse a file part by part; raise DataError at the first record that cannot be used."""
    first = 0
    for parsed in _parsed_chunks(path, scanned):
        for feature in SEQUENCE_FEATURES:
            _check_lengths(path, first, feature, parsed[feature], limits.max_seq_length)
        _check_lengths(path, first, LABEL_FEATURE, parsed[LABEL_FEATURE], 1)
        labels = parsed[LABEL_FEATURE].values.numpy()
        _check_range(path, first, LABEL_FEATURE, labels, NUMBER_OF_CLASSES, "star_rating - 1, from 0 to 4")
        ids, mask = (parsed[feature].values.numpy().reshape(-1, limits.max_seq_length) for feature in INPUT_FEATURES)
        allowed = "the weights' vocabulary; was another one used?"
        _check_range(path, first, "input_ids", ids, limits.vocabulary_size, allowed)
        _check_range(path, first, "input_mask", mask, 2, "0, 1")
        _check_first_position(path, first, mask)
        yield CheckedRecords(
            np.bincount(labels, minlength=NUMBER_OF_CLASSES), record_hashes(ids, mask), _odd(first, ids, mask, limits)
        )
        first += len(labels)


def record_hashes(ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64]) -> Hashes:
    """Return a 64-bit hash of each row of int64[records, length] under its mask; padding does not count."""
    factors = np.random.default_rng(1).integers(0, 2**64, ids.shape[1], dtype=np.uint64) | np.uint64(1)
    hashes = ((ids.astype(np.uint64) + np.uint64(1)) * mask.astype(np.uint64)) @ factors
    # Multilinear hashes are random in their high bits only.
    hashes ^= hashes >> np.uint64(32)
    hashes *= np.uint64(0x9E3779B97F4A7C15)
    return np.asarray(hashes ^ (hashes >> np.uint64(29)))


def _refuse_length(path: Path, record: int, length: int, checksum: int) -> None:
    if checksum == masked_checksum(length.to_bytes(8, "little")):
        raise DataError(
            f"{path}, record {record}: it claims to be {length:,} bytes long; up to {LONGEST_RECORD:,} are read, and a "
            "review of 512 tokens takes 15,000. Write the file again, or run `prepare` again."
        )


def _parsed_chunks(path: Path, scanned: Scanned) -> Iterator[dict[str, tf.RaggedTensor]]:
    specification = {name: tf.io.RaggedFeature(tf.int64) for name in (*SEQUENCE_FEATURES, LABEL_FEATURE)}
    records_at_once = max(min(RECORDS_A_CHECK, BYTES_A_CHECK // max(scanned.longest, 1)), 1)
    chunks = iter(without_autotune(tf.data.TFRecordDataset(str(path)).batch(records_at_once)))
    read = 0
    while True:
        try:
            serialized = next(chunks)
        except StopIteration:
            return
        except tf.errors.DataLossError as error:
            raise _damaged(path, str(error), read) from None
        try:
            yield tf.io.parse_example(serialized, specification)
        except UNPARSABLE:
            raise _unparsable(path, serialized, specification, read) from None
        read += int(serialized.shape[0])


def _damaged(path: Path, reason: str, read: int) -> DataError:
    if read == 0 and "corrupted record at 0" in reason:
        return DataError(
            f"{path} is not a TFRecord file: its first record has no valid checksum. Make it with `prepare`."
        )
    what = "ends in the middle of a record" if "truncated" in reason else "has a record whose checksum is wrong"
    return DataError(f"{path} {what} (after at least {read} whole ones). Copy it again, or run `prepare` again.")


def _unparsable(path: Path, serialized: tf.Tensor, specification: dict[str, object], read: int) -> DataError:
    for index, record in enumerate(serialized):
        try:
            tf.io.parse_example(record[tf.newaxis], specification)
        except UNPARSABLE:
            return DataError(
                f"{path}, record {read + index}: not a tf.train.Example whose features input_ids, input_mask, "
                "segment_ids and label_ids are int64. Write the features as Int64List."
            )
    return DataError(
        f"{path}: a record between {read} and {read + len(serialized)} cannot be parsed. Run `prepare` again."
    )


def _check_lengths(path: Path, first: int, feature: str, values: tf.RaggedTensor, expected: int) -> None:
    lengths = values.row_lengths().numpy()
    wrong = np.flatnonzero(lengths != expected)
    if not wrong.size:
        return
    where = f"{path}, record {first + wrong[0]}"
    if lengths[wrong[0]] == 0:
        raise DataError(
            f"{where}: feature {feature} is missing. Training needs input_ids, input_mask, segment_ids, label_ids."
        )
    if feature == LABEL_FEATURE:
        raise DataError(f"{where}: label_ids holds {lengths[wrong[0]]} values, one is needed (star_rating - 1).")
    raise DataError(
        f"{where}: {feature} holds {lengths[wrong[0]]} values, max_seq_length is {expected}. "
        f"Set max_seq_length={lengths[wrong[0]]}, or run `prepare` with {expected}."
    )


def _check_range(path: Path, first: int, feature: str, values: npt.NDArray[np.int64], limit: int, allowed: str) -> None:
    outside = (values < 0) | (values >= limit)
    if outside.any():
        record = int(np.argwhere(outside)[0][0])
        value = int(values[outside][0])
        raise DataError(
            f"{path}, record {first + record}: {feature} is {value}; allowed are {allowed} (below {limit})."
        )


def _check_first_position(path: Path, first: int, mask: npt.NDArray[np.int64]) -> None:
    """Refuse what the model's head cannot read: it looks at position 0, whatever the mask says there."""
    padded = np.flatnonzero(mask[:, 0] == 0)
    if padded.size:
        what = "no token is real" if not mask[padded[0]].any() else "it begins with padding"
        raise DataError(
            f"{path}, record {first + padded[0]}: {what} (input_mask is 0 at position 0, where [CLS] has to be). Write "
            "the records again with padding on the right (padding_side='right' in transformers)."
        )


def _odd(first: int, ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64], limits: Limits) -> dict[str, list[int]]:
    odd = {}
    if limits.cls_id is not None:
        odd["cls"] = ids[:, 0] != limits.cls_id
    if limits.pad_id is not None:
        is_padding = ids == limits.pad_id
        odd["padding"] = (is_padding & (mask == 1)).any(axis=1)
        odd["masked"] = (~is_padding & (mask == 0)).any(axis=1)
    return {kind: (first + np.flatnonzero(records)).tolist() for kind, records in odd.items() if records.any()}


def fingerprint_of(parts: Iterable[Hashes], most: int = LARGEST_FINGERPRINT) -> Fingerprint:
    """Collect the hashes of all parts; beyond `most` distinct ones they are sampled."""
    kept = Fingerprint(np.empty(0, np.uint64), 0)
    pending: list[Hashes] = []
    for part in parts:
        pending.append(part)
        if sum(map(len, pending)) > most:
            kept, pending = _thinned(kept, pending, most), []
    return _thinned(kept, pending, most)


def _thinned(kept: Fingerprint, pending: Sequence[Hashes], most: int) -> Fingerprint:
    hashes = Fingerprint(np.unique(np.concatenate([kept.hashes, *pending])), 0).sampled(kept.sampled_bits)
    while len(hashes.hashes) > most:
        hashes = hashes.sampled(hashes.sampled_bits + 1)
    return hashes


def without_autotune(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Return the dataset with autotuning off, and so what is made of it; for each that is iterated more than a moment.

    Autotuning has a thread per iterator, which sleeps for up to a minute between two looks, and an iterator's end waits
    for it. TensorFlow 2.21 wakes it before it marks the iterator as cancelled, so that a quick thread sees nothing new
    and sleeps on: one of twelve iterators took 34 s to end, and now and then fit did. Nothing is lost without it: what
    it could choose, these pipelines say themselves.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
