"""AWS's ProfilerReport: all other rules at once, and their report.

Its parameters are theirs: CPUBottleneck_cpu_threshold, for example.
"""

from __future__ import annotations

import dataclasses
import json
import os
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from observability.profiler.reading import profile_of
from observability.profiler.rules.base import ProfileRule
from observability.profiler.rules.gpu import CPUBottleneck, GPUMemoryIncrease, LoadBalancing, LowGPUUtilization
from observability.profiler.rules.steps import MaxInitializationTime, StepOutlier
from observability.profiler.rules.system import BatchSize, IOBottleneck, OverallSystemUsage
from observability.rules.rule import Finding, ProfilerRule

PROFILE_RULES: tuple[type[ProfileRule], ...] = (
    BatchSize,
    CPUBottleneck,
    GPUMemoryIncrease,
    IOBottleneck,
    LoadBalancing,
    LowGPUUtilization,
    MaxInitializationTime,
    OverallSystemUsage,
    StepOutlier,
)

PARAMETERS: Mapping[str, tuple[type[ProfileRule], dataclasses.Field[Any]]] = {
    f"{rule.__name__}_{name}": (rule, field) for rule in PROFILE_RULES for name, field in rule.parameters().items()
}


class _ProfilerReport(ProfilerRule):
    """Fires if one of the rules does; writes profiler-report.html, and what each rule saw as JSON."""

    def rules(self) -> list[ProfileRule]:
        """Return the rules with the parameters that were set."""
        return [
            rule(**{name: getattr(self, f"{rule.__name__}_{name}") for name in rule.parameters()})
            for rule in PROFILE_RULES
        ]

    def look(self, profiler: Path) -> Iterator[Finding]:
        """Name the rules that find something."""
        profile = profile_of(profiler)
        profile.refresh()
        found = [type(rule).__name__ for rule in self.rules() if list(rule.judge(profile))]
        if found:
            yield Finding(f"{' and '.join(found)} found an issue", float(len(found)))

    def missing(self) -> str:
        """Nothing: the report says what is missing."""
        return ""

    def write(self, profiler: Path, output: Path, statuses: Sequence[Mapping[str, Any]]) -> None:
        """Write profiler-output/ as AWS's rule container does."""
        del statuses  # those of other configurations; the report's rules have its own parameters
        from observability.profiler.report import write_report

        title = os.environ.get("TRAINING_JOB_NAME", "local")
        folder = output / "profiler-output"
        verdicts = write_report([profiler], folder / "profiler-report.html", title, self.rules())
        reports = folder / "profiler-reports"
        reports.mkdir(parents=True, exist_ok=True)
        for verdict in verdicts:
            seen = json.dumps(as_json(verdict.rule, verdict.findings), indent=1)
            (reports / f"{verdict.name}.json").write_text(f"{seen}\n", encoding="utf-8")


ProfilerReport: type[ProfilerRule] = dataclasses.make_dataclass(
    "ProfilerReport",
    [
        (
            name,
            typing.get_type_hints(rule)[field.name],
            dataclasses.field(default=field.default, metadata=field.metadata),
        )
        for name, (rule, field) in PARAMETERS.items()
    ],
    bases=(_ProfilerReport,),
)


def as_json(rule: ProfileRule, findings: Sequence[Finding]) -> dict[str, Any]:
    """Return what AWS keeps of one rule in profiler-reports/."""
    return {
        "RuleTriggered": len(findings),
        "Violations": rule.evidence.violations,
        "Datapoints": rule.evidence.datapoints,
        "RuleParameters": "\n".join(f"{name}:{getattr(rule, name)}" for name in rule.parameters()),
        "Details": rule.evidence.details,
        "Findings": [finding.sentence for finding in findings],
    }
