"""Raw reviews, one row at a time: TSV, CSV, JSON Lines or Parquet, each plain or gzipped.

    file = open_reviews(Path("reviews.tsv.gz"), "tsv", Columns())
    print(file.dialect)
    for row in file:
        print(row.line, row.problem or row.stars)

Every row comes out, the unusable ones with what is wrong with them, so that the caller can count them and name the
line. Messages never quote a review: logs are read by more people than reviews are.
"""

from __future__ import annotations

import json
import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from star_rating.data.files import printable
from star_rating.data.schema import STARS
from star_rating.data.text_processing import UNCHANGED, TextProcessing
from star_rating.failures import DataError, nearest_name
from star_rating.preparation.delimited import LONGEST_ROW, NULL, Table, inspect_table
from star_rating.preparation.text_files import UNREADABLE, TextFile, inspect_text, open_unpacked, unreadable

if TYPE_CHECKING:
    import pyarrow as pa

EMPTY = "its text or its rating is empty"
"""The problem of a row that lacks a value; the notebook dropped those."""
NO_TEXT = "its text is empty"
"""The same, where no rating is needed."""
NO_TOKEN = "its text holds no token"  # noqa: S105 - a tokenizer's
LEFT_EMPTY = (EMPTY, NO_TEXT, NO_TOKEN)
"""The problems that make a row an empty one; every other makes it broken."""

PARQUET_BATCH_ROWS = 4096
NAMES_SHOWN = 20
LONGEST_NAME = 40
"""Of a column, in characters, in messages."""
_STARS: dict[Any, int] = {stars: int(stars) for stars in STARS}
_NUMBER = re.compile(r"\s*[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?\s*", re.ASCII | re.IGNORECASE)
_ANY_NUMBER = re.compile(r"(?:.*\W)?\d.*")
"""In a line that may be a whole review."""
_VISIBLE_ASCII = re.compile("[!-~]")


@dataclass(frozen=True)
class Columns:
    """What the columns are called."""

    review_body: str = "review_body"
    star_rating: str | None = "star_rating"
    """None: reviews that are to be predicted have no rating; one that is there is not read."""
    review_id: str | None = None
    """None: `review_id` where a file has it. A name: that column, which every file must have."""

    @property
    def needed(self) -> dict[str, str]:
        """Return the names that a file must have, and the option that says another."""
        needed = {self.star_rating: "--star-rating-column"} if self.star_rating is not None else {}
        needed |= {self.review_body: "--review-body-column"}
        return needed | ({self.review_id: "--review-id-column"} if self.review_id is not None else {})

    def are_in(self, names: Sequence[str]) -> bool:
        """Tell whether all needed columns are among these names, with blanks around them or not."""
        return self.needed.keys() <= {name.strip() for name in names}


class Row(NamedTuple):
    """One row of an input file."""

    line: int
    """Its first line in the file, from 1; in Parquet, its row, from 1."""
    problem: str
    """Empty for a usable review, else one of LEFT_EMPTY or what is broken; then the fields below say nothing."""
    stars: int = 0
    review_id: str = ""
    """Empty where the input has none."""
    body: str = ""
    lines: int = 1
    """How many lines of the file it takes."""


_Cells = tuple[Any, Any, Any]
"""review_id, star_rating, review_body."""
_Raw = tuple[int, int, _Cells | str]
"""A row's first line, how many lines it has, and its cells or what is wrong with it."""

HasToken = Callable[[str], bool]
"""Asked of a text without a letter, a digit or a sign: whether the tokenizer makes anything of it."""


class ReviewFile(ABC):
    """A file of reviews that has been looked at; iterating over it reads it."""

    unit = "line"
    """What Row.line counts."""

    def __init__(self, path: Path, columns: Columns, has_token: HasToken) -> None:
        self.path = path
        self.columns = columns
        self._has_token = has_token
        self.processing = UNCHANGED
        """How each text is cleaned before anything else looks at it."""
        self.lines = 0
        """Of the whole file, counted apart from its rows; 0 in Parquet, which has none."""
        self.other_lines = 0
        """Lines that are of no row, such as the header and blank lines, in the last reading."""
        self.unseen: Mapping[str, str] = {}
        """The needed columns that no row of the last reading had (only JSON Lines can lack them), and their options."""
        self.names: tuple[str, ...] = ()
        """What the columns are called, where only reading tells."""

    @property
    @abstractmethod
    def dialect(self) -> str:
        """Return how the file is read, for the log; nothing of a file that holds nothing."""

    @abstractmethod
    def _rows(self) -> Iterator[_Raw]:
        """Yield every row in order."""

    def __iter__(self) -> Iterator[Row]:
        """Yield every row in order; raise DataError when the file is damaged or is not what it was before."""
        line = 0
        self.other_lines = 0
        try:
            for line, lines, cells in self._rows():
                yield Row(line, cells, lines=lines) if isinstance(cells, str) else self._checked(line, lines, cells)
        except UNREADABLE as error:
            raise unreadable(self.path, line, error, self.unit) from error

    def _checked(self, line: int, lines: int, cells: _Cells) -> Row:
        """Turn cells into a usable review, or say what is wrong."""
        review_id, star_rating, body = cells
        if isinstance(body, str):
            body = self.processing.clean(body)
        # What most rows are, in a third of the time.
        if type(body) is type(review_id) is str and body.isascii() and review_id.isascii() and body != NULL:
            quick = _STARS.get(star_rating) if isinstance(star_rating, str) else None
            if quick and len(body) <= LONGEST_ROW and _VISIBLE_ASCII.search(body):
                return Row(line, "", quick, review_id if not _is_blank(review_id) else "", body, lines)
        is_rated = self.columns.star_rating is not None
        if _is_blank(body) or (is_rated and _is_blank(star_rating)):
            return Row(line, EMPTY if is_rated else NO_TEXT, lines=lines)
        stars = _whole_stars(star_rating) if is_rated else 0
        problem = stars if isinstance(stars, str) else _text_problem(body) or _id_problem(review_id)
        if not problem and not _VISIBLE_ASCII.search(body) and not _has_sign(body) and not self._has_token(body):
            problem = NO_TOKEN
        if problem or isinstance(stars, str):
            return Row(line, problem, lines=lines)
        return Row(line, "", stars, "" if _is_blank(review_id) else str(review_id), body, lines)


def open_reviews(
    path: Path,
    review_format: str,
    columns: Columns,
    has_token: HasToken = lambda _: True,
    processing: TextProcessing = UNCHANGED,
) -> ReviewFile:
    """Look at a file of reviews; raise DataError when it is damaged, lacks a column, or is of another format.

    `review_format` is one of READERS. Reading holds one row in memory (CSV, TSV, JSON Lines) or a batch (Parquet).
    """
    file = READERS[review_format](path, columns, has_token)
    file.processing = processing
    return file


def read_reviews(path: Path, review_format: str, columns: Columns) -> Iterator[Row]:
    """Yield every row of a file in order."""
    yield from open_reviews(path, review_format, columns)


def _is_blank(value: object) -> bool:
    if isinstance(value, str):
        return not value or value.isspace() or value == NULL
    return value is None or value != value  # noqa: PLR0124 - NaN, as pandas writes a missing number


def _whole_stars(value: object) -> int | str:
    """Return 1 to 5 for 5, 5.0, "5.0", "5,0" or " 5", else what is wrong with the rating."""
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, str):
        value = re.sub(r"^(\s*[1-5]),(00?\s*)$", r"\1.\2", value)
        if not _NUMBER.fullmatch(value):
            return "its rating is not a number"
    if isinstance(value, bool):
        return "its rating is not a number"
    try:
        number = float(value)  # type: ignore[arg-type] # whatever float() refuses is answered below
    except OverflowError:
        return "its rating is not one of 1, 2, 3, 4, 5"
    except (TypeError, ValueError):
        return "its rating is not a number"
    if number not in _STARS.values():
        return f"its rating is {number:g}, not one of 1, 2, 3, 4, 5"
    return int(number)


def _text_problem(body: object) -> str:
    if not isinstance(body, str):
        return "its review text is not a text"
    if len(body) > LONGEST_ROW:  # a tokenizer takes a hundred bytes a character
        return f"its review text has {len(body):,} characters, more than {LONGEST_ROW:,}"
    return "" if _is_unicode(body) else "its review text is not UTF-8"


def _id_problem(review_id: object) -> str:
    if isinstance(review_id, str):
        return "" if _is_unicode(review_id) else "its review id is not UTF-8"
    return "its review id is not a text or a number" if isinstance(review_id, list | dict) else ""


def _is_unicode(text: str) -> bool:
    """Tell whether a text is free of lone surrogates: bytes that were not UTF-8, or half of a JSON escape."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _has_sign(text: str) -> bool:
    """Tell whether a text holds a letter, a number, a punctuation mark or a symbol: of that a token can be made."""
    return any(unicodedata.category(character)[0] in "LNPS" for character in text)


class _DelimitedReviews(ReviewFile):
    def __init__(self, path: Path, columns: Columns, has_token: HasToken, *, review_format: str) -> None:
        super().__init__(path, columns, has_token)
        text = inspect_text(path)
        self.lines = text.lines
        self._table: Table | None = inspect_table(text, review_format, wanted=columns.are_in)
        self._pick = _picker(self._table.header, path, columns) if self._table else None

    @property
    def dialect(self) -> str:
        return str(self._table) if self._table else ""

    def _rows(self) -> Iterator[_Raw]:
        if self._table is None or self._pick is None:
            self.other_lines = self.lines
            return
        pick = self._pick
        self.other_lines = self._table.header_lines
        is_rated = self.columns.star_rating is not None
        for line, lines, fields in self._table.rows(lambda fields: not is_rated or _is_stars(pick(fields)[1])):
            if isinstance(fields, str):
                yield line, lines, fields
            elif fields:
                yield line, lines, pick(fields)
            else:
                self.other_lines += 1


class _JsonLines(ReviewFile):
    def __init__(self, path: Path, columns: Columns, has_token: HasToken) -> None:
        super().__init__(path, columns, has_token)
        self._text = inspect_text(path)
        self.lines = self._text.lines
        _refuse_json_over_lines(self._text)

    @property
    def dialect(self) -> str:
        return f"a JSON object a line, {self._text}" if self.lines else ""

    def _rows(self) -> Iterator[_Raw]:
        columns = self.columns
        needed = dict(columns.needed)
        names: dict[str, None] = {}
        id_name = columns.review_id or "review_id"
        keys = dict.fromkeys((id_name, *columns.needed))
        quoted = [(key, json.dumps(key)) for key in keys]
        rating_name = columns.star_rating or ""
        rows = 0
        for number, line in enumerate(self._text, start=1):
            if line.isspace():
                self.other_lines += 1
                continue
            document = _json_object(line)
            if isinstance(document, str):
                yield number, 1, document
                continue
            rows += 1
            if needed or rows == 1:
                for name in [name for name in needed if name in document]:
                    del needed[name]
                names |= dict.fromkeys(list(document)[:NAMES_SHOWN])
            for key, as_written in quoted:
                if line.count(as_written) > 1 and _is_repeated(key, line):
                    yield number, 1, f"it has {key} more than once"
                    break
            else:
                get = document.get
                yield number, 1, (get(id_name), get(rating_name), get(columns.review_body))
        self.unseen = needed if rows else {}
        self.names = tuple(names)


def _json_object(line: str) -> dict[str, Any] | str:
    """Return the object in a line, or what is wrong with the line; a key that is missing is one whose value is null."""
    try:
        document = json.loads(line.removeprefix("\ufeff"))
    except (json.JSONDecodeError, RecursionError):
        return "it is not JSON"
    except ValueError:
        return "it holds a number of too many digits"
    return document if isinstance(document, dict) else "it is not a JSON object"


def _is_repeated(key: str, line: str) -> bool:
    outermost: list[list[tuple[str, Any]]] = []

    def keep(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        outermost[:] = [pairs]  # objects end from the inside out
        return dict(pairs)

    json.loads(line.removeprefix("\ufeff"), object_pairs_hook=keep)
    return [name for name, _ in outermost[0]].count(key) > 1


def _refuse_json_over_lines(text: TextFile) -> None:
    """Raise DataError for one array of objects, and for an object over several lines."""
    lines = (line.strip().removeprefix("\ufeff") for line in text)
    first = next((line for line in lines if line), "")
    if first == "[":
        first += next((line for line in lines if line), "")
    if re.match(r"\[\s*\{", first):
        what = "one JSON array"
    elif first == "{" and text.lines > 1:
        what = "JSON over several lines"
    else:
        return
    raise DataError(
        f"{printable(text.path)} is {what}. Write an object a line: in pandas, to_json(..., orient='records', "
        "lines=True)."
    )


class _Parquet(ReviewFile):
    unit = "row"

    @property
    def dialect(self) -> str:
        return "columns" if self.path.stat().st_size else ""

    def _rows(self) -> Iterator[_Raw]:
        import pyarrow as pa  # here, because it takes 0.2 s that only Parquet input should cost
        import pyarrow.parquet as pq

        where = printable(self.path)
        with open_unpacked(self.path) as stream:
            if not stream.peek(1):
                return
            try:
                file = pq.ParquetFile(stream)
                wanted = _picker(file.schema_arrow.names, self.path, self.columns)(file.schema_arrow.names)
                for name in wanted:
                    _check_type(name, file.schema_arrow, where)
                row = 1
                columns = [name for name in dict.fromkeys(wanted) if name]
                for batch in file.iter_batches(PARQUET_BATCH_ROWS, columns=columns):
                    ids, ratings, bodies = (_values(batch, name) for name in wanted)
                    for at, values in enumerate(zip(ids, ratings, bodies, strict=True), start=row):
                        yield at, 0, values
                    row += len(batch)
            except (pa.ArrowException, OverflowError) as error:
                raise DataError(
                    f"{where} is not a whole Parquet file: {str(error).rstrip('.')}. Copy it again, or leave it out."
                ) from error
            if row != file.metadata.num_rows + 1:
                raise DataError(f"{where} says it has {file.metadata.num_rows} rows, and has {row - 1}. Copy it again.")


def _check_type(name: str, schema: pa.Schema, where: str) -> None:
    """Raise DataError where a column's type can hold neither a text nor a number."""
    import pyarrow.types as pt

    if not name:
        return
    kind = schema.field(name).type
    kind = kind.value_type if pt.is_dictionary(kind) else kind
    if pt.is_nested(kind) or pt.is_temporal(kind):
        raise DataError(f"{where}: its column {name} is of type {str(kind)[:60]}. Make it a text or a number.")


def _values(batch: pa.RecordBatch, name: str) -> list[Any]:
    """Return a column of a batch as Python values; bytes that are not UTF-8 arrive as lone surrogates."""
    import pyarrow as pa
    import pyarrow.types as pt

    if not name:
        return [None] * len(batch)
    column = batch.column(name)
    if pt.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pt.is_fixed_size_binary(column.type):  # such as a UUID
        return [None if value is None else value.hex() for value in column.to_pylist()]
    if pt.is_binary(column.type) or pt.is_large_binary(column.type) or pt.is_binary_view(column.type):
        return [_decoded(value) for value in column.to_pylist()]
    try:
        values: list[Any] = column.to_pylist()
    except UnicodeDecodeError:
        return [_decoded(value) for value in column.cast(pa.large_binary()).to_pylist()]
    return values


def _decoded(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="surrogateescape")


READERS: dict[str, Callable[[Path, Columns, HasToken], ReviewFile]] = {
    "tsv": partial(_DelimitedReviews, review_format="tsv"),
    "csv": partial(_DelimitedReviews, review_format="csv"),
    "jsonl": _JsonLines,
    "parquet": _Parquet,
}


def _is_stars(cell: object) -> bool:
    return cell in _STARS or isinstance(_whole_stars(cell), int)


def _picker(header: Sequence[str], path: Path, columns: Columns) -> Callable[[Sequence[Any]], _Cells]:
    """Return the function that takes the three cells out of a row's fields."""
    rating = columns.star_rating
    star_at = _position(rating, header, path, "--star-rating-column") if rating is not None else None
    body_at = _position(columns.review_body, header, path, "--review-body-column")
    if columns.review_id is not None or "review_id" in header:
        id_at = _position(columns.review_id or "review_id", header, path, "--review-id-column")
        if star_at is not None:
            return itemgetter(id_at, star_at, body_at)
        return lambda fields: (fields[id_at], "", fields[body_at])
    return lambda fields: ("", "" if star_at is None else fields[star_at], fields[body_at])


def _position(column: str, header: Sequence[str], path: Path, option: str) -> int:
    if header.count(column) == 1:
        return header.index(column)
    where = printable(path)
    if column in header:
        raise DataError(f"{where} has {header.count(column)} columns {column}. Leave one, or name another by {option}.")
    # Without a header the first line is a review, which no message may quote: it has a number, the rating.
    number = _NUMBER if len(header) > 1 else _ANY_NUMBER
    if any(len(name) > LONGEST_NAME or number.fullmatch(name) for name in header):
        raise DataError(
            f"{where} has no column {column}: its first line is not a header. Add one with the column names."
        )
    if len(header) == 1:
        raise DataError(
            f"{where} has no column {column}: its first line is one field, {_shown(header)}, delimited by no tab, "
            "comma, semicolon or vertical bar. Delimit the fields by one of these."
        )
    raise no_column(where, column, header, option)


def no_column(where: str, column: str, names: Sequence[str], option: str) -> DataError:
    """Return the error for input without a column that is needed."""
    nearest = nearest_name(column, dict.fromkeys(names))
    meant = f" (did you mean {nearest}?)" if nearest else ""
    return DataError(
        f"{where} has no column {column}{meant}; it has {_shown(names)}. Name the right one with {option}."
    )


def _shown(names: Sequence[str]) -> str:
    return ", ".join(printable(name[:LONGEST_NAME]) for name in names[:NAMES_SHOWN])
