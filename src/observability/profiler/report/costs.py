"""The section on what a step consists of: TensorFlow's operations, and Python's functions if they were profiled."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from observability.profiler.operations import Cost
from observability.profiler.report.contents import Contents
from observability.profiler.report.html import row, section
from observability.profiler.report.words import duration, percent

SHOWN = 8
"""Rows of a table."""


def inside_a_step(contents: Contents) -> str:
    """Return a table of bars for each kind of profile; nothing without one."""
    costs = {"operation": contents.operations, "Python function": contents.functions}
    tables = "".join(_table(kind, found) for kind, found in costs.items() if found)
    if not tables:
        return ""
    note = "From a trace of a few steps: the time in each kind of work, without what it calls."
    if contents.input_seconds:
        mean = sum(contents.input_seconds) / len(contents.input_seconds)
        note += f" A step waited {duration(mean)} for its batch."
    return section("Inside a step", note, f'<div class="pair">{tables}</div>')


def _table(kind: str, costs: Sequence[Cost]) -> str:
    total = max(sum(cost.seconds for cost in costs), 1e-9)
    longest = max(costs[0].seconds, 1e-9)
    head = row(f"<th>{kind}</th>", "<th></th>", f'<th class="number">of {duration(total)}</th>')
    rows = "".join(
        row(
            f'<th scope="row" class="name">{escape(cost.name)}</th>',
            f'<td class="share"><span class="length" style="width:{100 * cost.seconds / longest:.1f}%"></span></td>',
            f'<td class="number">{percent(cost.seconds / total, 1)}</td>',
        )
        for cost in costs[:SHOWN]
    )
    if costs[SHOWN:]:
        rest = sum(cost.seconds for cost in costs[SHOWN:]) / total
        others = f'<td class="soft">{len(costs) - SHOWN:,} others</td>'
        rows += row(others, "<td></td>", f'<td class="number">{percent(rest, 1)}</td>')
    return f'<table class="costs"><thead>{head}</thead><tbody>{rows}</tbody></table>'
