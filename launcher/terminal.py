"""The only module that writes to the terminal: data on stdout, talk on stderr.

    terminal = Terminal("table")
    terminal.rows([{"job": "star-rating-1", "status": "Completed"}])
    terminal.say("2 warnings")

Colours and lines that change are for terminals that have them; a file or a pipe gets plain text. Nothing that comes
from elsewhere (a job's log, a model's evaluation, AWS) can send the terminal a control sequence.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TextIO

import click

from launcher.errors import LauncherError, Problem, os_error_text

Output = Literal["table", "json", "csv"]
Row = Mapping[str, Any]

_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)")
"""Complete control sequences: colours, cursor movements, titles."""

_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
"""What is left of them: C0 (but tab and line feed), C1, what turns the writing direction, halves of characters."""


def sanitize(text: str) -> str:
    r"""Return a text of someone else's as it may be shown: without control sequences; single controls as \x1b."""
    return _CONTROL.sub(lambda match: _escaped(match[0]), _SEQUENCE.sub("", text))


class Terminal:
    """Where a command's results and remarks go."""

    def __init__(self, output: Output = "table") -> None:
        self._output = output
        self._live = ""

    def rows(self, rows: Sequence[Row]) -> None:
        """Write a table's rows, with the keys of the first as its columns; an empty table is `[]` in JSON."""
        if self._output == "json":
            self.document(list(rows))
        elif self._output == "csv":
            table = io.StringIO()
            writer = csv.writer(table, lineterminator="\n")
            writer.writerows([list(row) for row in rows[:1]])
            writer.writerows([as_text(value) for value in row.values()] for row in rows)
            self._write(sanitize(table.getvalue()), newline=False)
        elif rows:
            self._table(rows)
        else:
            self.say("nothing there")

    def record(self, fields: Row) -> None:
        """Write one thing's fields: below each other in a table, as an object in JSON."""
        if self._output == "json":
            self.document(fields)
        elif self._output == "csv":
            self.rows([fields])
        else:
            width = max(map(len, fields), default=0)
            for name, value in fields.items():
                self._write(f"{click.style(sanitize(name).ljust(width), bold=True)}  {sanitize(as_text(value))}")

    def document(self, content: object) -> None:
        """Write JSON; what a terminal would take for a control sequence is escaped, as JSON has it."""
        is_utf8 = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8"
        text = json.dumps(content, indent=1, default=_json, ensure_ascii=not is_utf8)
        self._write(_CONTROL.sub(lambda match: json.dumps(match[0])[1:-1] if match[0] != "\x7f" else r"\u007f", text))

    def line(self, text: str) -> None:
        """Write a line of data."""
        self._write(sanitize(text))

    def say(self, text: str, *, colour: str | None = None, bold: bool | None = None) -> None:
        """Write a remark. One that cannot be written is no reason to leave a job alone."""
        self._write(click.style(sanitize(text), fg=colour, bold=bold) if colour or bold else sanitize(text), error=True)

    def progress(self, text: str) -> None:
        """Show a line that the next one replaces; nothing where stderr is no terminal, or a simple one."""
        if sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            self._write(sanitize(text), error=True, newline=False)
            self._live = text

    def problems(self, problems: Iterable[Problem]) -> None:
        """Write errors and warnings, a line each."""
        for problem in problems:
            kind, colour = ("warning", "yellow") if problem.is_warning else ("error", "red")
            self._write(f"{click.style(kind, fg=colour)}: {sanitize(str(problem))}", error=True)

    def error(self, error: LauncherError) -> None:
        """Write what ended the command."""
        for line in str(error).splitlines():
            self._write(f"{click.style('error', fg='red')}: {sanitize(line)}", error=True)

    def _table(self, rows: Sequence[Row]) -> None:
        from rich.console import Console  # noqa: PLC0415 - a tenth of a second that only tables need
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        table = Table(box=None, pad_edge=False, header_style="bold")
        for name, value in rows[0].items():
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            table.add_column(Text(sanitize(name)), justify="right" if is_number else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text(sanitize(as_text(value))) for value in row.values()))
        # A pipe has no width: nothing is to be folded there, and nothing padded. A notebook's kernel is no display.
        is_terminal = sys.stdout is not None and sys.stdout.isatty()
        console = Console(width=None if is_terminal else 10_000, force_jupyter=False)
        with console.capture() as capture:
            console.print(table)
        self._write("\n".join(line.rstrip() for line in capture.get().splitlines()))

    def _write(self, text: str, *, error: bool = False, newline: bool = True) -> None:
        """Write what is safe to be shown, without colours if nobody wants them."""
        no_colours = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
        if self._live:
            erase = f"\r{' ' * len(self._live)}\r" if no_colours else "\r\x1b[2K"
            self._live = ""
            self._write_to(sys.stderr, erase, newline=False, colour=True, is_talk=True)
        stream = sys.stderr if error else sys.stdout
        self._write_to(stream, text, newline=newline, colour=False if no_colours else None, is_talk=error)

    @staticmethod
    def _write_to(stream: TextIO | None, text: str, *, newline: bool, colour: bool | None, is_talk: bool) -> None:
        if stream is None:
            return  # closed by who started this process
        try:
            click.echo(text, file=stream, nl=newline, color=colour)
        except OSError as error:
            # A reader that has left, say `head`, or a full disk. Python would try once more at exit: to nowhere then.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if not is_talk and not isinstance(error, BrokenPipeError):
                raise LauncherError(f"standard output: {os_error_text(error)}") from None


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


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
