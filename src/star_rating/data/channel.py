"""A channel of TFRecords, checked whole before training reads it.

    channel = open_channel("train", Path("/opt/ml/input/data/train"), max_seq_length=64, vocabulary_size=30522)

A file that `prepare` made is checked against its manifest's hash. Every other file (TFRecords made elsewhere have no
manifest) is parsed record by record: what is wrong is said with its file and record before a step is paid for.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from star_rating.data.files import visible_files
from star_rating.data.manifest import Manifest, read_manifests
from star_rating.data.tuning import untuned
from star_rating.failures import DataError

log = logging.getLogger(__name__)

NUMBER_OF_CLASSES = 5
SEQUENCE_FEATURES = ("input_ids", "input_mask", "segment_ids")
RECORDS_A_CHECK = 4096

UNPARSABLE = (tf.errors.InvalidArgumentError, UnicodeDecodeError)
"""TensorFlow's error quotes the record: where its bytes are not UTF-8, Python cannot even make the message."""

Labels = npt.NDArray[np.int64]
"""Records per class."""


@dataclass(frozen=True)
class Channel:
    """A checked channel."""

    name: str
    files: tuple[Path, ...]
    """Sorted by path, so that the order of reading never depends on the file system."""
    records: int
    label_histogram: tuple[int, ...]
    """Records per class, from one star to five."""
    sha256: str
    """Of the files' own hashes, in order."""
    digests: tuple[str, ...] = ()
    """The files' own hashes (sha256)."""
    not_here: tuple[str, ...] = ()
    """Names of files that a manifest lists and that are not here; other hosts of the job may have them."""

    @property
    def stars(self) -> dict[str, int]:
        """Return records per star rating, as run.json and the log show them."""
        return {str(stars): count for stars, count in enumerate(self.label_histogram, start=1)}


def open_channel(
    name: str,
    folder: Path | None,
    *,
    max_seq_length: int,
    vocabulary_size: int,
    tokenizer_sha256: str | None = None,
    shared: bool = False,
    on_progress: Callable[[], object] = lambda: None,
) -> Channel:
    """Check every record of a channel; raise DataError that names the file, the record and the remedy.

    With `shared` what is here may be a part of the channel, or nothing of it (hosts/channels.py has the whole).
    `on_progress` is called after each file and each few thousand records: whoever waits can tell slow from hanging.
    """
    if folder is None or not folder.is_dir():
        if shared:
            return Channel(name, (), 0, (0,) * NUMBER_OF_CLASSES, together([]))
        raise no_channel(name)
    files = visible_files(folder, "*.tfrecord")
    if not files and not shared:
        raise DataError(
            f"Channel {name!r} ({folder}) holds no *.tfrecord file. Point it at the folder that `prepare` wrote for it."
        )
    manifests = read_manifests(folder)
    _check_manifests(name, manifests, max_seq_length, tokenizer_sha256)
    not_here = {file.name for manifest in manifests for file in manifest.files} - {path.name for path in files}
    if not_here and not shared:
        raise files_missing(name, not_here)
    digests, histogram = _checked_files(files, manifests, max_seq_length, vocabulary_size, on_progress)
    records = int(histogram.sum())
    if records == 0 and not shared:
        raise DataError(f"Channel {name!r} ({folder}) holds no record: its *.tfrecord files are empty.")
    return Channel(
        name,
        files,
        records,
        tuple(int(count) for count in histogram),
        together(digests),
        digests,
        tuple(sorted(not_here)),
    )


def _checked_files(
    files: Sequence[Path],
    manifests: list[Manifest],
    max_seq_length: int,
    vocabulary_size: int,
    on_progress: Callable[[], object],
) -> tuple[tuple[str, ...], Labels]:
    """Return the files' hashes and their labels; parse what no manifest vouches for."""
    digests = {}
    for path in files:
        digests[path] = _sha256(path)
        on_progress()
    histogram, vouched_for = _promised_labels(manifests, list(digests.values()))
    promised = {file.name: file.sha256 for manifest in manifests for file in manifest.files}
    for path, digest in digests.items():
        if digest in vouched_for:
            continue
        if path.name in promised and digest not in promised.values():
            raise DataError(
                f"{path} is not the file that its manifest describes: it was cut off or changed. Run `prepare` again."
            )
        for labels in _check_records(path, max_seq_length, vocabulary_size):
            histogram += labels
            on_progress()
    return tuple(digests.values()), histogram


def together(digests: Iterable[str]) -> str:
    """Return one sha256 for those of files in order."""
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def no_channel(name: str) -> DataError:
    """Return the error for a channel that the job lacks."""
    return DataError(f"The job has no channel {name!r}. Add it to InputDataConfig, or mount it as input/data/{name}.")


def files_missing(name: str, missing: Collection[str]) -> DataError:
    """Return the error for a channel that lacks files of its manifests."""
    return DataError(
        f"Channel {name!r} lacks {len(missing)} file(s) of its manifest, for example {min(missing)}. Upload the whole "
        "folder again, or run `prepare` again."
    )


def require_several_classes(channel: Channel) -> None:
    """Raise DataError if all of a training channel's records carry one label."""
    present = [stars for stars, count in enumerate(channel.label_histogram, start=1) if count]
    if len(present) == 1:
        raise DataError(
            f"All {channel.records} records of channel {channel.name!r} have {present[0]} star(s): there is nothing to "
            "learn. Check the star_rating column that `prepare` read."
        )


def _check_manifests(name: str, manifests: list[Manifest], max_seq_length: int, tokenizer_sha256: str | None) -> None:
    for manifest in manifests:
        if manifest.max_seq_length != max_seq_length:
            raise DataError(
                f"Channel {name!r} was prepared with max_seq_length {manifest.max_seq_length}, the job says "
                f"{max_seq_length}. Set max_seq_length={manifest.max_seq_length}, or run `prepare` again."
            )
        if tokenizer_sha256 and manifest.tokenizer.sha256 != tokenizer_sha256:
            raise DataError(
                f"Channel {name!r} was prepared with the tokenizer of {manifest.tokenizer.name}, which is not that of "
                "the pretrained weights: its ids mean other words. Run `prepare` with the weights that you train."
            )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _promised_labels(manifests: list[Manifest], digests: list[str]) -> tuple[Labels, set[str]]:
    """Add up the labels of the manifests whose files are all here, once each; return their files' hashes too."""
    histogram = np.zeros(NUMBER_OF_CLASSES, dtype=np.int64)
    vouched_for: set[str] = set()
    copies = Counter(digests)
    for manifest in manifests:
        hashes = {file.sha256 for file in manifest.files}
        if len(hashes) == len(manifest.files) and all(copies[digest] == 1 for digest in hashes):
            histogram += [manifest.label_histogram[str(stars)] for stars in range(1, NUMBER_OF_CLASSES + 1)]
            vouched_for |= hashes
    return histogram, vouched_for


def _check_records(path: Path, max_seq_length: int, vocabulary_size: int) -> Iterator[Labels]:
    """Parse a file and yield label counts, part by part; raise DataError at the first record that cannot be used."""
    first = 0
    for parsed in _parsed_chunks(path):
        for feature in SEQUENCE_FEATURES:
            _check_lengths(path, first, feature, parsed[feature], max_seq_length)
        _check_lengths(path, first, "label_ids", parsed["label_ids"], 1)
        labels = parsed["label_ids"].values.numpy()
        _check_range(path, first, "label_ids", labels, NUMBER_OF_CLASSES, "star_rating - 1, from 0 to 4")
        ids = parsed["input_ids"].values.numpy().reshape(-1, max_seq_length)
        _check_range(path, first, "input_ids", ids, vocabulary_size, "the weights' vocabulary; was another one used?")
        _check_range(
            path, first, "input_mask", parsed["input_mask"].values.numpy().reshape(-1, max_seq_length), 2, "0, 1"
        )
        yield np.bincount(labels, minlength=NUMBER_OF_CLASSES)
        first += len(labels)


def _parsed_chunks(path: Path) -> Iterator[dict[str, tf.RaggedTensor]]:
    specification = {name: tf.io.RaggedFeature(tf.int64) for name in (*SEQUENCE_FEATURES, "label_ids")}
    chunks = iter(untuned(tf.data.TFRecordDataset(str(path)).batch(RECORDS_A_CHECK)))
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
    if feature == "label_ids":
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
