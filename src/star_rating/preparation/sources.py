"""Which files `prepare` reads, which of them are this host's, and what their TFRecords are called.

for source in find_sources([Path("/opt/ml/processing/input")]):
    print(source.name, source.review_format, source.part_stem)
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True)
class Source:
    """One input file."""

    path: Path
    name: str
    """Its path below the input folder, for the manifest and for messages."""
    review_format: str
    """A key of READERS."""
    part_stem: str
    """What its TFRecord files are named after; no two sources share one."""


def find_sources(inputs: Sequence[Path], review_format: str | None = None) -> list[Source]:
    """Return the review files among and below `inputs`, sorted by name.

    A named file must have a known ending, or `review_format` must say what it is; in a folder other files are passed
    over with a line in the log, and hidden ones (`.crc`, `_SUCCESS`: Spark's marks) without.
    """
    found: dict[Path, tuple[str, str]] = {}
    passed_over: list[str] = []
    for given in inputs:
        if not given.exists():
            raise DataError(f"{given} does not exist. Point --input at a file of reviews, or at a folder of them.")
        for path in _files(given):
            format_here = review_format or _format_by_name(path)
            if format_here is not None:
                name = path.name if path == given else str(path.relative_to(given))
                found[path.resolve()] = (name, format_here)
            elif path == given:
                raise DataError(f"{path}: its name does not tell its format. Add --format {' | '.join(READERS)}.")
            else:
                passed_over.append(path.name)
    if passed_over:
        log.info("Passing over %d file(s) that are no reviews by name, such as %s", len(passed_over), min(passed_over))
    ordered = sorted(found.items(), key=lambda item: (item[1][0], item[0]))
    stems = _unique_stems([name for _, (name, _) in ordered])
    return [
        Source(path, name, format_here, stem) for (path, (name, format_here)), stem in zip(ordered, stems, strict=True)
    ]


def dealt_by_bytes(sizes: Sequence[int], hosts: int) -> list[int]:
    """Return which of `hosts` gets each file: the largest first, each to the host that has least by then."""
    owners = [0] * len(sizes)
    loads = [0] * hosts
    for index in sorted(range(len(sizes)), key=lambda index: (-sizes[index], index)):
        owners[index] = loads.index(min(loads))
        loads[owners[index]] += max(sizes[index], 1)
    return owners


def no_sources(inputs: Sequence[Path]) -> DataError:
    """Return the error for inputs without a single review file."""
    places = ", ".join(map(str, inputs))
    return DataError(f"{places} holds no review file: none ends in {_known_endings()}, or these with .gz.")


def _known_endings() -> str:
    return ", ".join(FORMAT_OF_SUFFIX)


def _files(given: Path) -> list[Path]:
    if given.is_file():
        return [given]
    below = (path for path in given.rglob("*") if path.is_file())
    return [path for path in below if not any(part[0] in "._" for part in path.relative_to(given).parts)]


def _format_by_name(path: Path) -> str | None:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return FORMAT_OF_SUFFIX.get(suffixes[-1]) if suffixes else None


def _unique_stems(names: Sequence[str]) -> list[str]:
    """Return for each file name its stem, numbered where another has it already."""
    taken: set[str] = set()
    stems = []
    for name in names:
        without_endings = re.sub(r"(\.[A-Za-z]+)?(\.gz)?$", "", Path(name).name, flags=re.IGNORECASE)
        stem = re.sub(r"[^A-Za-z0-9._-]+", "-", without_endings) or "reviews"
        unique, number = stem, 1
        while unique in taken:
            number += 1
            unique = f"{stem}-{number}"
        taken.add(unique)
        stems.append(unique)
    return stems
