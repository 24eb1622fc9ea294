"""What the debugger takes from training: seconds, measured where they are spent, and a save interval that bounds them.

cost = Cost()
with cost.measured():
    ...
interval = AdaptiveInterval(cost, share=0.02)
interval.allows(step)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Cost:
    """A stopwatch."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.seconds = 0.0
        self.most_seconds = 0.0
        """Of one measured stretch."""
        self._running = False

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Add what happens inside; a stretch within a stretch counts once."""
        if self._running:
            yield
            return
        self._running = True
        started = self.clock()
        try:
            yield
        finally:
            self._running = False
            seconds = self.clock() - started
            self.seconds += seconds
            self.most_seconds = max(self.most_seconds, seconds)


class AdaptiveInterval:
    """Says whether a step may be saved so that saving stays within its share of the time; the first always may."""

    def __init__(self, cost: Cost, share: float) -> None:
        self._cost = cost
        self._share = share
        self._started: float | None = None
        self._decided: tuple[int, bool] | None = None

    def allows(self, step: int) -> bool:
        """Return the decision about a step: the same however often it is asked for."""
        if self._decided is None or self._decided[0] != step:
            self._decided = (step, self._decide())
        return self._decided[1]

    def _decide(self) -> bool:
        now = self._cost.clock()
        if self._started is None:
            self._started = now
            return True
        # The dearest stretch so far is the forecast: it was one in which everything was saved.
        return self._cost.seconds + self._cost.most_seconds <= self._share * (now - self._started)
