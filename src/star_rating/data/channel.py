"""A channel of TFRecords, checked whole before training reads it.

    channel = open_channel("train", Path("/opt/ml/input/data/train"), max_seq_length=64, vocabulary_size=30522)

A file that `prepare` made is checked against its manifest's hash. A channel without manifests, of TFRecords made
elsewhere, is parsed record by record: what is wrong is said with its file and record before a step is paid for.
leakage.py then checks the channels of a job against each other.
"""

from __future__ import annotations

import fnmatch
import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from star_rating.data.files import printable, visible_files, walk
from star_rating.data.fingerprint import SUFFIX, Fingerprint, read_fingerprint
from star_rating.data.manifest import PATTERN, KnownTokenizer, Manifest, read_manifests
from star_rating.data.records import (
    ODD,
    Hashes,
    Labels,
    Limits,
    Scanned,
    check_records,
    fingerprint_of,
    is_tfrecord,
    scan,
)
from star_rating.data.schema import NUMBER_OF_CLASSES, STARS
from star_rating.data.text_processing import UNCHANGED, TextProcessing
from star_rating.failures import DataError

log = logging.getLogger(__name__)

RECORDS = "*.tfrecord"
READ = (RECORDS, PATTERN, f"texts-*{SUFFIX}")
HIDDEN = "._"
"""Characters that hide a file or folder when its name begins with one, as in Hadoop and Spark."""
MOST_SNIFFED = 1000
"""Files of other names that are opened to see whether they hold TFRecords."""


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
    manifests: tuple[Manifest, ...] = field(default=(), compare=False)
    texts: Fingerprint | None = field(default=None, compare=False)
    """Of the texts that the records were made of; None where a manifest has none, or there is no manifest."""
    tokens: Fingerprint | None = field(default=None, compare=False)
    """Of the records' tokens; None where manifests vouch for files, which are then not parsed."""

    def all_digests(self) -> tuple[str, ...]:
        """Return the hashes of the channel's files."""
        return self.digests

    @property
    def processing(self) -> TextProcessing:
        """Return how the texts became token ids, so far as manifests say it."""
        return self.manifests[0].processing if self.manifests else UNCHANGED

    @property
    def stars(self) -> dict[str, int]:
        """Return records per star rating, as run.json and the log show them."""
        return dict(zip(STARS, self.label_histogram, strict=True))


def open_channel(
    name: str,
    folder: Path | None,
    *,
    max_seq_length: int,
    vocabulary_size: int,
    tokenizer: KnownTokenizer | None = None,
    shared: bool = False,
    on_progress: Callable[[], object] = lambda: None,
) -> Channel:
    """Check every record of a channel; raise DataError that names the file, the record and the remedy.

    With `shared` what is here may be a part of the channel, or nothing of it (distributed/channels.py has the whole).
    `on_progress` is called after each file and each few thousand records: whoever waits can tell slow from hanging.
    """
    if folder is None or not folder.is_dir():
        if shared:
            return Channel(name, (), 0, (0,) * NUMBER_OF_CLASSES, combined_digest([]))
        raise no_channel(name)
    tree = walk(folder, HIDDEN)
    visible = set(tree.files)
    files = tuple(path for path in visible_files(folder, RECORDS) if path in visible)
    others = [path for path in tree.files if not _is_read(path)] + list(tree.hidden)
    if not files and not shared:
        there = f"; there is {_shown(others)}" if others else ""
        raise DataError(
            f"Channel {name!r} ({folder}) holds no *.tfrecord file{there}. Point it at the folder that `prepare` wrote "
            "for it; a TFRecord file needs the ending .tfrecord, and no compression."
        )
    _name_what_is_not_read(name, others)
    manifests = read_manifests(folder)
    _check_manifests(name, manifests, max_seq_length, tokenizer.sha256 if tokenizer else None)
    not_here = {file.name for manifest in manifests for file in manifest.files} - {path.name for path in files}
    if not_here and not shared:
        raise files_missing(name, not_here)
    limits = Limits(
        max_seq_length,
        vocabulary_size,
        tokenizer.cls_id if tokenizer else None,
        tokenizer.pad_id if tokenizer else None,
    )
    checked = _check_files(files, manifests, limits, on_progress)
    digests = tuple(checked.digests.values())
    if not shared:
        require_listed(
            name, {str(path.relative_to(folder)): sha256 for path, sha256 in checked.digests.items()}, manifests
        )
    checked.warn(name)
    records = int(checked.histogram.sum())
    if records == 0 and not shared:
        raise DataError(f"Channel {name!r} ({folder}) holds no record: its *.tfrecord files are empty.")
    return Channel(
        name,
        files,
        records,
        tuple(int(count) for count in checked.histogram),
        combined_digest(digests),
        digests,
        tuple(sorted(not_here)),
        tuple(manifests),
        _texts(folder, manifests),
        checked.tokens,
    )


def _is_read(path: Path) -> bool:
    return any(fnmatch.fnmatchcase(path.name, pattern) for pattern in READ)


def _shown(paths: Sequence[Path], most: int = 3) -> str:
    more = f" and {len(paths) - most:,} more" if len(paths) > most else ""
    return ", ".join(map(printable, paths[:most])) + more


def _texts(folder: Path, manifests: Sequence[Manifest]) -> Fingerprint | None:
    """Return the hashes of the texts of all manifests below a folder; None where one of them has none here.

    S3 may have dealt a manifest and its hashes to two hosts, and records may have been copied without them.
    """
    if not manifests or not all(manifest.texts for manifest in manifests):
        return None
    parts = []
    for path, manifest in zip(visible_files(folder, PATTERN), manifests, strict=True):
        assert manifest.texts is not None
        if not (path.parent / Path(manifest.texts.name).name).exists():
            log.warning("%s lacks its %s: channels are compared by their tokens", path, printable(manifest.texts.name))
            return None
        parts.append(read_fingerprint(path.parent, manifest.texts))
    return Fingerprint.union(parts)


def _name_what_is_not_read(name: str, others: Sequence[Path]) -> None:
    """Say which files are passed over, aloud where they hold TFRecords or are called so."""
    meant = [path for path in others[:MOST_SNIFFED] if "tfrecord" in path.name.lower() or is_tfrecord(path)]
    if meant:
        log.warning(
            "channel %s: %d file(s) of TFRecords are NOT read, as their names do not end in .tfrecord, or begin with "
            "'.' or '_': %s. If they belong to the channel, name them so (and uncompress them); if not, remove them",
            name,
            len(meant),
            _shown(meant),
        )
    if len(others) > len(meant):
        rest = sorted(set(others) - set(meant))
        log.info("channel %s: not read, as no TFRecords by name: %s", name, _shown(rest))


@dataclass
class _CheckedFiles:
    """What the files of a channel hold."""

    digests: dict[Path, str]
    histogram: Labels
    tokens: Fingerprint | None
    """None where a file was not parsed."""
    odd: Counter[str]
    first_odd: dict[str, tuple[Path, int]]
    """Of each kind, file and record."""

    def warn(self, name: str) -> None:
        """Say of which records training may not be what was meant."""
        for kind, (path, record) in self.first_odd.items():
            log.warning(
                "channel %s: %d record(s), the first of them %s, record %d, %s",
                name,
                self.odd[kind],
                path,
                record,
                ODD[kind],
            )


def _check_files(
    files: Sequence[Path], manifests: Sequence[Manifest], limits: Limits, on_progress: Callable[[], object]
) -> _CheckedFiles:
    """Read each file; parse what no manifest vouches for."""
    scanned: dict[Path, Scanned] = {}
    for path in files:
        scanned[path] = scan(path)
        on_progress()
    digests = {path: file.sha256 for path, file in scanned.items()}
    histogram, vouched_for = _promised_labels(manifests, list(digests.values()))
    promised = {file.sha256: file for manifest in manifests for file in manifest.files}
    names = {file.name for file in promised.values()}
    checked = _CheckedFiles(digests, histogram, None, Counter(), {})

    def parsed() -> Iterator[Hashes]:
        for path, file in scanned.items():
            if file.sha256 in vouched_for:
                _require_promised_frames(path, file, promised[file.sha256].records)
                continue
            if path.name in names and file.sha256 not in promised:
                raise DataError(
                    f"{path} is not the file that its manifest describes: it was cut off or changed. Run `prepare` "
                    "again."
                )
            for records in check_records(path, file, limits):
                checked.histogram += records.labels
                for kind, numbers in records.odd.items():
                    checked.odd[kind] += len(numbers)
                    checked.first_odd.setdefault(kind, (path, numbers[0]))
                on_progress()
                yield records.hashes

    tokens = fingerprint_of(parsed())
    checked.tokens = None if vouched_for else tokens
    return checked


def _require_promised_frames(path: Path, scanned: Scanned, records: int) -> None:
    """Raise DataError for a file that has the hash in its manifest and not what the manifest says of it."""
    if not scanned.whole or scanned.records != records:
        raise DataError(
            f"{path} holds {scanned.records:,} whole record(s), its manifest says {records:,}. Run `prepare` again."
        )


def combined_digest(digests: Iterable[str]) -> str:
    """Return one sha256 for those of files in order."""
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def no_channel(name: str) -> DataError:
    """Return the error for a channel that the job lacks."""
    return DataError(f"The job has no channel {name!r}. Add it to InputDataConfig, or mount it as input/data/{name}.")


_OF_NOTHING = hashlib.sha256(b"").hexdigest()


def require_listed(name: str, digests: Mapping[str, str], manifests: Sequence[Manifest]) -> None:
    """Raise DataError for files (path below the folder -> sha256) beside manifests that know nothing of them.

    What an earlier run of `prepare` has left where a later one wrote looks so.
    """
    listed = {file.sha256 for manifest in manifests for file in manifest.files}
    # An empty file holds no record of anybody's: Spark leaves one for each empty partition.
    unlisted = sorted(path for path, sha256 in digests.items() if sha256 not in {*listed, _OF_NOTHING})
    if manifests and unlisted:
        raise DataError(
            f"Channel {name!r}: {len(unlisted)} of {len(digests)} record file(s) are in no manifest of its folder, for "
            f"example {unlisted[0]}. Another run of `prepare`, whose split may be another one, leaves such files: give "
            "each run a prefix of its own, or remove these files. If they belong there, remove the manifests."
        )
    here = set(digests.values())
    missing = [file.name for manifest in manifests for file in manifest.files if file.sha256 not in here]
    if missing:
        raise files_missing(name, missing)


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


def _check_manifests(
    name: str, manifests: Sequence[Manifest], max_seq_length: int, tokenizer_sha256: str | None
) -> None:
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


def _promised_labels(manifests: Sequence[Manifest], digests: list[str]) -> tuple[Labels, set[str]]:
    """Add up the labels of the manifests whose files are all here, once each; return their files' hashes too.

    A file that several manifests list, as where a manifest has been copied, is vouched for by none: it is parsed.
    """
    histogram = np.zeros(NUMBER_OF_CLASSES, dtype=np.int64)
    vouched_for: set[str] = set()
    copies = Counter(digests)
    listed = Counter(file.sha256 for manifest in manifests for file in manifest.files)
    for manifest in manifests:
        hashes = {file.sha256 for file in manifest.files}
        if all(copies[digest] == listed[digest] == 1 for digest in hashes):
            histogram += [manifest.label_histogram[stars] for stars in STARS]
            vouched_for |= hashes
    return histogram, vouched_for
