"""The section on where the run's time went."""

from __future__ import annotations

from html import escape

from observability.profiler.report import charts
from observability.profiler.report.contents import Contents
from observability.profiler.report.html import figure, row, section
from observability.profiler.report.words import duration, percent


def time_spent(contents: Contents) -> str:
    """Return a bar of the parts, and a table of them."""
    total = max(sum(part.seconds for part in contents.parts), 1e-9)
    words = ", ".join(f"{part.name} {percent(part.seconds / total)}" for part in contents.parts)
    marks = charts.stacked([(part.key, part.seconds / total) for part in contents.parts])
    bar = charts.svg("time", "Where the time went", f"Of {duration(total)}: {words}.", marks)
    rows = "".join(
        row(
            f'<th scope="row"><span class="key {part.key}">{escape(part.name)}</span></th>',
            f'<td class="soft">{escape(part.meaning)}</td>',
            f'<td class="number">{duration(part.seconds)}</td>',
            f'<td class="number">{percent(part.seconds / total, 1)}</td>',
        )
        for part in contents.parts
    )
    table = f'<table class="parts"><tbody>{rows}</tbody></table>'
    return section("Where the time went", "", figure("", [], bar, "bar") + table)
