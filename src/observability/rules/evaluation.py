"""Several rules at once: fed with steps as they come, each with a status in DescribeTrainingJob's words.

    evaluation = Evaluation(configured, time.time)
    evaluation.feed(step)              # for each step, in their order
    evaluation.finish()
    evaluation.statuses()              # [{"RuleConfigurationName": ..., "RuleEvaluationStatus": ..., ...}]

As on SageMaker a rule's evaluation is over with its first finding.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from observability.rules.configuration import ConfiguredRule
from observability.rules.rule import Finding, ProfilerRule, Step, TensorRule

IN_PROGRESS, NO_ISSUES, ISSUES, ERROR = "InProgress", "NoIssuesFound", "IssuesFound", "Error"

LONGEST_DETAILS = 1024
"""BOTO's limit for StatusDetails."""


@dataclass
class Verdict:
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

    def in_short(self) -> str:
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
        self.verdicts = [Verdict(rule, clock()) for rule in configured]
        for verdict in self.verdicts:
            if verdict.configured.rule is None:
                self._settle(verdict, ERROR, verdict.configured.not_evaluated)

    def feed(self, step: Step) -> list[Verdict]:
        """Show a step to the rules on tensors; return the verdicts that it settled."""
        return self._ask(lambda rule: rule.look(step))

    def wait(self, now: float) -> list[Verdict]:
        """Tell the rules on tensors how late it is; return the verdicts that it settled."""
        return self._ask(lambda rule: rule.wait(now))

    def look_at_profiler(self, folder: Path) -> list[Verdict]:
        """Let the rules on the profiler's files look; return the verdicts that it settled."""
        settled, self.has_profile = [], True
        for verdict in self.verdicts:
            rule = verdict.configured.rule
            if verdict.is_open and isinstance(rule, ProfilerRule) and self._found(verdict, list(rule.look(folder))):
                settled.append(verdict)
        return settled

    def finish(self) -> None:
        """Settle what is open: nothing was found, or nothing could be."""
        for verdict in self.verdicts:
            rule = verdict.configured.rule
            if verdict.is_open and isinstance(rule, TensorRule | ProfilerRule):
                has_input = self.has_profile or isinstance(rule, TensorRule)
                missing = rule.missing() if has_input else "there is no profile"
                remark = rule.remark() if isinstance(rule, ProfilerRule) else ""
                details = f"Not evaluated: {missing or remark}." if missing or remark else ""
                self._settle(verdict, ERROR if missing else NO_ISSUES, details)

    def leave_out_what_does_not_apply(self) -> None:
        """Drop the rules that had nothing to look at: nobody has asked for them by name."""
        self.verdicts = [verdict for verdict in self.verdicts if verdict.status != ERROR]

    def write_files(self, profiler: Path, output: Path) -> None:
        """Let the rules that write files do so, each below the name of its configuration."""
        for verdict in self.verdicts:
            if isinstance(verdict.configured.rule, ProfilerRule):
                verdict.configured.rule.write(profiler, output / verdict.configured.name, self.statuses())

    def statuses(self) -> list[dict[str, Any]]:
        """Return DescribeTrainingJob's DebugRuleEvaluationStatuses and ProfilerRuleEvaluationStatuses, in one."""
        return [verdict.as_dict() for verdict in self.verdicts]

    def _ask(self, question: Callable[[TensorRule], Iterator[Finding]]) -> list[Verdict]:
        settled = []
        with np.errstate(all="ignore"):  # of tensors that hold NaN; ExplodingTensor says so
            for verdict in self.verdicts:
                rule = verdict.configured.rule
                if verdict.is_open and isinstance(rule, TensorRule) and self._found(verdict, list(question(rule))):
                    settled.append(verdict)
        return settled

    def _found(self, verdict: Verdict, findings: list[Finding]) -> bool:
        if findings:
            verdict.findings = findings
            self._settle(verdict, ISSUES, in_words(verdict))
        return bool(findings)

    def _settle(self, verdict: Verdict, status: str, details: str) -> None:
        verdict.status, verdict.details, verdict.modified = status, details[:LONGEST_DETAILS], self.clock()


def in_words(verdict: Verdict) -> str:
    """Return what AWS's rules say on a finding, and then what was found."""
    step = verdict.findings[0].step
    at = f" at step {step}" if step is not None else ""
    return (
        f"RuleEvaluationConditionMet: Evaluation of the rule {verdict.configured.name}{at} resulted in the condition "
        f"being met. {verdict.in_short()}"
    )
