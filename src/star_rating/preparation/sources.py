"""Which files `prepare` reads, which of them are this host's, and what their TFRecords are called.

for source in find_sources([Path("/opt/ml/processing/input")]).sources:
    print(source.name, source.review_format, source.part_stem)
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from star_rating.data.files import printable, readable, status, walk
from star_rating.data.fingerprint import SUFFIX
from star_rating.data.manifest import is_manifest
from star_rating.failures import DataError
from star_rating.preparation.reviews import READERS

log = logging.getLogger(__name__)

FORMAT_OF_SUFFIX = {
    ".tsv": "tsv",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
}
WRITTEN_BY_PREPARE = (".tfrecord", SUFFIX)
HIDDEN = "._"
"""How the names of files that are no data start: `.part-0.csv.crc`, `_SUCCESS`, as Spark and Hadoop leave them."""
LONGEST_STEM = 120
"""Of a part file's name, which may have 255 bytes; a host's name takes up to 63."""


@dataclass(frozen=True)
class InputFile:
    """One input file."""

    path: Path
    name: str
    """Its path below the input folder, for the manifest and for messages; the whole one where two are alike."""
    review_format: str
    """A key of READERS."""
    part_stem: str
    """What its TFRecord files are named after; no two sources of a split share one."""
    split: int = 0
    """Where its reviews go if they are split already, an index into SPLITS."""


@dataclass(frozen=True)
class Found:
    """The review files of the inputs, sorted by name, and a sentence for each kind of file that is none."""

    sources: tuple[InputFile, ...]
    left_out: tuple[str, ...]


def find_sources(inputs: Sequence[Path], review_format: str | None = None) -> Found:
    """Return the review files among and below `inputs`; a file that is there under two paths is read once.

    A named file must have a known ending, or `review_format` must say what it is. In a folder, other files, hidden
    ones and what `prepare` wrote are left out with a line in the log. Raises DataError for what cannot be read.
    """
    candidates: list[tuple[str, Path, str]] = []
    hidden: list[Path] = []
    others: list[Path] = []
    written: list[Path] = []
    for given in inputs:
        status(given)
        if not given.is_dir():
            candidates.append((given.name, readable(given), review_format or _needed_format(given)))
            continue
        tree = walk(given, HIDDEN)
        hidden.extend(tree.hidden)
        for path in tree.files:
            format_here = review_format or _format_by_name(path)
            if path.suffix in WRITTEN_BY_PREPARE:
                written.append(path)
            elif format_here is None:
                others.append(path)
            elif is_manifest(readable(path)):
                written.append(path)
            else:
                candidates.append((str(path.relative_to(given)), path, format_here))
    read, copies = _apart(sorted(candidates))
    left_out = (
        *_sentence("are no reviews by name", others),
        *_sentence("have a hidden name (it starts with . or _)", hidden),
        *_sentence("prepare wrote", written),
        *_sentence("are read under another path", copies),
    )
    for sentence in left_out:
        log.info("Passing over %s", sentence)
    stems = _unique_stems([name for name, _, _ in read])
    several = {name for name, count in Counter(name for name, _, _ in read).items() if count > 1}
    sources = [
        InputFile(path, printable(path if name in several else name), format_here, stem)
        for (name, path, format_here), stem in zip(read, stems, strict=True)
    ]
    return Found(tuple(sources), left_out)


def dealt_by_bytes(sizes: Sequence[int], hosts: int) -> list[int]:
    """Return which of `hosts` gets each file: the largest first, each to the host that has least by then."""
    owners = [0] * len(sizes)
    loads = [0] * hosts
    for index in sorted(range(len(sizes)), key=lambda index: (-sizes[index], index)):
        owners[index] = loads.index(min(loads))
        loads[owners[index]] += max(sizes[index], 1)
    return owners


def no_sources(inputs: Sequence[Path], found: Found) -> DataError:
    """Return the error for inputs without a single review file."""
    places = ", ".join(map(printable, inputs))
    endings = ", ".join(FORMAT_OF_SUFFIX)
    which = "none of the others" if found.left_out else "none"
    there = f" It holds {'; '.join(found.left_out)}." if found.left_out else ""
    return DataError(f"{places} holds no review file: {which} ends in {endings}, or these with .gz.{there}")


def _sentence(what: str, paths: Sequence[Path]) -> Iterator[str]:
    if paths:
        yield f"{len(paths):,} file(s) that {what}, such as {printable(min(paths).name)}"


def _apart(candidates: Iterable[tuple[str, Path, str]]) -> tuple[list[tuple[str, Path, str]], list[Path]]:
    """Return the candidates that are files of their own, and the paths that lead to one of those again."""
    read: dict[tuple[int, ...] | Path, tuple[str, Path, str]] = {}
    copies = []
    for name, path, review_format in candidates:
        found = status(path)
        # Size and time as well: some network file systems give several files one number.
        identity = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns) if found.st_ino else path.resolve()
        known = read.setdefault(identity, (name, path, review_format))
        if known[1] != path:
            copies.append(path)
    return list(read.values()), list(dict.fromkeys(copies))


def _needed_format(path: Path) -> str:
    found = _format_by_name(path)
    if found is None:
        raise DataError(f"{printable(path)}: its name does not tell its format. Add --format {' | '.join(READERS)}.")
    return found


def _format_by_name(path: Path) -> str | None:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return FORMAT_OF_SUFFIX.get(suffixes[-1]) if suffixes else None


def _unique_stems(names: Sequence[str]) -> list[str]:
    """Return for each file name its stem, cut where it is long, and numbered where another has it already.

    Names that differ in case alone count as one: a volume may not keep them apart.
    """
    taken: set[str] = set()
    stems = []
    for name in names:
        without_endings = re.sub(r"(\.[A-Za-z]+)?(\.gz)?$", "", Path(name).name, flags=re.IGNORECASE)
        stem = re.sub(r"[^A-Za-z0-9._-]+", "-", without_endings)[:LONGEST_STEM] or "reviews"
        unique, number = stem, 1
        while unique.lower() in taken:
            number += 1
            unique = f"{stem}-{number}"
        taken.add(unique.lower())
        stems.append(unique)
    return stems
