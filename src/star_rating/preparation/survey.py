"""The first pass over the reviews: what is usable, and what the split must know about each review.

    surveyed = survey(sources, Columns(), seed=42)
    surveyed.labels.size, [source.broken for source in surveyed.sources]

Reading twice costs a few microseconds a review against the tokenizer's hundred, and buys three things: every error in
the input is known before anything is written, the split and the balancing are exact, and hosts that see all files
come to the same split without talking to one another.

Memory does not hold reviews. It holds 17 bytes for each: two hashes and the label.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from star_rating.data import manifest
from star_rating.failures import DataError
from star_rating.preparation.reviews import EMPTY, Columns, read_reviews
from star_rating.preparation.sources import Source
from star_rating.preparation.throughput import Throughput

log = logging.getLogger(__name__)

LINES_NAMED = 3
"""How many empty and how many broken lines are named in the log and in messages."""
ROWS_BETWEEN_TICKS = 4096
_HASH_BYTES = 8


@dataclass(frozen=True)
class Survey:
    """What is known of each usable review, in the order in which the sources give them."""

    labels: npt.NDArray[np.uint8]
    """star_rating - 1."""
    text_hashes: npt.NDArray[np.uint64]
    """Equal for equal texts; keyed with the seed."""
    group_hashes: npt.NDArray[np.uint64]
    """Equal for equal review ids; where there is no id, the text's hash."""
    sources: tuple[manifest.Source, ...]
    empty_lines: tuple[str, ...]
    """The first few, as "file line n"."""
    broken_lines: tuple[str, ...]
    """The first few, as "file line n: what is wrong"."""


def survey(sources: Sequence[Source], columns: Columns, seed: int) -> Survey:
    """Read every row once; raise DataError when a file itself is damaged."""
    key = seed.to_bytes(8, "little")
    of_text = hashlib.blake2b(digest_size=_HASH_BYTES, key=key, person=b"review_body")
    of_id = hashlib.blake2b(digest_size=_HASH_BYTES, key=key, person=b"review_id")
    labels, text_hashes, group_hashes = bytearray(), bytearray(), bytearray()
    counts: list[manifest.Source] = []
    empty_lines: list[str] = []
    broken_lines: list[str] = []
    throughput = Throughput("Rows surveyed:")
    for source in sources:
        rows = kept = empty = 0
        for row in read_reviews(source.path, source.review_format, columns):
            rows += 1
            if rows % ROWS_BETWEEN_TICKS == 0:
                throughput.add(ROWS_BETWEEN_TICKS)
            if row.problem:
                empty += row.problem is EMPTY
                named, what = (empty_lines, "") if row.problem is EMPTY else (broken_lines, f": {row.problem}")
                if len(named) < LINES_NAMED:
                    named.append(f"{source.name} line {row.line}{what}")
                continue
            kept += 1
            labels.append(row.stars - 1)
            text_hash = _digest(of_text, row.body)
            text_hashes += text_hash
            group_hashes += _digest(of_id, row.review_id) if row.review_id else text_hash
        counts.append(manifest.Source(source.name, rows, kept, empty, broken=rows - kept - empty))
    return Survey(
        np.frombuffer(labels, np.uint8),
        np.frombuffer(text_hashes, np.uint64),
        np.frombuffer(group_hashes, np.uint64),
        tuple(counts),
        tuple(empty_lines),
        tuple(broken_lines),
    )


def _digest(keyed: hashlib.blake2b, text: str) -> bytes:
    hasher = keyed.copy()
    hasher.update(text.encode())
    return hasher.digest()


def check_rows(surveyed: Survey, max_broken_share: float) -> None:
    """Log the rows that are left out; raise DataError when more than `max_broken_share` (0 to 1) are broken."""
    rows = sum(source.rows for source in surveyed.sources)
    empty = sum(source.empty for source in surveyed.sources)
    broken = sum(source.broken for source in surveyed.sources)
    if empty:
        log.warning("Leaving out %s of %s rows whose text or rating is empty: %s", f"{empty:,}", f"{rows:,}",
                    _named(surveyed.empty_lines, empty))  # fmt: skip
    if not broken:
        return
    named = _named(surveyed.broken_lines, broken)
    if broken > max_broken_share * rows:
        raise DataError(
            f"{broken:,} of {rows:,} rows are broken, more than --max-broken-share {max_broken_share:g} allows: "
            f"{named}. Mend them, check the column names and the format, or allow more."
        )
    log.warning("Leaving out %s of %s rows that are broken: %s", f"{broken:,}", f"{rows:,}", named)


def _named(lines: Sequence[str], total: int) -> str:
    more = f"; and {total - len(lines):,} more" if total > len(lines) else ""
    return "; ".join(lines) + more
