"""The only module that writes to the terminal: data on stdout, talk on stderr.

    terminal = Terminal("table")
    terminal.rows([{"job": "star-rating-1", "status": "Completed"}])
    terminal.say("2 warnings")

Colours and lines that change are for terminals; a file or a pipe gets plain text.
"""

from __future__ import annotations

import csv
import datetime as dt
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import click

from launcher.errors import LauncherError, Problem

Output = Literal["table", "json", "csv"]
Row = Mapping[str, Any]


class Terminal:
    """Where a command's results and remarks go."""

    def __init__(self, output: Output = "table") -> None:
        self._output = output
        self._live = ""

    def rows(self, rows: Sequence[Row]) -> None:
        """Write a table's rows, with the keys of the first as its columns; an empty table is `[]` in JSON."""
        self._clear()
        if self._output == "json":
            self.document(list(rows))
        elif self._output == "csv":
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerows([list(row) for row in rows[:1]])
            writer.writerows([as_text(value) for value in row.values()] for row in rows)
        elif rows:
            self._table(rows)
        else:
            self.say("nothing there")

    def record(self, fields: Row) -> None:
        """Write one thing's fields: below each other in a table, as an object in JSON."""
        self._clear()
        if self._output == "json":
            self.document(fields)
        elif self._output == "csv":
            self.rows([fields])
        else:
            width = max(map(len, fields), default=0)
            for name, value in fields.items():
                click.echo(f"{click.style(name.ljust(width), bold=True)}  {as_text(value)}")

    def document(self, content: object) -> None:
        """Write JSON."""
        click.echo(json.dumps(content, indent=1, default=_json, ensure_ascii=False))

    def line(self, text: str) -> None:
        """Write a line of data as it is."""
        click.echo(text)

    def say(self, text: str) -> None:
        """Write a remark."""
        self._clear()
        click.echo(text, err=True)

    def progress(self, text: str) -> None:
        """Show a line that the next one replaces; nothing where stderr is no terminal."""
        if sys.stderr.isatty():
            self._clear()
            self._live = text
            click.echo(text, err=True, nl=False)

    def problems(self, problems: Iterable[Problem]) -> None:
        """Write errors and warnings, a line each."""
        for problem in problems:
            kind = click.style("warning", fg="yellow") if problem.is_warning else click.style("error", fg="red")
            self.say(f"{kind}: {problem}")

    def error(self, error: LauncherError) -> None:
        """Write what ended the command."""
        for line in str(error).splitlines():
            self.say(f"{click.style('error', fg='red')}: {line}")

    def _table(self, rows: Sequence[Row]) -> None:
        from rich.console import Console  # noqa: PLC0415 - a tenth of a second that only tables need
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        table = Table(box=None, pad_edge=False, header_style="bold")
        for name, value in rows[0].items():
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            table.add_column(name, justify="right" if is_number else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text(as_text(value)) for value in row.values()))
        # A pipe has no width: nothing is to be folded there, and nothing padded.
        console = Console(width=None if sys.stdout.isatty() else 10_000)
        with console.capture() as capture:
            console.print(table)
        click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))

    def _clear(self) -> None:
        if self._live:
            click.echo("\r\x1b[2K", err=True, nl=False)
            self._live = ""


def as_text(value: object) -> str:
    """Return a value as a table's cell has it."""
    if value is None:
        return ""
    if isinstance(value, dt.datetime):
        return _json(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)


def _json(value: object) -> str:
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return str(value)
