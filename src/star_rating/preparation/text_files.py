"""Text files as tools write them: plain or gzipped, in UTF-8, UTF-16 or UTF-32, lines ended by LF, CR LF or CR.

    text = inspect_text(Path("reviews.tsv.gz"))
    text.encoding, text.lines
    for line in text:
        print(line)

A file is read whole before its first row is: its lines are counted apart from whoever reads its rows, so that no line
can get lost between the two.
"""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from star_rating.data.files import printable
from star_rating.failures import DataError

READ_BUFFER_BYTES = 1 << 20
_HEAD_CHARACTERS = 1 << 16
_GZIP_MAGIC = b"\x1f\x8b"
_MAGIC = {
    _GZIP_MAGIC: "gzipped twice",
    b"PK\x03\x04": "a ZIP archive (an Excel workbook is one, too)",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"PAR1": "a Parquet file",
    b"Obj\x01": "an Avro file",
    b"ORC": "an ORC file",
    b"BZh": "packed with bzip2",
    b"\xfd7zXZ\0": "packed with xz",
    b"\x28\xb5\x2f\xfd": "packed with zstd",
    b"SQLite format 3\0": "an SQLite database",
    b"<!DOCTYPE": "a web page",
    b"<!doctype": "a web page",
    b"<html": "a web page",
}
"""How files begin that carry a name of ours by mistake."""
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16: its mark begins like that one's
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}

UNREADABLE = (OSError, EOFError, zlib.error, UnicodeDecodeError)
"""What a file that is cut short, or whose disk fails, raises while it is read."""


@dataclass(frozen=True)
class TextFile:
    """A text file and how its characters and lines are told apart."""

    path: Path
    encoding: str
    line_end: str
    """What ends a line: a line feed or a carriage return, which stands at the end of each line that is yielded."""
    carriage_returns: bool
    """Whether carriage returns before a line feed are part of the line's end."""
    lines: int
    quotes: bool
    """Whether there is any."""
    backslashes: bool

    def __iter__(self) -> Iterator[str]:
        """Yield each line with its end; what is not Unicode arrives as lone surrogates."""
        with _opened(self.path, self.encoding, newline=self.line_end) as text:
            yield from text

    def without_end(self, line: str) -> str:
        """Return a line without what ends it."""
        if self.carriage_returns:
            return line.rstrip("\r\n")
        return line.removesuffix(self.line_end)

    def __str__(self) -> str:
        ends = "CR LF" if self.carriage_returns else {"\n": "LF", "\r": "CR"}[self.line_end]
        return f"{self.encoding.upper().removesuffix('-SIG')}, lines end with {ends}"


def inspect_text(path: Path) -> TextFile:
    """Read a file to its end and return how it is to be read; raise DataError where it is damaged or no text."""
    lines = 0
    quotes = backslashes = False
    last = ""
    try:
        with open_unpacked(path) as stream:
            encoding = _encoding(stream.peek(64)[:64], path)
        with _opened(path, encoding, newline="") as text:
            head = block = text.read(_HEAD_CHARACTERS)
            first = re.search(r"(\r+)?\n|\r", head)
            line_end = "\r" if first and first[0] == "\r" else "\n"
            while block:
                lines += block.count(line_end)
                quotes = quotes or '"' in block
                backslashes = backslashes or "\\" in block
                last = block[-1]
                block = text.read(READ_BUFFER_BYTES)
    except UNREADABLE as error:
        raise unreadable(path, lines, error) from error
    lines += last not in ("", line_end)
    return TextFile(path, encoding, line_end, bool(first and first[1]), lines, quotes, backslashes)


def open_unpacked(path: Path) -> io.BufferedReader:
    """Open a file, unpacked if it starts as gzip does: names lie, `.gz` is lost by downloads that unpack."""
    with path.open("rb") as file:
        is_gzip = file.read(2) == _GZIP_MAGIC
    if not is_gzip:
        return io.BufferedReader(path.open("rb", buffering=0), READ_BUFFER_BYTES)
    # GzipFile's own readline goes through Python for each line; a BufferedReader on top does not.
    return io.BufferedReader(gzip.open(path), READ_BUFFER_BYTES)


def unreadable(path: Path, line: int, error: BaseException, unit: str = "line") -> DataError:
    """Return the error for a file that cannot be read to its end."""
    reason = getattr(error, "strerror", None) or getattr(error, "reason", None) or str(error)
    return DataError(f"{printable(path)} cannot be read after {unit} {line}: {reason}. Copy it again, or leave it out.")


@contextmanager
def _opened(path: Path, encoding: str, newline: str) -> Iterator[io.TextIOWrapper]:
    # A byte that is not UTF-8 spoils its row, not the file: it arrives as a surrogate, as half a pair of UTF-16 does.
    errors = "surrogateescape" if encoding.startswith("utf-8") else "surrogatepass"
    with (
        open_unpacked(path) as stream,
        io.TextIOWrapper(stream, encoding=encoding, errors=errors, newline=newline) as text,
    ):
        yield text


def _encoding(head: bytes, path: Path) -> str:
    for magic, what in _MAGIC.items():
        if head.startswith(magic):
            raise DataError(f"{printable(path)} is {what}, not text. Unpack or convert it, or leave it out.")
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if head.startswith(mark):
            return encoding
    # UTF-16 without its mark: each letter of a column's name has a zero byte beside it.
    letters, zeros = head[: len(head) // 2 * 2 : 2], head[1::2]
    if letters and not any(zeros) and all(letters):
        return "utf-16-le"
    if letters and not any(letters) and all(zeros):
        return "utf-16-be"
    return "utf-8"
