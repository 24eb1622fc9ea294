"""Tables as people's tools write them, in all their dialects, for the tests of the readers.

    writer = draw(strategies.sampled_from(WRITERS)); path = writer.write(table, folder)

csv, pandas and PyArrow write themselves. Spark, Polars and Excel are not here: what they do to a field is written down
from their sources and manuals (Spark: univocity's CsvWriter with escape=backslash, quotes where a field holds a
delimiter, a quote or a line break; Polars: quote_style necessary, always, non_numeric; Excel: quotes around commas in
tab-delimited text, too).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from star_rating.preparation.delimited import Quoting

Rows = Sequence[dict[str, Any]]
"""review_id, star_rating and review_body of each review, and a title."""


@dataclass(frozen=True)
class Writer:
    """A tool with its options."""

    name: str
    review_format: str
    write: Callable[[Rows], bytes]
    quoting: Quoting | None = None
    """What quotes and backslashes mean in its files."""


def _csv(
    delimiter: str, quoting: int, end: str, *, escapes: bool, encoding: str = "utf-8", sep: bool = False
) -> Writer:
    def write(rows: Rows) -> bytes:
        file = io.StringIO()
        file.write(f"sep={delimiter}{end}" if sep else "")
        options: dict[str, Any] = {"delimiter": delimiter, "quoting": quoting, "lineterminator": end}
        if escapes:
            options |= {"escapechar": "\\", "doublequote": False}
        writer = csv.DictWriter(file, list(rows[0]), **options)
        writer.writeheader()
        writer.writerows(rows)
        return file.getvalue().encode(encoding)

    kind = Quoting.BACKSLASH if escapes else Quoting.DOUBLED
    name = f"csv {delimiter!r} quoting={quoting} {end!r} escapes={escapes} {encoding} sep={sep}"
    return Writer(name, "tsv" if delimiter == "\t" else "csv", write, kind)


def _pandas(delimiter: str, quoting: int, *, index: bool) -> Writer:
    def write(rows: Rows) -> bytes:
        text: str = pd.DataFrame(rows).to_csv(None, sep=delimiter, quoting=quoting, index=index)
        return text.encode()

    name = f"pandas {delimiter!r} quoting={quoting} index={index}"
    return Writer(name, "tsv" if delimiter == "\t" else "csv", write, Quoting.DOUBLED)


def _arrow(delimiter: str, style: str) -> Writer:
    def write(rows: Rows) -> bytes:
        sink = pa.BufferOutputStream()
        options = pa.csv.WriteOptions(delimiter=delimiter, quoting_style=style)
        pa.csv.write_csv(pa.Table.from_pylist(list(rows)), sink, options)
        content: bytes = sink.getvalue().to_pybytes()
        return content

    return Writer(f"pyarrow {delimiter!r} {style}", "tsv" if delimiter == "\t" else "csv", write, Quoting.DOUBLED)


def _fields(
    name: str, delimiter: str, of: Callable[[Any], str], quoting: Quoting, end: str = "\n", encoding: str = "utf-8"
) -> Writer:
    def write(rows: Rows) -> bytes:
        lines = [list(rows[0]), *(row.values() for row in rows)]
        return "".join(delimiter.join(map(of, line)) + end for line in lines).encode(encoding)

    return Writer(f"{name} {delimiter!r} {encoding}", "tsv" if delimiter == "\t" else "csv", write, quoting)


def _spark(delimiter: str, *, escapes_backslashes: bool, all_quoted: bool = False) -> Writer:
    def of(value: Any) -> str:
        text = str(value)
        if text and not all_quoted and not any(mark in text for mark in (delimiter, '"', "\n", "\r")):
            return text
        if escapes_backslashes:
            text = text.replace("\\", "\\\\")
        return '"' + text.replace('"', '\\"') + '"'

    return _fields(f"spark quoteAll={all_quoted} {escapes_backslashes}", delimiter, of, Quoting.ESCAPED)


def _polars(delimiter: str, style: str) -> Writer:
    def of(value: Any) -> str:
        text = str(value)
        quoted = {
            "necessary": not text or any(mark in text for mark in (delimiter, '"', "\n", "\r")),
            "always": True,
            "non_numeric": isinstance(value, str),
        }[style]
        return '"' + text.replace('"', '""') + '"' if quoted else text

    return _fields(f"polars {style}", delimiter, of, Quoting.DOUBLED)


def _excel_field(value: Any) -> str:
    text = str(value)
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in '\t,"\n\r') else text


def _json(*, ascii_only: bool, encoding: str = "utf-8") -> Writer:
    def write(rows: Rows) -> bytes:
        lines = (json.dumps(row, ensure_ascii=ascii_only, allow_nan=False) + "\n" for row in rows)
        return "".join(lines).encode(encoding)

    return Writer(f"json ascii={ascii_only} {encoding}", "jsonl", write)


def _pandas_json(rows: Rows) -> bytes:
    text: str = pd.DataFrame(rows).to_json(None, orient="records", lines=True)
    return text.encode()


def _parquet(text_type: pa.DataType, stars_type: pa.DataType, **options: Any) -> Writer:
    def write(rows: Rows) -> bytes:
        columns = {}
        for name in rows[0]:
            values: list[Any] = [row[name] for row in rows]
            if name == "star_rating":
                columns[name] = pa.array(values).cast(stars_type)
            elif pa.types.is_dictionary(text_type):
                columns[name] = pa.array(values, pa.string()).dictionary_encode()
            else:
                columns[name] = pa.array(values, pa.string()).cast(text_type)
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table(columns), sink, **options)
        content: bytes = sink.getvalue().to_pybytes()
        return content

    return Writer(f"parquet {text_type} {stars_type} {options}", "parquet", write)


QUOTED = (csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC)
DELIMITED = (
    *(_csv(mark, quoting, end, escapes=False)
      for mark in ",;\t|" for quoting in QUOTED for end in ("\n", "\r\n", "\r")),
    *(_csv(mark, quoting, "\n", escapes=True) for mark in ",;\t|" for quoting in (*QUOTED, csv.QUOTE_NONE)),
    *(_csv(mark, csv.QUOTE_MINIMAL, "\r\n", escapes=False, encoding=encoding, sep=sep)
      for mark in ",;\t" for encoding in ("utf-8-sig", "utf-16", "utf-16-le", "utf-32") for sep in (False, True)),
    *(_pandas(mark, quoting, index=index) for mark in ",;\t" for quoting in QUOTED for index in (False, True)),
    *(_arrow(mark, style) for mark in ",;\t|" for style in ("needed", "all_valid")),
    *(_spark(mark, escapes_backslashes=True, all_quoted=quoted) for mark in ",;\t|" for quoted in (False, True)),
    *(_polars(mark, style) for mark in ",;\t|" for style in ("necessary", "always", "non_numeric")),
    _fields("excel", "\t", _excel_field, Quoting.DOUBLED, "\r\n", "utf-16"),
    _fields("excel", ",", _excel_field, Quoting.DOUBLED, "\r\n", "utf-8-sig"),
    _fields("amazon", "\t", str, Quoting.PLAIN),
)  # fmt: skip
OTHERS = (
    _json(ascii_only=True),
    _json(ascii_only=False),
    _json(ascii_only=False, encoding="utf-16"),
    Writer("pandas json", "jsonl", _pandas_json),
    _parquet(pa.string(), pa.int64()),
    _parquet(pa.large_string(), pa.int8(), compression="gzip", use_dictionary=False),
    _parquet(pa.binary(), pa.float64(), row_group_size=2),
    _parquet(pa.dictionary(pa.int32(), pa.string()), pa.decimal128(25, 2), compression="zstd"),
    _parquet(pa.string(), pa.string(), data_page_version="2.0"),
)
