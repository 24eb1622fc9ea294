"""The readers: every format comes out alike, and a bad row is named by line without quoting it."""

from __future__ import annotations

import csv
import decimal
import gzip
import io
import json
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from star_rating.failures import DataError
from star_rating.preparation import delimited, reviews
from star_rating.preparation.reviews import EMPTY, NO_TOKEN, Columns, Row, open_reviews, read_reviews
from star_rating.preparation.tokenization import load_tokenizer
from tests.helpers.prepare_fixtures import make_weights

REVIEWS = [("R1", 5, 'A 5" screen, "great"'), ("R2", 1, "broke, naïve 日本"), ("R3", 3, "it's fine")]
NOT = "not one of 1, 2, 3, 4, 5"
EXPECTED = [(stars, review_id, body) for review_id, stars, body in REVIEWS]


def write_tsv(path: Path) -> None:
    lines = ["review_id\tstar_rating\treview_body", *("\t".join(map(str, row)) for row in REVIEWS)]
    path.write_bytes(("\r\n".join(lines) + "\r\n").encode())


def write_csv(path: Path) -> None:
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows([("review_id", "star_rating", "review_body"), *REVIEWS])


def write_jsonl(path: Path) -> None:
    documents = [{"review_id": name, "star_rating": stars, "review_body": body} for name, stars, body in REVIEWS]
    path.write_text("\n\n".join(map(json.dumps, documents)) + "\n", encoding="utf-8")


def write_parquet(path: Path) -> None:
    names, stars, bodies = zip(*REVIEWS, strict=True)
    pq.write_table(pa.table({"review_id": names, "star_rating": stars, "other": stars, "review_body": bodies}), path)


WRITERS = {"tsv": write_tsv, "csv": write_csv, "jsonl": write_jsonl, "parquet": write_parquet}


def usable(rows: list[Row]) -> list[tuple[int, str, str]]:
    assert [row.problem for row in rows] == [""] * len(rows)
    return [(row.stars, row.review_id, row.body) for row in rows]


def rows_of(content: bytes, folder: Path, review_format: str = "tsv", columns: Columns | None = None) -> list[Row]:
    path = folder / f"reviews.{review_format}"
    path.write_bytes(content)
    return list(read_reviews(path, review_format, columns or Columns()))


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("review_format", WRITERS)
def test_every_format_gives_the_same_reviews(tmp_path: Path, review_format: str, *, packed: bool) -> None:
    path = tmp_path / "reviews"
    WRITERS[review_format](path)
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))

    assert usable(list(read_reviews(path, review_format, Columns()))) == EXPECTED


def test_tsv_takes_an_unclosed_quote_as_a_character(tmp_path: Path) -> None:
    rows = rows_of(b'star_rating\treview_body\n5\t"great\n1\tbad"\n', tmp_path)

    assert [(row.line, row.body) for row in rows] == [(2, '"great'), (3, 'bad"')]


def test_tsv_keeps_separators_that_only_unicode_takes_for_line_ends(tmp_path: Path) -> None:
    body = "one\u2028two\x0bthree\rfour"

    assert usable(rows_of(f"star_rating\treview_body\n4\t{body}\n".encode(), tmp_path)) == [(4, "", body)]


def test_csv_gives_the_first_line_of_a_row_that_spans_several(tmp_path: Path) -> None:
    rows = rows_of(b'star_rating,review_body\n5,"one\ntwo"\n9,x\n', tmp_path, "csv")

    assert [(row.line, row.body) for row in rows] == [(2, "one\ntwo"), (4, "")]


@pytest.mark.parametrize("rating", ["5", "5.0", " 5 ", "5,0", "5,00", "5e0", "+5", 5, 5.0])
def test_whole_ratings_are_read_in_every_notation(tmp_path: Path, rating: object) -> None:
    document = json.dumps({"star_rating": rating, "review_body": "x"}).encode()

    assert usable(rows_of(document, tmp_path, "jsonl")) == [(5, "", "x")]


@pytest.mark.parametrize(
    ("rating", "problem"),
    [
        (0, "its rating is 0, not one of 1, 2, 3, 4, 5"),
        ("6", "its rating is 6, not one of 1, 2, 3, 4, 5"),
        (4.5, "its rating is 4.5, not one of 1, 2, 3, 4, 5"),
        (1e999, "its rating is inf, not one of 1, 2, 3, 4, 5"),
        ("1e999", "its rating is inf, not one of 1, 2, 3, 4, 5"),
        (10**400, "its rating is not one of 1, 2, 3, 4, 5"),
        ("9" * 400, "its rating is inf, not one of 1, 2, 3, 4, 5"),
        ("secret", "its rating is not a number"),
        (True, "its rating is not a number"),
        ([5], "its rating is not a number"),
        ("", EMPTY),
        (None, EMPTY),
        (float("nan"), EMPTY),
    ],
)
def test_other_ratings_make_the_row_broken_or_empty(tmp_path: Path, rating: object, problem: str) -> None:
    document = json.dumps({"star_rating": rating, "review_body": "secret"}).encode()

    assert rows_of(document, tmp_path, "jsonl") == [Row(1, problem)]


@pytest.mark.parametrize(
    ("review_format", "content", "problem"),
    [
        ("tsv", b"star_rating\treview_body\n5\ta\tb\n", "it has 3 fields, the header has 2"),
        ("tsv", b"star_rating\treview_body\n5\n", "it has 1 fields, the header has 2"),
        ("tsv", b"star_rating\treview_body\n5\t\xff\n", "its review text is not UTF-8"),
        ("csv", b"review_id,star_rating,review_body\nR\xe9,5,x\n", "its review id is not UTF-8"),
        ("tsv", b"star_rating\treview_body\n5\t \n", EMPTY),
        ("csv", b"star_rating,review_body\n5,a,b\n", "it has 3 fields, the header has 2"),
        ("csv", b"star_rating,review_body\n5,\xff\n", "its review text is not UTF-8"),
        ("csv", b'star_rating,review_body\n5,"' + b"x" * 200_000, "a quote in it is opened and never closed"),
        ("csv", b'star_rating,review_body\n5,"good" and "bad"\n', "text stands behind a quote that closes a field"),
        ("csv", b"star_rating,review_body\n1e999,x\n", "its rating is inf, not one of 1, 2, 3, 4, 5"),
        ("csv", b"star_rating,review_body\nNaN,x\n", "its rating is not a number"),
        ("csv", b"star_rating,review_body\n0_5,x\n", "its rating is not a number"),
        ("tsv", b"star_rating\treview_body\n5\t\\N\n", EMPTY),
        ("jsonl", b"{", "it is not JSON"),
        ("jsonl", b"[" * 100_000, "it is not JSON"),
        ("jsonl", b"[1]", "it is not a JSON object"),
        ("jsonl", b'{"star_rating": 5}', EMPTY),
        (
            "jsonl",
            b'{"star_rating": 1' + b"0" * 400 + b', "review_body": "x"}',
            "its rating is not one of 1, 2, 3, 4, 5",
        ),
        ("jsonl", b'{"star_rating": 5, "x": ' + b"9" * 5000 + b"}", "it holds a number of too many digits"),
        ("jsonl", b'{"star_rating": 5, "review_body": "a", "review_body": "b"}', "it has review_body more than once"),
        ("jsonl", b'{"star_rating": 5, "review_body": "x", "review_id": "\\ud83d"}', "its review id is not UTF-8"),
        (
            "jsonl",
            b'{"star_rating": 5, "review_body": "x", "review_id": [1]}',
            "its review id is not a text or a number",
        ),
        ("jsonl", b'{"star_rating": 5, "review_body": ["x"]}', "its review text is not a text"),
        ("jsonl", b'{"star_rating": 5, "review_body": 7}', "its review text is not a text"),
        ("jsonl", b'{"star_rating": 5, "review_body": "\\ud800"}', "its review text is not UTF-8"),
        ("jsonl", b'{"star_rating": 5, "review_body": null}', EMPTY),
    ],
)
def test_an_unusable_row_is_said_to_be_so(tmp_path: Path, review_format: str, content: bytes, problem: str) -> None:
    line = 1 if review_format == "jsonl" else 2

    assert rows_of(content, tmp_path, review_format) == [Row(line, problem)]


def test_reading_goes_on_after_broken_rows(tmp_path: Path) -> None:
    rows = rows_of(b"star_rating\treview_body\n5\t\xff\n\n9\tx\n5\tgood\n", tmp_path)

    assert [(row.line, bool(row.problem)) for row in rows] == [(2, True), (4, True), (5, False)]


@pytest.mark.parametrize("review_format", WRITERS)
def test_columns_are_found_by_the_names_given(tmp_path: Path, review_format: str) -> None:
    path = tmp_path / "reviews"
    WRITERS[review_format](path)
    columns = Columns(review_body="review_id", star_rating="star_rating", review_id="review_body")

    rows = usable(list(read_reviews(path, review_format, columns)))

    assert rows == [(stars, body, review_id) for stars, review_id, body in EXPECTED]


@pytest.mark.parametrize("review_format", ["tsv", "csv", "parquet"])
def test_a_missing_column_is_named_with_the_nearest_and_the_option(tmp_path: Path, review_format: str) -> None:
    path = tmp_path / "reviews"
    WRITERS[review_format](path)

    with pytest.raises(
        DataError, match=r"no column review_bodies \(did you mean review_body\?\).*--review-body-column"
    ):
        list(read_reviews(path, review_format, Columns(review_body="review_bodies")))
    with pytest.raises(DataError, match=r"no column author.*--review-id-column"):
        list(read_reviews(path, review_format, Columns(review_id="author")))


def test_a_file_without_header_is_not_quoted(tmp_path: Path) -> None:
    for content in (b"5\tmy secret review\n", b"5^my secret review\n", b"my secret review,5.0\n", b"R1 5 my secret\n"):
        with pytest.raises(DataError, match="its first line is not a header") as caught:
            rows_of(content, tmp_path)
        assert "secret" not in str(caught.value)


ROWS = [
    (stars, "", body)
    for stars, body in ((1, "awful, really"), (2, 'a 5" screen'), (5, "line one\nline two"), (4, "fine"))
]
RFC = 'star_rating,review_body\n1,"awful, really"\n2,"a 5"" screen"\n5,"line one\nline two"\n4,fine\n'
SPARK = RFC.replace('""', '\\"')


@pytest.mark.parametrize(
    ("review_format", "content", "dialect"),
    [
        ("csv", RFC.encode(), "fields between commas, fields are quoted, a quote in them is doubled, UTF-8"),
        ("csv", RFC.encode("utf-8-sig"), "UTF-8"),
        ("csv", RFC.encode("utf-16"), "UTF-16, lines end with LF"),
        ("csv", RFC.encode("utf-16-le"), "UTF-16-LE"),
        ("csv", RFC.encode("utf-16-be"), "UTF-16-BE"),
        ("csv", RFC.encode("utf-32"), "UTF-32"),
        ("csv", b"sep=,\r\n" + RFC.encode(), "commas"),
        ("csv", b'"sep=,"\n' + RFC.encode(), "commas"),
        ("csv", b"\n\n" + RFC.encode() + b"\n \n", "commas"),
        ("csv", SPARK.encode(), "a quote in them has a backslash before it"),
        ("csv", (SPARK + '3,"say ""ok"" or \\"ok\\""\n').encode(), "a quote in them has a backslash before it"),
        ("csv", RFC.replace(",", ";").replace("awful;", "awful,").encode(), "semicolons"),
        ("csv", RFC.replace(",", "\t").replace("awful\t", "awful,").encode(), "tabs"),
        ("csv", RFC.replace(",", "|").replace("awful|", "awful,").encode(), "vertical bars"),
        ("csv", b"sep=^\n" + RFC.replace(",", "^").replace("awful^", "awful,").encode(), "'^'"),
        ("csv", RFC.replace(",", ", ").replace("awful, ", "awful,").encode(), "blanks behind them are not part"),
        ("csv", RFC.replace("star_rating,review_body", '"star_rating", "review_body"').encode(), "commas"),
        ("tsv", RFC.replace(",", "\t").replace("awful\t", "awful,").encode(), "a quote in them is doubled"),
        ("tsv", RFC.encode(), "commas"),
        ("tsv", SPARK.replace(",", "\t").replace("awful\t", "awful,").encode(), "has a backslash before it"),
        ("tsv", b'star_rating\treview_body\n1\t"awful, really"\n3\t""\n', "a quote in them is doubled"),
        ("tsv", b'"star_rating"\t"review_body"\n1\t"awful, really"\n', "a quote in them is doubled"),
        ("tsv", b'star_rating\treview_body\r\n1\t"awful, really"\r\n', "doubled, UTF-8, lines end with CR LF"),
        ("tsv", b"star_rating\treview_body\r1\tawful, really\r", "characters like any other, UTF-8, lines end with CR"),
    ],
)  # fmt: skip
def test_a_dialect_is_found_out_and_said(tmp_path: Path, review_format: str, content: bytes, dialect: str) -> None:
    path = tmp_path / "reviews"
    path.write_bytes(content)
    file = open_reviews(path, review_format, Columns())

    rows = usable([row for row in file if row.stars != 3 and row.problem != EMPTY])

    assert [(stars, review_id, body.replace("\r\n", "\n")) for stars, review_id, body in rows] == ROWS[: len(rows)]
    assert dialect in file.dialect
    assert file.lines == sum(row.lines for row in file) + file.other_lines


def test_a_missing_value_of_mysql_is_one(tmp_path: Path) -> None:
    rows = rows_of(b"star_rating\treview_body\n5\ta\\\tb\\\nc\n\\N\tx\n4\t\\N\n", tmp_path)
    assert [row.problem or row.body for row in rows] == ["a\tb\nc", EMPTY, EMPTY]


def test_quotes_of_amazons_files_stay_characters(tmp_path: Path) -> None:
    bodies = ['"great"', '5" screen', '"it is ""good"""', '"begins', 'ends"', 'a "b" c', '""', "back\\slash\\", '\\"']
    content = "star_rating\treview_body\n" + "".join(f"5\t{body}\n" for body in bodies)
    assert [body for _, _, body in usable(rows_of(content.encode(), tmp_path))] == bodies


GOOD = "".join(f"{1 + row % 5},review number {row}\n" for row in range(30))


@pytest.mark.parametrize(
    ("damaged", "broken", "lines"),
    [
        ('4,"never closed\n', 1, 1),
        ('4,"never closed\n5,"nor this\n', 2, 2),
        ('4,"never closed\n1,"quoted, but well"\n', 1, 1),
        ('4,"never closed\n1,"two lines\nof a text"\n', 1, 1),
        ('4,"a "quote" in it\n', 1, 1),
        ('4,"a "quote" in it\nand a second line"\n', 1, 2),
        ('4,"one\ntwo "three" four\nfive"\n', 1, 3),
    ],
)
@pytest.mark.parametrize("at", [0, 10, 30])
def test_a_row_whose_quotes_do_not_match_costs_no_other(
    tmp_path: Path, damaged: str, broken: int, lines: int, at: int
) -> None:
    whole = GOOD.splitlines(keepends=True)
    content = "star_rating,review_body\n" + "".join(whole[:at]) + damaged + "".join(whole[at:])
    rows = rows_of(content.encode(), tmp_path, "csv")

    bodies = [row.body for row in rows if row.body.startswith("review number")]
    assert bodies == [f"review number {number}" for number in range(30)]
    assert sum(row.lines for row in rows) == 30 + damaged.count("\n")
    problems = [row for row in rows if row.problem]
    assert (len(problems), sum(row.lines for row in problems)) == (broken, lines)


@pytest.mark.parametrize(
    ("line", "rows"),
    [
        ('R1","5","good\n', 1),  # each line closes a quote and opens another
        ("no delimiter, but a backslash at the end \\\n".replace(",", ""), 4000),
        ('R1,5,"good \\"stuff\\" here\\\n', 4000),
    ],
)
def test_lines_whose_quotes_go_on_forever_are_not_read_again_for_each_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, rows: int
) -> None:
    monkeypatch.setattr(delimited, "MOST_READ_AGAIN", 1 << 20)
    before = time.process_time()
    read = rows_of(("review_id,star_rating,review_body\n" + line * 4000).encode(), tmp_path, "csv")
    # The square of the lines took a minute and more.
    assert time.process_time() - before < 15
    assert len(read) == rows
    assert sum(row.lines for row in read) == 4000
    assert all(row.problem for row in read)


def test_one_unclosed_quote_does_not_cut_the_texts_of_a_quoted_tsv(tmp_path: Path) -> None:
    whole = 'R1\t5\t"two\nlines"\nR2\t1\tfine\n'
    rows = rows_of(
        f'review_id\tstar_rating\treview_body\n{whole}R3\t4\t"never closed\nR4\t4\tgood\n'.encode(), tmp_path
    )
    assert [row.body for row in rows] == ["two\nlines", "fine", "", "good"]


@pytest.mark.parametrize("review_format", ["csv", "tsv"])
def test_a_text_may_be_long_and_look_like_rows(tmp_path: Path, review_format: str) -> None:
    body = "x" * 200_000 + "\nX1\t1\tkettle\nX1,1,kettle\n" + '"' * 3
    file = io.StringIO()
    writer = csv.writer(file, delimiter={"csv": ",", "tsv": "\t"}[review_format])
    writer.writerows([("review_id", "star_rating", "review_body"), ("R1", 5, body), ("R2", 1, "bad")])

    rows = usable(rows_of(file.getvalue().encode(), tmp_path, review_format))

    assert rows == [(5, "R1", body.replace("\r\n", "\n")), (1, "R2", "bad")]


@pytest.mark.parametrize(
    ("review_format", "content", "message"),
    [
        ("csv", b"star_rating,review_body,review_body\n5,a,b\n", "has 2 columns review_body"),
        ("tsv", b"review_id\treview_id\tstar_rating\treview_body\n", "has 2 columns review_id"),
        ("csv", b"star_rating^review_body\n5^x\n", r".* its first line is one field, star_rating\^review_body"),
        ("csv", b'sep="\nstar_rating"review_body\n', ".* its first line is"),
        ("csv", b"Star Rating,Review Text\n5,x\n", ".*it has Star Rating, Review Text"),
        ("csv", b"PK\x03\x04...", "is a ZIP archive"),
        ("tsv", gzip.compress(b"star_rating\treview_body\n"), "is gzipped twice"),
        ("csv", b"<!DOCTYPE html>\n", "is a web page"),
        ("jsonl", b'[{"star_rating": 5, "review_body": "x"}]', "is one JSON array"),
        ("jsonl", b'[\n  {"star_rating": 5, "review_body": "x"}\n]', "is one JSON array"),
        ("jsonl", b'{\n  "star_rating": 5,\n "review_body": "x"\n}\n', "is JSON over several lines"),
        ("parquet", b"star_rating,review_body\n", "is not a whole Parquet file"),
    ],
)  # fmt: skip
def test_what_is_not_read_is_refused_by_name(tmp_path: Path, review_format: str, content: bytes, message: str) -> None:
    path = tmp_path / f"reviews.{review_format}"
    path.write_bytes(gzip.compress(content))
    with pytest.raises(DataError, match=rf"reviews\.{review_format} {message}"):
        list(read_reviews(path, review_format, Columns()))


@pytest.mark.parametrize("review_format", WRITERS)
@pytest.mark.parametrize("content", [b"", gzip.compress(b"")])
def test_a_file_without_a_byte_has_no_row(tmp_path: Path, review_format: str, content: bytes) -> None:
    assert rows_of(content, tmp_path, review_format) == []


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.binary(),
        pa.large_binary(),
        pa.dictionary(pa.int32(), pa.string()),
    ],
    ids=str,
)
def test_a_parquet_cell_that_is_not_utf8_breaks_its_row(tmp_path: Path, kind: pa.DataType) -> None:
    names = ("R1", "R2", "R3", "R4")
    bodies = pa.array([b"good", b"caf\xe9", None, "日本".encode()], pa.binary())
    if pa.types.is_dictionary(kind):
        column = bodies.dictionary_encode()
        column = pa.DictionaryArray.from_arrays(column.indices, column.dictionary.view(pa.string()))
    else:
        column = (bodies.cast(pa.large_binary()) if "large" in str(kind) else bodies).view(kind)
    for ids, texts in ((pa.array(names), column), (column, pa.array(names))):
        path = tmp_path / "reviews.parquet"
        pq.write_table(pa.table({"review_id": ids, "star_rating": [1, 2, 3, 4], "review_body": texts}), path)
        rows = list(read_reviews(path, "parquet", Columns()))
        assert [bool(row.problem) for row in rows] == [False, True, texts is column, False]


@pytest.mark.parametrize(
    ("ratings", "read"),
    [
        (pa.array([decimal.Decimal("5.00"), None, decimal.Decimal("3.50")]), [5, EMPTY, f"its rating is 3.5, {NOT}"]),
        (pa.array([5.0, float("nan"), float("inf")]), [5, EMPTY, f"its rating is inf, {NOT}"]),
        (pa.array([True, False, None]), ["its rating is not a number", "its rating is not a number", EMPTY]),
        (pa.array(["5", "", "x"]).dictionary_encode(), [5, EMPTY, "its rating is not a number"]),
        (pa.array([b"5", b"4.0", b"\xff"]), [5, 4, "its rating is not a number"]),
        (pa.array([2**63, 5, 0], pa.uint64()), [f"its rating is 9.22337e+18, {NOT}", 5, f"its rating is 0, {NOT}"]),
        (pa.nulls(3), [EMPTY, EMPTY, EMPTY]),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)  # fmt: skip
def test_parquet_ratings_of_every_type(tmp_path: Path, ratings: pa.Array, read: list[object]) -> None:
    path = tmp_path / "reviews.parquet"
    pq.write_table(pa.table({"star_rating": ratings, "review_body": ["a", "b", "c"]}), path)
    assert [row.problem or row.stars for row in read_reviews(path, "parquet", Columns())] == read


@pytest.mark.parametrize("name", ["star_rating", "review_body", "review_id"])
@pytest.mark.parametrize(
    "column",
    [pa.array([["a"]]), pa.array([{"a": 1}]), pa.array([0], pa.timestamp("ns"))],
    ids=lambda one: str(one.type),
)
def test_parquet_columns_that_are_neither_text_nor_number_are_refused(
    tmp_path: Path, name: str, column: pa.Array
) -> None:
    path = tmp_path / "reviews.parquet"
    columns = {"review_id": pa.array(["R1"]), "star_rating": pa.array([5]), "review_body": pa.array(["x"])}
    pq.write_table(pa.table(columns | {name: column}), path)
    with pytest.raises(DataError, match=f"its column {name} is of type"):
        list(read_reviews(path, "parquet", Columns()))


def test_a_parquet_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    table = pa.Table.from_arrays(
        [pa.array([5]), pa.array(["x"]), pa.array(["y"])], ["star_rating"] + ["review_body"] * 2
    )
    pq.write_table(table, tmp_path / "reviews.parquet")
    with pytest.raises(DataError, match="has 2 columns review_body"):
        list(read_reviews(tmp_path / "reviews.parquet", "parquet", Columns()))


@pytest.mark.parametrize("letter", ["x", "\u00fc"])
@pytest.mark.parametrize(
    ("review_format", "line"),
    [("csv", "5,{}"), ("csv", '5,"{}"'), ("tsv", "5\t{}"), ("jsonl", '{{"star_rating": 5, "review_body": "{}"}}')],
)
def test_a_text_too_long_for_a_tokenizer_breaks_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, review_format: str, line: str, letter: str
) -> None:
    monkeypatch.setattr(reviews, "LONGEST_ROW", 1000)
    header = "" if review_format == "jsonl" else line.format("review_body").replace("5", "star_rating") + "\n"
    lines = [line.format(letter * 1000), line.format(letter * 1001)]
    whole, long = rows_of((header + "\n".join(lines)).encode(), tmp_path, review_format)
    assert (whole.problem, whole.body) == ("", letter * 1000)
    assert long.problem == "its review text has 1,001 characters, more than 1,000"


@pytest.mark.parametrize("body", ["\u200b", "\u0301\u0301", "\0", "\ufeff ", "\u00ad", "日", "!", "\U0001f600"])
def test_a_text_of_which_no_token_is_made_counts_as_empty(tmp_path: Path, body: str) -> None:
    tokenizer = load_tokenizer(make_weights(tmp_path / "weights"), 16)
    path = tmp_path / "reviews.jsonl"
    path.write_text(json.dumps({"star_rating": 5, "review_body": body}))
    (row,) = open_reviews(path, "jsonl", Columns(), tokenizer.has_token)
    assert (row.problem == NO_TOKEN) == (len(tokenizer.encode([body]).ids[0]) == 2)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    whole = gzip.compress(b"star_rating\treview_body\n" + b"5\tgood\n" * 1000)
    with pytest.raises(DataError, match=r"reviews\.tsv cannot be read after line \d+"):
        rows_of(whole[:-20], tmp_path)
    with pytest.raises(DataError, match=r"reviews\.tsv cannot be read after line \d+: Not a gzipped file"):
        rows_of(whole + b"garbage", tmp_path)
    with pytest.raises(DataError, match=r"reviews\.csv cannot be read after line \d+: truncated data"):
        rows_of("star_rating,review_body\n5,x\n".encode("utf-16")[:-1], tmp_path, "csv")
    with pytest.raises(DataError, match=r"reviews\.parquet is not a whole Parquet file"):
        rows_of(b"PAR1 and no more", tmp_path, "parquet")


def test_the_shipped_reviews_are_whole() -> None:
    rows = list(read_reviews(Path(__file__).parents[4] / "data" / "reviews.tsv", "tsv", Columns()))

    assert Counter(row.problem or row.stars for row in rows) == {1: 131, 2: 920, 3: 1047, 4: 1138, 5: 472}
    assert len({row.review_id for row in rows}) == 300
