"""Rows of delimited text in the dialects that people's tools write; which one a file has is found out on all of it.

    table = inspect_table(inspect_text(path), "csv", wanted=lambda names: {"star_rating", "review_body"} <= set(names))
    for line, lines, fields in table.rows(plausible=lambda fields: True):
        print(line, fields)

A tool that quotes does so everywhere, so that one row tells what all are. The dialect is the one in which the fewest
rows of the whole file are odd. A row whose quotes do not match is one broken row; reading goes on with the first line
behind it that is a whole row, so that an unclosed quote costs its own row and none of the following.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import islice

from star_rating.preparation.text_files import TextFile

DELIMITERS = {"tsv": "\t,;|", "csv": ",;\t|"}
"""Which may delimit fields, by format; the first is the format's own."""
LONGEST_HEADER = 5
"""In lines; a name may hold a line break."""
LONGEST_ROW = 1 << 24
"""In characters; a quoted field that has not ended by then is taken for one whose quote is never closed."""
csv.field_size_limit(LONGEST_ROW)
MOST_READ_AGAIN = 1 << 26
"""Characters of lines that were taken for a row's and given back; beyond, and beyond what lies behind, rows are kept
short, so that no file takes a time that grows with the square of its size."""
SHORT_ROW = 1 << 12
A_LINE = 100
"""Characters that take as long to read as a line's beginning does."""
_DELIMITER_NAMES = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "vertical bars"}

NULL = r"\N"
"""How MySQL and Hive write a missing value; that backslash goes before no character."""
UNCLOSED = "a quote in it is opened and never closed"
STRAY = "text stands behind a quote that closes a field"

BLANK: list[str] = []
"""The fields of a line that holds nothing."""

Record = tuple[int, int, list[str] | str]
"""A row's first line, how many lines it has, and its fields or what is wrong with it."""


class Quoting(Enum):
    """What quotes and backslashes mean."""

    PLAIN = "quotes are characters like any other"
    """Amazon's review files."""
    DOUBLED = "fields are quoted, a quote in them is doubled"
    """RFC 4180: pandas, Excel, PyArrow, Polars."""
    ESCAPED = "fields are quoted, a quote in them has a backslash before it"
    """Spark: a backslash in a field that is not quoted is a character."""
    BACKSLASH = "a backslash goes before a delimiter, a quote or a line end that is a character"
    """Python's csv with an escapechar, MySQL."""


_INSIDE_QUOTES = {
    Quoting.DOUBLED: re.compile(r'(?:[^"]|"")*+'),
    Quoting.ESCAPED: re.compile(r'(?:[^"\\]|\\.|""|\\\Z)*+', re.DOTALL),
    Quoting.BACKSLASH: re.compile(r'(?:[^"\\]|\\.|""|\\\Z)*+', re.DOTALL),
}
_ESCAPES = {
    Quoting.DOUBLED: re.compile('"(")'),
    Quoting.ESCAPED: re.compile(r'\\(["\\])|"(?:")'),
    Quoting.BACKSLASH: re.compile(r'\\(.)|"(?:")', re.DOTALL),
}


@dataclass
class _Oddities:
    """What tells one dialect from another."""

    loose: int = 0
    """Fields that are not quoted and hold a quote, and backslashes before what needs none."""
    needed: int = 0
    """Quoted fields that hold a quote, a carriage return, or nothing: a tool that quotes would quote them."""
    spanning: int = 0
    """Whole rows that have several lines, none of them a row by itself."""
    quoted_comma: int = 0
    bare_comma: int = 0


class _Feed:
    """Gives Python's reader one line; a row that has more is read by `split`, which knows when to give up."""

    line: str | None = None

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        line, self.line = self.line, None
        if line is None:
            raise StopIteration
        return line


@dataclass
class _Splitter:
    """Splits one row into its fields."""

    text: TextFile
    delimiter: str
    quoting: Quoting
    skip_blanks: bool = False
    """Whether blanks behind a delimiter are none of the field's."""
    counts: bool = False
    """Whether `seen` is filled, too, for all that dialects differ in."""
    seen: _Oddities = field(default_factory=_Oddities)

    def __post_init__(self) -> None:
        self._feed = _Feed()
        self._csv = csv.reader(self._feed, delimiter=self.delimiter, strict=True)
        mark = re.escape(self.delimiter)
        self._bare = re.compile(rf"(?:[^\\{mark}{self.text.line_end}]|\\.|\\\Z)*+", re.DOTALL)
        self._needless = re.compile(rf'\\[^\\"{mark}\r\n]')

    def is_simple(self, line: str) -> bool:
        """Tell whether a line can be split at each delimiter."""
        return '"' not in line and not (self.quoting is Quoting.BACKSLASH and "\\" in line)

    def simple(self, line: str) -> list[str]:
        """Return the fields of such a line."""
        fields = self.text.without_end(line).split(self.delimiter)
        return [one.strip(" ") for one in fields] if self.skip_blanks else fields

    def is_csv(self, line: str) -> bool:
        """Tell whether Python's own reader takes a line as `split` does; it is several times faster."""
        return not (
            self.skip_blanks
            or (self.counts and self.delimiter == "\t")
            or (self.quoting is not Quoting.DOUBLED and "\\" in line)
            or (self.counts and "\\" in line)
            or ("\r" in line and not self.text.carriage_returns)
        )

    def split_csv(self, line: str) -> list[str]:
        """Return the fields of such a line, none where it is no whole row of CSV."""
        self._feed.line = line
        try:
            return next(self._csv)
        except csv.Error:
            return []

    def split(self, line: str, following: Callable[[], str | None], most: int | None = None) -> tuple[list[str], str]:
        """Return the fields of the row that begins with this line, and what is wrong with it, or nothing.

        No field beyond `most` goes on in another line. Where quotes open and close in each line (`R1","5","good`),
        each line would be read to the end of the file else.
        """
        fields: list[str] = []
        at = 0
        while True:
            if len(fields) == most:
                following = _no_line
            if self.skip_blanks:
                at += len(line) - at - len(line[at:].lstrip(" "))
            if line.startswith('"', at):
                content, line, at = self._quoted(line, at + 1, following)
                if content is None:
                    return fields, UNCLOSED
                fields.append(content)
                rest = self.text.without_end(line)
                if self.skip_blanks:
                    at += len(rest) - at - len(rest[at:].lstrip(" "))
                if at >= len(rest):
                    return fields, ""
                if line[at] != self.delimiter:
                    return fields, STRAY
                at += 1
                continue
            content, line, at = self._unquoted(line, at, following)
            fields.append(content)
            if at < 0:
                return fields, ""

    def _quoted(self, line: str, at: int, following: Callable[[], str | None]) -> tuple[str | None, str, int]:
        """Return a quoted field, the line in which it ends, and where; None where it does not end."""
        pieces = []
        while True:
            end = _match_end(_INSIDE_QUOTES[self.quoting], line, at)
            pieces.append(line[at:end])
            if end < len(line):
                break
            more = following()
            if more is None:
                return None, line, end
            line, at = more, 0
        content = "".join(pieces)
        self.seen.needed += not content or '"' in content or "\r" in content[:-1]
        if '"' in content or (self.quoting is not Quoting.DOUBLED and "\\" in content):
            if self.quoting is Quoting.BACKSLASH:
                self.seen.loose += len(self._needless.findall(content.replace("\\\\", "")))
            content = _ESCAPES[self.quoting].sub(_escaped, content)
        self.seen.quoted_comma += "," in content
        return content, line, end + 1

    def _unquoted(self, line: str, at: int, following: Callable[[], str | None]) -> tuple[str, str, int]:
        """Return a field that is not quoted, the line in which it ends, and where the next begins; -1: nowhere."""
        if self.quoting is not Quoting.BACKSLASH:
            end = line.find(self.delimiter, at)
            content = self.text.without_end(line)[at:] if end < 0 else line[at:end]
            next_at = end + 1 if end >= 0 else -1
        else:
            pieces = []
            while True:
                end = _match_end(self._bare, line, at)
                pieces.append(line[at:end])
                more = following() if end == len(line) and line.endswith(self.text.line_end) else None
                if more is None:
                    break
                line, at = more, 0
            next_at = end + 1 if end < len(line) and line[end] == self.delimiter else -1
            content = "".join(pieces)
            if self.text.carriage_returns and next_at < 0:
                content = content.rstrip("\r")
            if content == NULL:
                return content, line, next_at
            unescaped = content.replace("\\\\", "")
            self.seen.loose += len(self._needless.findall(unescaped))
            self.seen.loose += '"' in unescaped.replace('\\"', "")
            content = _ESCAPES[self.quoting].sub(_escaped, content)
            return content, line, next_at
        self.seen.loose += '"' in content
        self.seen.bare_comma += "," in content
        return content.rstrip(" ") if self.skip_blanks else content, line, next_at


def _no_line() -> None:
    """Stand for the line that follows where none may."""


def _match_end(pattern: re.Pattern[str], line: str, at: int) -> int:
    match = pattern.match(line, at)
    return match.end() if match else at


def _escaped(match: re.Match[str]) -> str:
    return match[1] or '"'


@dataclass(frozen=True)
class Table:
    """A delimited file, its header and its dialect."""

    text: TextFile
    delimiter: str
    quoting: Quoting
    header: tuple[str, ...]
    header_lines: int
    """How many lines come before the first row: the header, and Excel's `sep=`."""
    skip_blanks: bool

    def __str__(self) -> str:
        blanks = ", blanks behind them are not part of the fields" if self.skip_blanks else ""
        between = _DELIMITER_NAMES.get(self.delimiter, repr(self.delimiter))
        return f"fields between {between}{blanks}, {self.quoting.value}, {self.text}"

    def rows(self, plausible: Callable[[Sequence[str]], bool]) -> Iterator[Record]:
        """Yield every row and every blank line in order; `plausible` tells a row from a line of a text.

        It is asked only behind a row whose quotes do not match, to find where the rows go on.
        """
        splitter = _Splitter(self.text, self.delimiter, self.quoting, self.skip_blanks)
        return _records(self, splitter, plausible)


def inspect_table(text: TextFile, review_format: str, wanted: Callable[[Sequence[str]], bool]) -> Table | None:
    """Find out a file's dialect; None where it holds nothing. `wanted` tells whether names are those of a header."""
    candidates = list(DELIMITERS[review_format])
    lines = iter(text)
    before = 0
    first = next(lines, "")
    while first and not first.strip():
        before, first = before + 1, next(lines, "")
    if said := re.fullmatch(r'"?sep=([^\r\n"\\])"?[\r\n]*', first, re.IGNORECASE):
        candidates = [said[1]]
        before, first = before + 1, next(lines, "")
    if not first.strip():
        return None
    ahead = [first, *islice(lines, LONGEST_HEADER - 1)]
    headers = {mark: _header(text, mark, ahead) for mark in candidates}
    delimiter = next((mark for mark in candidates if wanted(headers[mark][0])), candidates[0])
    names, header_lines = headers[delimiter]
    skip_blanks = any(name.startswith(" ") for name in names[1:])
    header = tuple(name.strip() for name in names)
    table = Table(text, delimiter, Quoting.PLAIN, header, before + header_lines, skip_blanks)
    return _with_quoting(table, quoted_header='"' in first)


def _header(text: TextFile, delimiter: str, lines: Sequence[str]) -> tuple[list[str], int]:
    """Return the names in a header, and its lines; a blank in front of a name is left there."""
    first, *others = lines
    skip_blanks = re.search(rf'{re.escape(delimiter)} +"', first) is not None
    splitter = _Splitter(text, delimiter, Quoting.DOUBLED, skip_blanks)
    if splitter.is_simple(first):
        return _parts(text, delimiter, first), 1
    unread = iter(others)
    names, problem = splitter.split(first, lambda: next(unread, None))
    if problem:
        return _parts(text, delimiter, first), 1
    return [" " * skip_blanks + name for name in names], len(lines) - len(list(unread))


def _parts(text: TextFile, delimiter: str, line: str) -> list[str]:
    """Return what stands between the delimiters of a line, quotes or not."""
    return text.without_end(line).split(delimiter)


def _with_quoting(table: Table, *, quoted_header: bool) -> Table:
    """Return the table with the quoting in which the fewest rows of the file are odd."""
    text = table.text

    def odd(quoting: Quoting, limit: int | None = None) -> tuple[int, _Oddities]:
        return _oddities(replace(table, quoting=quoting), limit)

    own = Quoting.PLAIN if table.delimiter == "\t" and not quoted_header else Quoting.DOUBLED
    others = [Quoting.DOUBLED] * (text.quotes and own is Quoting.PLAIN)
    others += [Quoting.ESCAPED] * (text.quotes and text.backslashes) + [Quoting.BACKSLASH] * text.backslashes
    if not others:
        return replace(table, quoting=own)
    best = own
    fewest, _ = odd(own)
    for quoting in others:
        if not fewest and best is not Quoting.PLAIN:
            break
        number, seen = odd(quoting, limit=fewest)
        # Where quotes that are characters are as good: what only a tool that quotes leaves. A quote within quotes, and
        # Excel's quotes around each comma, count only where nothing is odd.
        as_good = best is Quoting.PLAIN and number <= fewest and quoting is not Quoting.BACKSLASH
        evidence = seen.needed or (seen.quoted_comma and not seen.bare_comma)
        if number < fewest or (as_good and (seen.spanning or (number == 0 and evidence))):
            best, fewest = quoting, number
    return replace(table, quoting=best)


def _oddities(table: Table, limit: int | None) -> tuple[int, _Oddities]:
    """Count what is odd about a file in a dialect; counting ends beyond `limit`."""
    splitter = _Splitter(table.text, table.delimiter, table.quoting, table.skip_blanks, counts=True)
    width = len(table.header)
    if table.quoting is Quoting.PLAIN:
        rows = islice(table.text, table.header_lines, None)
        return sum(line.count(table.delimiter) != width - 1 and not line.isspace() for line in rows), splitter.seen
    number = 0
    for _, lines, fields in _records(table, splitter, lambda _: True):
        if isinstance(fields, str):
            number += lines
        elif fields and lines > 1:
            # Rows behind rows inside a quoted field: more likely two quotes that do not belong together.
            first, *others = (line.count(table.delimiter) for line in table.delimiter.join(fields).split("\n"))
            swallowed = (first == width - 1) * others.count(width - 1)
            number += swallowed
            splitter.seen.spanning += not swallowed
        if limit is not None and number + splitter.seen.loose > limit:
            break
    return number + splitter.seen.loose, splitter.seen


def _records(table: Table, splitter: _Splitter, plausible: Callable[[Sequence[str]], bool]) -> Iterator[Record]:
    lines = iter(table.text)
    skipped = sum(1 for _ in islice(lines, table.header_lines))
    yield from (
        _plain_records(table, splitter, lines, skipped + 1)
        if table.quoting is Quoting.PLAIN
        else _quoted_records(table, splitter, lines, skipped + 1, plausible)
    )


def _plain_records(table: Table, splitter: _Splitter, lines: Iterator[str], number: int) -> Iterator[Record]:
    width = len(table.header)
    delimiter, line_end = table.delimiter, table.text.line_end
    as_they_are = not table.skip_blanks and not table.text.carriage_returns
    for at, line in enumerate(lines, start=number):
        fields = line.removesuffix(line_end).split(delimiter) if as_they_are else splitter.simple(line)
        if len(fields) == width:
            yield at, 1, fields
        else:
            yield at, 1, BLANK if not line.strip(" \r\n") else _wrong_width(len(fields), width)


class _Lines:
    """The lines of a file, of which those of a row that turns out to be none can be given back."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._again: deque[str] = deque()
        self._following: list[str] = []
        self._characters = 0
        self._behind = 0
        self._given_back = 0

    @property
    def in_row(self) -> int:
        """Return how many lines the row has by now."""
        return 1 + len(self._following)

    def begin(self) -> str | None:
        """Return the first line of the next row."""
        self._behind += self._characters
        self._following.clear()
        self._characters = 0
        line = self._next()
        self._behind += A_LINE + len(line or "")
        return line

    def following(self) -> str | None:
        """Return a further line of the row, None at the end of the file and of what a row may hold."""
        in_time = self._given_back < MOST_READ_AGAIN + self._behind
        line = self._next() if self._characters < (LONGEST_ROW if in_time else SHORT_ROW) else None
        if line is not None:
            self._following.append(line)
            self._characters += A_LINE + len(line)
        return line

    def give_back(self) -> None:
        """Give all lines of the row but its first one to the next rows."""
        self._again.extendleft(reversed(self._following))
        self._following.clear()
        self._given_back += self._characters
        self._characters = 0

    def _next(self) -> str | None:
        return self._again.popleft() if self._again else next(self._lines, None)


def _quoted_records(
    table: Table,
    splitter: _Splitter,
    unread: Iterator[str],
    number: int,
    plausible: Callable[[Sequence[str]], bool],
) -> Iterator[Record]:
    width = len(table.header)
    lines = _Lines(unread)
    doubt: tuple[int, str] | None = None
    """The first line of a row whose quotes do not match, and what is wrong; up to where rows go on, all is of it."""
    while (line := lines.begin()) is not None:
        fields, problem = _split(splitter, line, lines, width)
        whole = not problem and len(fields) == width
        if doubt is not None:
            parts = fields if whole else _parts(splitter.text, splitter.delimiter, line)
            if not (len(parts) == width and plausible(parts)):
                number += 1
                lines.give_back()
                continue
            yield doubt[0], number - doubt[0], doubt[1]
            doubt = None
        if whole:
            yield number, lines.in_row, fields
        elif problem:
            doubt = (number, problem)
        else:
            yield number, 1, BLANK if not line.strip(" \r\n") else _wrong_width(len(fields), width)
        number += lines.in_row
    if doubt is not None:
        yield doubt[0], number - doubt[0], doubt[1]


def _split(splitter: _Splitter, line: str, lines: _Lines, width: int) -> tuple[list[str], str]:
    """Return the fields of the row that begins with a line, and what is wrong with its quotes: then it is one line."""
    if splitter.is_simple(line):
        return splitter.simple(line), ""
    if splitter.is_csv(line):
        quick = splitter.split_csv(line)
        if quick:
            return quick, ""
    fields, problem = splitter.split(line, lines.following, width)
    if lines.in_row > 1 and not problem and len(fields) != width:
        problem = UNCLOSED
    if problem:
        lines.give_back()
    return fields, problem


def _wrong_width(fields: int, width: int) -> str:
    return f"it has {fields} fields, the header has {width}"
