"""Several rules at once: fed with steps as they come, each with a status in DescribeTrainingJob's words.

    evaluation = Evaluation(configured)
    evaluation.feed(step)              # for each step, in their order
    evaluation.finish()
    evaluation.statuses()              # [{"RuleConfigurationName": ..., "RuleEvaluationStatus": ..., ...}]

As on SageMaker a rule's evaluation is over with its first finding.
"""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from observability.rule import Finding, ProfilerRule, Step, TensorRule
from observability.rules.configuration import ConfiguredRule

IN_PROGRESS, NO_ISSUES, ISSUES, ERROR = "InProgress", "NoIssuesFound", "IssuesFound", "Error"

LONGEST_DETAILS = 1024
"""BOTO's limit for StatusDetails."""


@dataclass
class RuleStatus:
    """One rule's status."""

    configured: ConfiguredRule
    modified: float
    status: str = IN_PROGRESS
    details: str = ""
    findings: list[Finding] = field(default_factory=list)
    """Those of the first step that had any."""

    @property
    def is_open(self) -> bool:
        """Whether the rule may still find something."""
        return self.status == IN_PROGRESS

    def summary(self) -> str:
        """Return what was found first, and how much else at that step."""
        first, *others = self.findings
        at = f"step {first.step}: " if first.step is not None else ""
        return f"{at}{first.sentence}" + (f" (and {len(others)} more)" if others else "")

    def as_dict(self) -> dict[str, Any]:
        """Return the status as the API does; the time in seconds since the epoch, as its JSON has it."""
        status = {"RuleConfigurationName": self.configured.name, "RuleEvaluationStatus": self.status}
        details = {"StatusDetails": self.details} if self.details else {}
        return {**status, **details, "LastModifiedTime": self.modified}


class Evaluation:
    """The rules of one run."""

    def __init__(self, configured: Sequence[ConfiguredRule], clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.has_profile = False
        self.rules = [RuleStatus(rule, clock()) for rule in configured]
        for rule_status in self.rules:
            if rule_status.configured.rule is None:
                self._settle(rule_status, ERROR, rule_status.configured.not_evaluated)

    def feed(self, step: Step) -> list[RuleStatus]:
        """Show a step to the rules on tensors; return the statuses that it settled."""
        return self._ask(lambda rule: rule.look(step))

    def wait(self, now: float) -> list[RuleStatus]:
        """Tell the rules on tensors how late it is; return the statuses that it settled."""
        return self._ask(lambda rule: rule.wait(now))

    def look_at_profiler(self, folder: Path) -> list[RuleStatus]:
        """Let the rules on the profiler's files look; return the statuses that it settled."""
        settled, self.has_profile = [], True
        for rule_status in self.rules:
            rule = rule_status.configured.rule
            if (
                rule_status.is_open
                and isinstance(rule, ProfilerRule)
                and self._found(rule_status, list(rule.look(folder)))
            ):
                settled.append(rule_status)
        return settled

    def finish(self) -> None:
        """Settle what is open: nothing was found, or nothing could be."""
        for rule_status in self.rules:
            rule = rule_status.configured.rule
            if rule_status.is_open and isinstance(rule, TensorRule | ProfilerRule):
                has_input = self.has_profile or isinstance(rule, TensorRule)
                missing = rule.missing() if has_input else "there is no profile"
                remark = rule.remark() if isinstance(rule, ProfilerRule) else ""
                details = f"Not evaluated: {missing or remark}." if missing or remark else ""
                self._settle(rule_status, ERROR if missing else NO_ISSUES, details)

    def leave_out_what_does_not_apply(self) -> None:
        """Drop the rules that had nothing to look at: nobody has asked for them by name."""
        self.rules = [rule_status for rule_status in self.rules if rule_status.status != ERROR]

    def write_files(self, profiler: Path, output: Path) -> None:
        """Let the rules that write files do so, each below the name of its configuration."""
        for rule_status in self.rules:
            if isinstance(rule_status.configured.rule, ProfilerRule):
                rule_status.configured.rule.write(profiler, output / rule_status.configured.name, self.statuses())

    def statuses(self) -> list[dict[str, Any]]:
        """Return DescribeTrainingJob's DebugRuleEvaluationStatuses and ProfilerRuleEvaluationStatuses, in one."""
        return [rule_status.as_dict() for rule_status in self.rules]

    def _ask(self, question: Callable[[TensorRule], Iterator[Finding]]) -> list[RuleStatus]:
        settled = []
        with np.errstate(all="ignore"):  # of tensors that hold NaN; ExplodingTensor says so
            for rule_status in self.rules:
                rule = rule_status.configured.rule
                if (
                    rule_status.is_open
                    and isinstance(rule, TensorRule)
                    and self._found(rule_status, list(question(rule)))
                ):
                    settled.append(rule_status)
        return settled

    def _found(self, rule_status: RuleStatus, findings: list[Finding]) -> bool:
        if findings:
            rule_status.findings = findings
            self._settle(rule_status, ISSUES, details_of(rule_status))
        return bool(findings)

    def _settle(self, rule_status: RuleStatus, status: str, details: str) -> None:
        rule_status.status, rule_status.details, rule_status.modified = status, details[:LONGEST_DETAILS], self.clock()


def details_of(rule_status: RuleStatus) -> str:
    """Return what AWS's rules say on a finding, and then what was found."""
    step = rule_status.findings[0].step
    at = f" at step {step}" if step is not None else ""
    return (
        f"RuleEvaluationConditionMet: Evaluation of the rule {rule_status.configured.name}{at} resulted in the "
        f"condition being met. {rule_status.summary()}"
    )


WIDTH = 120


def table(evaluation: Evaluation) -> str:
    """Return the table, a line or more a rule; those that found something first."""
    ordered = sorted(evaluation.rules, key=lambda rule_status: not rule_status.findings)
    names = max((len(rule_status.configured.name) for rule_status in ordered), default=0)
    names, statuses = max(names, len("rule")), len("NoIssuesFound  ")
    indent = names + 2 + statuses
    lines = [f"{'rule':{names}}  {'status':{statuses}}"]
    for rule_status in ordered:
        words = textwrap.wrap(
            rule_status.summary() if rule_status.findings else rule_status.details, max(WIDTH - indent, 40)
        ) or [""]
        lines.append(f"{rule_status.configured.name:{names}}  {rule_status.status:{statuses}}{words[0]}")
        lines += [" " * indent + more for more in words[1:]]
    return "".join(line.rstrip() + "\n" for line in lines)
