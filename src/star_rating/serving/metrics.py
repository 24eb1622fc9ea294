"""Counters of a server, in Prometheus' text format (exposition format 0.0.4).

metrics = Metrics()
metrics.requests.add(("invocations", 200))
metrics.text(queue=3, is_ready=True)
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Iterator

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
REVIEWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Histogram:
    """How many observations were at most as large as each bound."""

    def __init__(self, name: str, explanation: str, bounds: tuple[float, ...]) -> None:
        self.name = name
        self.explanation = explanation
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one; not by two threads at a time."""
        self.counts[bisect.bisect_left(self.bounds, value)] += 1
        self.sum += value

    def lines(self) -> Iterator[str]:
        """Yield them, each bucket with those below it."""
        yield from _head(self.name, self.explanation, "histogram")
        total = 0
        for bound, count in zip((*map(repr, self.bounds), "+Inf"), self.counts, strict=True):
            total += count
            yield f'{self.name}_bucket{{le="{bound}"}} {total}'
        yield f"{self.name}_sum {self.sum!r}"
        yield f"{self.name}_count {total}"


class Metrics:
    """What /metrics shows."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        """By path and status."""
        self.reviews = 0
        self.truncated = 0
        self.seconds = Histogram("serve_request_seconds", "Time from an invocation's arrival to its answer.", SECONDS)
        self.batches = Histogram("serve_batch_reviews", "Reviews in a batch of the model.", REVIEWS)

    def text(self, *, queue: int, is_ready: bool) -> str:
        """Write all of them."""
        lines = [
            *_head("serve_requests_total", "Requests by path and status.", "counter"),
            *(
                f'serve_requests_total{{path="{path}",code="{code}"}} {count}'
                for (path, code), count in sorted(self.requests.items())
            ),
            *self.seconds.lines(),
            *self.batches.lines(),
            *_single("serve_reviews_total", "Reviews that got a prediction.", "counter", self.reviews),
            *_single("serve_truncated_total", "Of these, longer than what the model reads.", "counter", self.truncated),
            *_single("serve_queue_reviews", "Reviews that wait for a batch.", "gauge", queue),
            *_single("serve_ready", "1 while /ping answers 200.", "gauge", int(is_ready)),
        ]
        return "\n".join(lines) + "\n"


def _head(name: str, explanation: str, kind: str) -> tuple[str, str]:
    return f"# HELP {name} {explanation}", f"# TYPE {name} {kind}"


def _single(name: str, explanation: str, kind: str, value: int) -> tuple[str, ...]:
    return (*_head(name, explanation, kind), f"{name} {value}")
