"""What the rules on a profile have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from observability.profiler.reading import Profile, profile_of
from observability.rules.rule import Finding, ProfilerRule

RULESCONFIG = "AWS's default (smdebug_rulesconfig 1.0.1)"

NO_GPU = "there is no GPU in the profile"


@dataclass
class Evidence:
    """What a rule has looked at: the part of AWS's report on a rule that is not its parameters."""

    datapoints: int = 0
    violations: int = 0
    details: dict[str, Any] = field(default_factory=dict)


@dataclass
class ProfileRule(ProfilerRule):
    """A rule on a profile."""

    question: ClassVar[str]
    """What it asks of a run, for its line in the report."""
    advice: ClassVar[str]
    """What to change when it has found something."""

    def __post_init__(self) -> None:
        """Start with nothing seen."""
        self.evidence = Evidence()
        self.measured = ""
        """What it measured, in a few words, where it has found nothing."""
        self._missing = ""
        self._remark = ""

    def look(self, profiler: Path) -> Iterator[Finding]:
        """Read what is new in a profiler folder, and yield what is wrong."""
        profile = profile_of(profiler)
        profile.refresh()
        yield from self.judge(profile)

    def judge(self, profile: Profile) -> Iterator[Finding]:
        """Yield what is wrong in a profile."""
        self.evidence, self.measured, self._missing, self._remark = Evidence(), "", "", ""
        yield from self._judge(profile)

    @abstractmethod
    def _judge(self, profile: Profile) -> Iterator[Finding]:
        """Yield what is wrong; note what was looked at, and what kept it from being judged."""

    def missing(self) -> str:
        """Say which files it needs and has not found."""
        return self._missing

    def remark(self) -> str:
        """Say why nothing could be found, where that is no fault: too little data yet, or no GPU."""
        return self._remark

    def _has_readings(self, profile: Profile) -> bool:
        if any(len(node.readings) for node in profile.nodes.values()):
            return True
        self._missing = "there are no system metrics below system/incremental/"
        return False

    def _has_gpus(self, profile: Profile, number: int = 1) -> bool:
        """Note how many GPUs there are, if not enough to judge by."""
        found = max((len(node.readings.gpus) for node in profile.nodes.values()), default=0)
        if found < number:
            self._remark = NO_GPU if not found else f"there are fewer than {number} GPUs"
        return found >= number

    def _is_early(self, readings: int, patience: int) -> bool:
        """Note how much there is to judge by, if that is not more than the rule's patience."""
        self.evidence.datapoints = max(self.evidence.datapoints, readings)
        if readings <= patience:
            self._remark = f"it judges from {patience + 1:,} readings on, and there are {readings:,}"
        return readings <= patience
