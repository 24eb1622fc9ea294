"""A plain log line every ten seconds while reviews go by: how many, how fast.

throughput = Throughput("Reviews tokenised:", total=1_000_000)
throughput.add(2048)
"""

from __future__ import annotations

import logging
import time

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
