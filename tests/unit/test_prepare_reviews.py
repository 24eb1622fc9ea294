"""The readers: every format comes out alike, and a bad row is named by line without quoting it."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from star_rating.failures import DataError
from star_rating.preparation.reviews import EMPTY, Columns, Row, read_reviews

REVIEWS = [("R1", 5, 'A 5" screen, "great"'), ("R2", 1, "broke, naïve 日本"), ("R3", 3, "it's fine")]
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


@pytest.mark.parametrize("rating", ["5", "5.0", " 5 ", 5, 5.0])
def test_whole_ratings_are_read_in_every_notation(tmp_path: Path, rating: object) -> None:
    document = json.dumps({"star_rating": rating, "review_body": "x"}).encode()

    assert usable(rows_of(document, tmp_path, "jsonl")) == [(5, "", "x")]


@pytest.mark.parametrize(
    ("rating", "problem"),
    [
        (0, "its rating is 0, not one of 1, 2, 3, 4, 5"),
        ("6", "its rating is 6, not one of 1, 2, 3, 4, 5"),
        (4.5, "its rating is 4.5, not one of 1, 2, 3, 4, 5"),
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
        ("tsv", b"star_rating\treview_body\n5\t\xff\n", "it is not UTF-8"),
        ("tsv", b"star_rating\treview_body\n5\t \n", EMPTY),
        ("csv", b"star_rating,review_body\n5,a,b\n", "it has 3 fields, the header has 2"),
        ("csv", b"star_rating,review_body\n5,\xff\n", "its review text is not UTF-8"),
        (
            "csv",
            b'star_rating,review_body\n5,"' + b"x" * 200_000,
            "it is not CSV: field larger than field limit (131072)",
        ),
        ("jsonl", b"{", "it is not JSON"),
        ("jsonl", b"[" * 100_000, "it is not JSON"),
        ("jsonl", b"[1]", "it is not a JSON object"),
        ("jsonl", b'{"star_rating": 5}', "it has no review_body"),
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
    with pytest.raises(DataError, match="its first line is not a header") as caught:
        rows_of(b"5\tmy secret review\n", tmp_path)
    assert "secret" not in str(caught.value)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    whole = gzip.compress(b"star_rating\treview_body\n" + b"5\tgood\n" * 1000)
    with pytest.raises(DataError, match=r"reviews\.tsv cannot be read after line \d+"):
        rows_of(whole[:-20], tmp_path)
    with pytest.raises(DataError, match=r"reviews\.parquet is not a whole Parquet file"):
        rows_of(b"PAR1 and no more", tmp_path, "parquet")


def test_the_shipped_reviews_are_whole() -> None:
    rows = list(read_reviews(Path(__file__).parents[2] / "data" / "reviews.tsv", "tsv", Columns()))

    assert Counter(row.problem or row.stars for row in rows) == {1: 131, 2: 920, 3: 1047, 4: 1138, 5: 472}
    assert len({row.review_id for row in rows}) == 300
