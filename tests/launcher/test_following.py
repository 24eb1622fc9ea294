"""The wait loop's order of telling, where one answer brings several things."""

from __future__ import annotations

import datetime as dt
from typing import Any

from launcher.aws.following import PendingStatus, Phase, RuleVerdict, follow

NOON = dt.datetime(2026, 11, 29, 12, tzinfo=dt.UTC)


def description(status: str, phases: list[str], verdict: str) -> dict[str, Any]:
    return {
        "TrainingJobStatus": status,
        "SecondaryStatusTransitions": [{"StartTime": NOON, "Status": phase} for phase in phases],
        "DebugRuleEvaluationStatuses": [{"RuleConfigurationName": "Overfit", "RuleEvaluationStatus": verdict}],
    }


def test_the_end_is_told_last_also_where_a_rule_ends_with_the_job() -> None:
    answers = iter(
        [
            description("InProgress", ["Starting"], "InProgress"),
            description("InProgress", ["Starting", "Training"], "InProgress"),
            description("Completed", ["Starting", "Training", "Uploading", "Completed"], "NoIssuesFound"),
        ]
    )
    events = follow("job", "attach job", lambda: next(answers), None, timeout=None, poll_interval=0.01)
    assert [event for event in events if not isinstance(event, PendingStatus)] == [
        Phase(NOON, "Starting", ""),
        RuleVerdict("Overfit", "InProgress", None),
        Phase(NOON, "Training", ""),
        RuleVerdict("Overfit", "NoIssuesFound", None),
        Phase(NOON, "Uploading", ""),
        Phase(NOON, "Completed", ""),
    ]
