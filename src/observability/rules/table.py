"""The verdicts as a table for people.

Rule                 Status          What was found
"""

from __future__ import annotations

import textwrap

from observability.rules.evaluation import Evaluation

WIDTH = 120


def table(evaluation: Evaluation) -> str:
    """Return the table, a line or more a rule; those that found something first."""
    verdicts = sorted(evaluation.verdicts, key=lambda verdict: not verdict.findings)
    names = max((len(verdict.configured.name) for verdict in verdicts), default=0)
    names, statuses = max(names, len("rule")), len("NoIssuesFound  ")
    indent = names + 2 + statuses
    lines = [f"{'rule':{names}}  {'status':{statuses}}"]
    for verdict in verdicts:
        words = textwrap.wrap(verdict.in_short() if verdict.findings else verdict.details, max(WIDTH - indent, 40)) or [
            ""
        ]
        lines.append(f"{verdict.configured.name:{names}}  {verdict.status:{statuses}}{words[0]}")
        lines += [" " * indent + more for more in words[1:]]
    return "".join(line.rstrip() + "\n" for line in lines)
