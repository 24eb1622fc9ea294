"""The section on the rules: what each asks, what it found, and what to change."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from observability.profiler.report.contents import ISSUES, NO_ISSUES, NOT_JUDGED, Verdict
from observability.profiler.report.html import section

SIGNS = {ISSUES: "!", NO_ISSUES: "\N{CHECK MARK}", NOT_JUDGED: "\N{EN DASH}"}
"""In the order of the list."""


def rules(verdicts: Sequence[Verdict]) -> str:
    """Return the list, what was found first."""
    order = list(SIGNS)
    ordered = sorted(verdicts, key=lambda verdict: order.index(verdict.status))
    items = "".join(_item(verdict) for verdict in ordered)
    return section("Rules", "AWS's profiler rules, with its default thresholds.", f'<ul class="rules">{items}</ul>')


def _item(verdict: Verdict) -> str:
    said = verdict.sentence
    if verdict.status == NOT_JUDGED:
        said = f"not judged: {said}"
    advice = f'<p class="advice">{escape(verdict.rule.advice)}</p>' if verdict.status == ISSUES else ""
    return (
        f'<li class="{verdict.status}"><span class="sign" aria-hidden="true">{SIGNS[verdict.status]}</span>'
        f"<div><b>{verdict.name}</b><small>{escape(verdict.rule.question)}</small></div>"
        f'<div class="said"><p>{escape(said)}</p>{advice}</div></li>'
    )
