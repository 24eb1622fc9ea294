"""AWS's ProfilerReport: all other rules at once, and their report.

Its parameters are theirs, after their rule's name: CPUBottleneck_cpu_threshold, for example.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from observability.profiler.profile_reader import profile_of
from observability.profiler.report import write_report
from observability.profiler.rules import PROFILE_RULES, ProfileRule
from observability.rule import Finding, Parameter, ProfilerRule


class ProfilerReport(ProfilerRule):
    """Fires if one of the rules does; writes profiler-report.html, and what each rule saw as JSON."""

    def __init__(self, rules: Sequence[ProfileRule] | None = None) -> None:
        self.rules = [rule() for rule in PROFILE_RULES] if rules is None else rules

    @classmethod
    def parameters(cls) -> Mapping[str, Parameter]:
        """Return the parameters of all rules, each behind its rule's name."""
        return {
            f"{rule.__name__}_{name}": parameter
            for rule in PROFILE_RULES
            for name, parameter in rule.parameters().items()
        }

    @classmethod
    def configured(cls, values: Mapping[str, Any]) -> Self:
        """Return the report of rules with these parameters; the others have their defaults."""
        return cls(
            [
                rule.configured(
                    {name: values[key] for name in rule.parameters() if (key := f"{rule.__name__}_{name}") in values}
                )
                for rule in PROFILE_RULES
            ]
        )

    def look(self, profiler: Path) -> Iterator[Finding]:
        """Name the rules that find something."""
        profile = profile_of(profiler)
        profile.refresh()
        found = [type(rule).__name__ for rule in self.rules if list(rule.evaluate(profile))]
        if found:
            yield Finding(f"{' and '.join(found)} found an issue", float(len(found)))

    def missing(self) -> str:
        """Nothing: the report says what is missing."""
        return ""

    def write(self, profiler: Path, output: Path, statuses: Sequence[Mapping[str, Any]]) -> None:
        """Write profiler-output/ as AWS's rule container does."""
        del statuses  # those of other configurations; the report's rules have its own parameters
        title = os.environ.get("TRAINING_JOB_NAME", "local")
        folder = output / "profiler-output"
        results = write_report([profiler], folder / "profiler-report.html", title, self.rules)
        reports = folder / "profiler-reports"
        reports.mkdir(parents=True, exist_ok=True)
        for result in results:
            seen = json.dumps(as_json(result.rule, result.findings), indent=1)
            (reports / f"{result.name}.json").write_text(f"{seen}\n", encoding="utf-8")


def as_json(rule: ProfileRule, findings: Sequence[Finding]) -> dict[str, Any]:
    """Return what AWS keeps of one rule in profiler-reports/."""
    return {
        "RuleTriggered": len(findings),
        "Violations": rule.statistics.violations,
        "Datapoints": rule.statistics.datapoints,
        "RuleParameters": "\n".join(f"{name}:{getattr(rule, name)}" for name in rule.parameters()),
        "Details": rule.statistics.details,
        "Findings": [finding.sentence for finding in findings],
    }
