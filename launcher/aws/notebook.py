"""What a notebook shows of jobs: rows as tables, a job with its links and status.

    training_job.metrics()                  # as a cell's last line: a table
    training_job.metrics().dataframe()      # a pandas.DataFrame, where pandas is installed

Everything that comes from a job or from AWS is escaped: a notebook trusts the HTML that it is given.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from launcher.errors import LauncherError
from launcher.terminal import as_text

if TYPE_CHECKING:
    import pandas as pd

_COLORS = {"Completed": "#067d3c", "Failed": "#c7162b", "Stopped": "#8a6d00"}


class Table(list[dict[str, Any]]):
    """Rows with the same keys: a list of dicts that a notebook shows as a table."""

    def dataframe(self) -> pd.DataFrame:
        """Return the rows as a pandas.DataFrame; raise LauncherError where pandas is not installed."""
        try:
            import pandas as pd  # noqa: PLC0415 - the launcher does not need it
        except ImportError:
            raise LauncherError("a data frame needs pandas, which is not installed: pip install pandas") from None
        return pd.DataFrame(list(self))

    def _repr_html_(self) -> str:
        if not self:
            return "<i>no rows</i>"
        header = "".join(f"<th style='text-align: left'>{html.escape(str(name))}</th>" for name in self[0])
        rows = "".join(_row(*map(_cell, row.values())) for row in self)
        return f"<table><tr>{header}</tr>{rows}</table>"


def job_html(name: str, status: str, links: Mapping[str, str], fields: Iterable[tuple[str, object]]) -> str:
    """Return a job as HTML: its name and status, what is known of it, and a link to each page that shows it."""
    color = _COLORS.get(status, "#0b5cad")
    heading = f"<b>{html.escape(name)}</b> <span style='color: {color}'>{html.escape(status)}</span>"
    anchors = " &middot; ".join(
        f"<a href='{html.escape(address)}' target='_blank' rel='noopener'>{html.escape(page)}</a>"
        for page, address in links.items()
    )
    rows = "".join(_row(html.escape(field), _cell(value)) for field, value in fields)
    return f"<div>{heading}<br>{anchors}<table>{rows}</table></div>"


def _row(*cells: str) -> str:
    return "<tr>" + "".join(f"<td style='text-align: left'>{cell}</td>" for cell in cells) + "</tr>"


def _cell(value: object) -> str:
    return html.escape(as_text(value))
