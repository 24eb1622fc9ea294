"""A rule on time: no new tensors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from observability.rules.rule import AWS, Finding, Step, TensorRule, parameter


@dataclass
class StalledTrainingRule(TensorRule):
    """No tensor was saved for a long time.

    While a run is followed, until now; afterwards, between two steps, by the times of their files: a copy that does not
    keep those hides a stall, and never makes one.
    """

    threshold: float = parameter(1800.0, "seconds without a tensor", AWS)
    stop_training_on_fire: bool = parameter(False, "whether the platform shall stop the job", AWS)  # noqa: FBT003
    training_job_name_prefix: str = parameter("", "which job the platform shall stop", AWS)

    def __post_init__(self) -> None:
        """Start with no step."""
        self.last: float | None = None
        self.last_step: int | None = None
        self.seen = False

    def look(self, step: Step) -> Iterator[Finding]:
        """Yield a pause between two steps; the finding's value is its seconds."""
        self.seen = True
        if self.last is not None and step.written_at - self.last > self.threshold:
            pause = step.written_at - self.last
            yield Finding(f"no tensor was saved for {pause:.0f} s before it", pause, step.number)
        self.last, self.last_step = step.written_at, step.number

    def wait(self, now: float) -> Iterator[Finding]:
        """Yield a pause that goes on; it begins with the last step, or with the first look."""
        self.last = now if self.last is None else self.last
        if now - self.last > self.threshold:
            yield Finding(f"no tensor was saved for {now - self.last:.0f} s", now - self.last, self.last_step)

    def missing(self) -> str:
        """Say that there is nothing."""
        return "" if self.seen else "no step is saved"
