"""When a checkpoint is due: by steps exactly, by minutes as far as writing stays cheap.

schedule = Schedule(every_steps=0, every_seconds=300, cost_seconds=1.4)
if schedule.is_due(step):
    ...
    schedule.written(seconds)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

SHARE = 0.02
"""Of the wall time, what writing by time may take; the end of training adds one more."""


@dataclass
class Schedule:
    """Spreads checkpoints over a run."""

    every_steps: int
    """0: by time."""
    every_seconds: float
    """0: only where an epoch ends."""
    cost_seconds: float
    """What the last one has taken, at first a guess."""
    clock: Callable[[], float] = time.monotonic
    since: float = field(init=False)

    def __post_init__(self) -> None:
        self.since = self.clock()

    def is_due(self, step: int) -> bool:
        """Return whether to write within an epoch."""
        if self.every_steps:
            return step % self.every_steps == 0
        return bool(self.every_seconds) and self._passed(max(self.every_seconds, self.cost_seconds / SHARE))

    def is_due_at_epoch_end(self) -> bool:
        """Return whether to write after validation; of two places a minute apart, this is the better one."""
        return bool(self.every_steps) or self._passed(self.cost_seconds / SHARE)

    def written(self, seconds: float) -> None:
        """Start over, with what a checkpoint has taken."""
        self.cost_seconds, self.since = seconds, self.clock()

    def _passed(self, seconds: float) -> bool:
        return self.clock() - self.since >= seconds
