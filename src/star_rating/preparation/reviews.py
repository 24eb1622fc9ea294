"""Raw reviews, one row at a time: TSV without quoting, CSV, JSON Lines or Parquet, each plain or gzipped.

    for row in read_reviews(Path("reviews.tsv.gz"), "tsv", Columns()):
        print(row.line, row.problem or row.stars)

Every row comes out, the unusable ones with what is wrong with them, so that the caller can count them and name the
line. Messages never quote a review: logs are read by more people than reviews are.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from star_rating.failures import DataError, nearest_name

EMPTY = "its text or its rating is empty"
"""The problem of a row that lacks a value; the notebook dropped those. Every other problem makes a row broken."""

PARQUET_BATCH_ROWS = 4096
READ_BUFFER_BYTES = 1 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_GZIP_MAGIC = b"\x1f\x8b"
_STARS = {str(stars): stars for stars in range(1, 6)}


@dataclass(frozen=True)
class Columns:
    """What the columns are called."""

    review_body: str = "review_body"
    star_rating: str = "star_rating"
    review_id: str | None = None
    """None: `review_id` where a file has it. A name: that column, which every file must have."""


class Row(NamedTuple):
    """One row of an input file."""

    line: int
    """Its first line in the file, from 1; in Parquet, its row, from 1."""
    problem: str
    """Empty for a usable review, else EMPTY or what is broken; then the fields below say nothing."""
    stars: int = 0
    review_id: str = ""
    """Empty where the input has none."""
    body: str = ""


class _Cells(NamedTuple):
    review_id: Any
    star_rating: Any
    review_body: Any


_RawRow = tuple[int, _Cells | str]
"""A line, and its three cells or what is broken about it."""


def read_reviews(path: Path, review_format: str, columns: Columns) -> Iterator[Row]:
    """Yield every row of a file in order; raise DataError when the file itself is damaged or lacks a column.

    `review_format` is a key of READERS. Memory holds one row (CSV, TSV, JSON Lines) or one batch (Parquet).
    """
    line = 0
    try:
        with _open(path) as stream:
            for line, cells in READERS[review_format](stream, path, columns):
                yield Row(line, cells) if isinstance(cells, str) else _checked(line, cells)
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(
            f"{path} cannot be read after line {line}: {reason}. Copy it again, or leave it out."
        ) from error


def _open(path: Path) -> BinaryIO:
    """Open a file, unpacked if it starts as gzip does: names lie, `.gz` is lost by downloads that unpack."""
    with path.open("rb") as file:
        is_gzip = file.read(2) == _GZIP_MAGIC
    if not is_gzip:
        return path.open("rb", buffering=READ_BUFFER_BYTES)
    # GzipFile's own readline goes through Python for each line; a BufferedReader on top does not.
    return io.BufferedReader(gzip.open(path), READ_BUFFER_BYTES)


def _checked(line: int, cells: _Cells) -> Row:
    """Turn cells into a usable review, or say what is wrong."""
    review_id, star_rating, body = cells
    if _is_blank(body) or _is_blank(star_rating):
        return Row(line, EMPTY)
    stars = (_STARS.get(star_rating) if isinstance(star_rating, str) else None) or _whole_stars(star_rating)
    if isinstance(stars, str):
        return Row(line, stars)
    if not isinstance(body, str):
        return Row(line, "its review text is not a text")
    if not body.isascii() and not _is_unicode(body):
        return Row(line, "its review text is not UTF-8")
    return Row(line, "", stars, "" if _is_blank(review_id) else str(review_id), body)


def _is_blank(value: object) -> bool:
    if isinstance(value, str):
        return not value or value.isspace()
    return value is None or value != value  # noqa: PLR0124 - NaN, as pandas writes a missing number


def _whole_stars(value: object) -> int | str:
    """Return 1 to 5 for 5, 5.0, "5.0" or " 5", else what is wrong with the rating."""
    if isinstance(value, bool):
        return "its rating is not a number"
    try:
        number = float(value)  # type: ignore[arg-type] # whatever float() refuses is answered below
    except (TypeError, ValueError):
        return "its rating is not a number"
    if number not in _STARS.values():
        return f"its rating is {number:g}, not one of 1, 2, 3, 4, 5"
    return int(number)


def _is_unicode(text: str) -> bool:
    """Tell whether a text is free of lone surrogates: bytes that were not UTF-8, or half of a JSON escape."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_tsv(stream: BinaryIO, path: Path, columns: Columns) -> Iterator[_RawRow]:
    """Split at tabs and line feeds only; a quote is a character like any other, as in the Amazon review files."""
    header = stream.readline().removeprefix(_BYTE_ORDER_MARK).rstrip(b"\r\n").decode(errors="replace").split("\t")
    pick = _picker(header, path, columns)
    width = len(header)
    for number, raw in enumerate(stream, start=2):
        line = raw.rstrip(b"\r\n")
        if not line:
            continue
        try:
            fields = line.decode().split("\t")
        except UnicodeDecodeError:
            yield number, "it is not UTF-8"
            continue
        yield number, pick(fields) if len(fields) == width else _wrong_width(len(fields), width)


def _read_csv(stream: BinaryIO, path: Path, columns: Columns) -> Iterator[_RawRow]:
    # A byte that is not UTF-8 spoils its row, not the file: it arrives as a surrogate, which _checked refuses.
    with io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        reader = csv.reader(text)
        header = next(reader, [])
        pick = _picker(header, path, columns)
        width = len(header)
        while True:
            first_line = reader.line_num + 1
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield first_line, f"it is not CSV: {error}"
                continue
            if fields:
                yield first_line, pick(fields) if len(fields) == width else _wrong_width(len(fields), width)


def _read_jsonl(stream: BinaryIO, path: Path, columns: Columns) -> Iterator[_RawRow]:
    del path  # JSON Lines has no header to complain about
    for number, line in enumerate(stream, start=1):
        if line.isspace():
            continue
        try:
            document = json.loads(line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line)
        except (ValueError, RecursionError):
            yield number, "it is not JSON"
            continue
        yield number, _from_document(document, columns)


def _from_document(document: object, columns: Columns) -> _Cells | str:
    if not isinstance(document, dict):
        return "it is not a JSON object"
    for needed in (columns.review_body, columns.star_rating, columns.review_id):
        if needed is not None and needed not in document:
            return f"it has no {needed}"
    review_id = document.get(columns.review_id or "review_id")
    return _Cells(review_id, document[columns.star_rating], document[columns.review_body])


def _read_parquet(stream: BinaryIO, path: Path, columns: Columns) -> Iterator[_RawRow]:
    import pyarrow as pa  # here, because it takes 0.2 s that only Parquet input should cost
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(stream)
        pick = _picker(file.schema_arrow.names, path, columns)
        wanted = pick(file.schema_arrow.names)
        row = 1
        for batch in file.iter_batches(PARQUET_BATCH_ROWS, columns=[name for name in wanted if name is not None]):
            cells = [batch.column(name).to_pylist() if name is not None else [None] * len(batch) for name in wanted]
            yield from enumerate(map(_Cells, *cells), start=row)
            row += len(batch)
    except pa.ArrowException as error:
        raise DataError(f"{path} is not a whole Parquet file: {error}. Copy it again, or leave it out.") from error


READERS: dict[str, Callable[[BinaryIO, Path, Columns], Iterator[_RawRow]]] = {
    "tsv": _read_tsv,
    "csv": _read_csv,
    "jsonl": _read_jsonl,
    "parquet": _read_parquet,
}


def _wrong_width(fields: int, width: int) -> str:
    return f"it has {fields} fields, the header has {width}"


def _picker(header: Sequence[str], path: Path, columns: Columns) -> Callable[[Sequence[Any]], _Cells]:
    """Return the function that takes the three cells out of a row's fields."""
    star_at = _position(columns.star_rating, header, path, "--star-rating-column")
    body_at = _position(columns.review_body, header, path, "--review-body-column")
    if columns.review_id is not None or "review_id" in header:
        id_at = _position(columns.review_id or "review_id", header, path, "--review-id-column")
        return lambda fields: _Cells(fields[id_at], fields[star_at], fields[body_at])
    return lambda fields: _Cells(None, fields[star_at], fields[body_at])


def _position(column: str, header: Sequence[str], path: Path, option: str) -> int:
    if column in header:
        return header.index(column)
    # Without a header the first line is a review, which no message may quote.
    if not all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,39}", name) for name in header):
        raise DataError(
            f"{path} has no column {column}: its first line is not a header. Add one with the column names."
        )
    nearest = nearest_name(column, dict.fromkeys(header))
    names = ", ".join(header[:20])
    meant = f" (did you mean {nearest}?)" if nearest else ""
    raise DataError(f"{path} has no column {column}{meant}; it has {names}. Name the right one with {option}.")
