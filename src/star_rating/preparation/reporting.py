"""What `prepare` tells people: a log line every ten seconds while reviews go by, and a table at the end.

throughput = Throughput("Reviews tokenised:", total=1_000_000)
throughput.add(2048)
print(summary(prepare(settings)))
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from star_rating.data.manifest import Manifest
from star_rating.data.schema import STARS

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 10.0


class Throughput:
    """Counts what is done and logs it now and then."""

    def __init__(self, what: str, total: int | None = None) -> None:
        self._what = what
        self._total = total
        self._done = 0
        self._started = self._last_line = time.monotonic()

    def add(self, reviews: int) -> None:
        """Count more reviews, and write a line if the last one is ten seconds old."""
        self._done += reviews
        now = time.monotonic()
        if now - self._last_line < SECONDS_BETWEEN_LINES:
            return
        self._last_line = now
        rate = self._done / (now - self._started)
        of_total = f" of {self._total:,} ({self._done / self._total:.0%})" if self._total else ""
        log.info("%s %s%s, %s a second", self._what, f"{self._done:,}", of_total, f"{rate:,.0f}")


def summary(manifests: Sequence[Manifest]) -> str:
    """Return reviews per split and per star rating, how many were cut, and what became of the rows."""
    if not manifests:
        return "This host has no review file: it wrote nothing."
    total = sum(manifest.records for manifest in manifests)
    header = ["", "reviews", "share", *(f"{stars} star" + "s" * (stars != "1") for stars in STARS), "cut"]
    rows = [header, *(_cells(manifest, total) for manifest in manifests)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    table = [
        "  ".join(cell.ljust(width) if column == 0 else cell.rjust(width) for column, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(row, widths, strict=True)) for row in rows)
    ]
    return "\n".join([*table, *_notes(manifests)])


def _cells(manifest: Manifest, total: int) -> list[str]:
    records = manifest.records
    return [
        manifest.split,
        f"{records:,}",
        _percent(records, total),
        *(_percent(manifest.label_histogram[stars], records) for stars in STARS),
        _percent(manifest.truncated, records),
    ]


def _notes(manifests: Sequence[Manifest]) -> list[str]:
    sources = manifests[0].sources
    rows, empty, broken = (sum(getattr(source, name) for source in sources) for name in ("rows", "empty", "broken"))
    dropped = sum(manifest.dropped_by_balancing for manifest in manifests)
    read = f"{rows:,} rows read from {len(sources)} file(s): {empty:,} empty, {broken:,} broken"
    lines = sum(source.lines for source in sources)
    kinds = (
        ("kept", "kept_lines"),
        ("empty", "empty_lines"),
        ("broken", "broken_lines"),
        ("header or blank", "other_lines"),
    )
    of_lines = ", ".join(f"{sum(getattr(source, name) for source in sources):,} {kind}" for kind, name in kinds)
    leaks = sum(manifest.dropped_as_leaks for manifest in manifests)
    left_out = [
        *([f"{leaks:,} left out of train as another split has them, too"] if leaks else []),
        *([f"{dropped:,} left out to balance the classes"] if dropped else []),
    ]
    return [
        f"{', '.join([read, *left_out])}.",
        *([f"{lines:,} lines read: {of_lines}."] if lines else []),
        f"Cut: longer than max_seq_length {manifests[0].max_seq_length}. Tokenizer: {manifests[0].tokenizer.name}.",
    ]


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"
