"""The first pass over the reviews: what is usable, and what the split must know about each review.

    surveyed = survey(sources, Columns(), seed=42, has_token=tokenizer.has_token)
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
from star_rating.data.text_processing import UNCHANGED, TextProcessing
from star_rating.failures import DataError
from star_rating.preparation.reporting import Throughput
from star_rating.preparation.reviews import LEFT_EMPTY, Columns, HasToken, ReviewFile, Row, no_column, open_reviews
from star_rating.preparation.sources import InputFile

log = logging.getLogger(__name__)

LINES_NAMED = 3
"""How many empty and how many broken lines are named in the log and in messages."""
DIALECTS_NAMED = 10
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
    sources: tuple[manifest.SourceCounts, ...]
    files: tuple[ReviewFile, ...]
    """The sources as they are read, for the second pass."""
    empty_lines: tuple[str, ...]
    """The first few, as "file line n"."""
    broken_lines: tuple[str, ...]
    """The first few, as "file line n: what is wrong"."""


def survey(
    sources: Sequence[InputFile],
    columns: Columns,
    seed: int,
    has_token: HasToken,
    processing: TextProcessing = UNCHANGED,
) -> Survey:
    """Read every row once; raise DataError when a file itself is damaged, or a row or line is not accounted for."""
    throughput = Throughput("Files looked at:", len(sources))
    files = []
    for source in sources:
        files.append(open_reviews(source.path, source.review_format, columns, has_token, processing))
        throughput.add(1)
    _log_dialects(sources, files)
    key = seed.to_bytes(8, "little")
    of_text = hashlib.blake2b(digest_size=_HASH_BYTES, key=key, person=b"review_body")
    of_id = hashlib.blake2b(digest_size=_HASH_BYTES, key=key, person=b"review_id")
    labels, text_hashes, group_hashes = bytearray(), bytearray(), bytearray()
    counts: list[manifest.SourceCounts] = []
    empty_lines: list[str] = []
    broken_lines: list[str] = []
    throughput = Throughput("Rows surveyed:")
    for source, file in zip(sources, files, strict=True):
        rows = kept = empty = lines_kept = lines_empty = lines_broken = 0
        for row in file:
            rows += 1
            if rows % ROWS_BETWEEN_TICKS == 0:
                throughput.add(ROWS_BETWEEN_TICKS)
            if row.problem:
                is_empty = row.problem in LEFT_EMPTY
                empty += is_empty
                lines_empty += row.lines * is_empty
                lines_broken += row.lines * (not is_empty)
                named, what = (empty_lines, "") if is_empty else (broken_lines, _what(row))
                if len(named) < LINES_NAMED:
                    named.append(f"{source.name} {file.unit} {row.line}{what}")
                continue
            kept += 1
            lines_kept += row.lines
            labels.append(row.stars - 1)
            text_hash = _digest(of_text, row.body)
            text_hashes += text_hash
            group_hashes += _digest(of_id, row.review_id) if row.review_id else text_hash
        count = manifest.SourceCounts(
            source.name, rows, kept, empty, rows - kept - empty, lines_kept, lines_empty, lines_broken, file.other_lines
        )
        if count.lines != file.lines:
            raise DataError(
                f"{source.name}: {count.lines:,} of its {file.lines:,} lines are accounted for. Run `prepare` again "
                "when nothing writes to it; if it happens again, please report it with the image's version."
            )
        counts.append(count)
    without_rows = [count.name for count in counts if not count.rows]
    if without_rows:
        log.warning("Leaving out %s file(s) without a row, such as %s", f"{len(without_rows):,}", without_rows[0])
    _check_keys(sources, files, counts)
    return Survey(
        np.frombuffer(labels, np.uint8),
        np.frombuffer(text_hashes, np.uint64),
        np.frombuffer(group_hashes, np.uint64),
        tuple(counts),
        tuple(files),
        tuple(empty_lines),
        tuple(broken_lines),
    )


def _log_dialects(sources: Sequence[InputFile], files: Sequence[ReviewFile]) -> None:
    """Log how the files are read, a line for each way."""
    alike: dict[str, list[str]] = {}
    for source, file in zip(sources, files, strict=True):
        if file.dialect:
            alike.setdefault(f"{source.review_format}: {file.dialect}", []).append(source.name)
    for way, names in list(alike.items())[:DIALECTS_NAMED]:
        log.info("Reading %s file(s), such as %s, as %s", f"{len(names):,}", names[0], way)
    if len(alike) > DIALECTS_NAMED:
        log.info("Reading the others in %d other ways", len(alike) - DIALECTS_NAMED)


def _check_keys(
    sources: Sequence[InputFile], files: Sequence[ReviewFile], counts: Sequence[manifest.SourceCounts]
) -> None:
    """Raise DataError for a JSON key that no row of any file has; log the files that alone lack one."""
    with_rows = [
        (source, file)
        for source, file, count in zip(sources, files, counts, strict=True)
        if count.rows and source.review_format == "jsonl"
    ]
    lacking = [(source, file) for source, file in with_rows if file.unseen]
    for source, file in lacking:
        for name, option in file.unseen.items():
            if all(name in other.unseen for _, other in with_rows):
                raise no_column(source.name, name, file.names, option)
    if lacking:
        log.warning(
            "%s file(s) have no row with all keys, such as %s, which lacks %s: their rows count as empty",
            f"{len(lacking):,}",
            lacking[0][0].name,
            ", ".join(lacking[0][1].unseen),
        )


def _what(row: Row) -> str:
    return f": {row.problem}" + (f" ({row.lines:,} lines)" if row.lines > 1 else "")


def _digest(keyed: hashlib.blake2b, text: str) -> bytes:
    hasher = keyed.copy()
    hasher.update(text.encode())
    return hasher.digest()


def check_rows(surveyed: Survey, max_broken_share: float) -> None:
    """Log the rows that are left out; raise DataError when more than `max_broken_share` (0 to 1) are broken."""
    rows = sum(source.rows for source in surveyed.sources)
    empty = sum(source.empty for source in surveyed.sources)
    broken = sum(source.broken for source in surveyed.sources)
    # A row whose quotes do not match takes all lines up to where rows go on, and these may have been rows.
    broken_lines = sum(source.broken_lines for source in surveyed.sources)
    lines = sum(source.lines - source.other_lines for source in surveyed.sources)
    if empty:
        log.warning("Leaving out %s of %s rows whose text or rating is empty: %s", f"{empty:,}", f"{rows:,}",
                    _named(surveyed.empty_lines, empty))  # fmt: skip
    if not broken:
        return
    named = _named(surveyed.broken_lines, broken)
    if broken > max_broken_share * rows or broken_lines > max_broken_share * lines:
        and_lines = f", {broken_lines:,} of {lines:,} lines," if broken_lines > broken else ""
        raise DataError(
            f"{broken:,} of {rows:,} rows{and_lines} are broken, more than --max-broken-share {max_broken_share:g} "
            f"allows: {named}. Mend them, check the column names and the format, or allow more."
        )
    log.warning("Leaving out %s of %s rows that are broken: %s", f"{broken:,}", f"{rows:,}", named)


def _named(lines: Sequence[str], total: int) -> str:
    more = f"; and {total - len(lines):,} more" if total > len(lines) else ""
    return "; ".join(lines) + more
