"""Review files that are damaged: every row and line comes out once, usable or named, or the file is refused."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import strategies

from star_rating.failures import DataError
from star_rating.preparation.reviews import Columns, open_reviews
from tests.helpers.fuzzing import INTERESTING_BYTES, damaged_bytes, damaged_document, feed
from tests.helpers.review_writers import DELIMITED, OTHERS

pytestmark = pytest.mark.slow

BODIES = ('good, "really"', "two\nlines", "tab\tand \\ backslash", "naïve 日本", "")
ROWS = [
    {"review_id": f"R{row}", "star_rating": 1 + row % 5, "review_body": body, "title": f"title {row}"}
    for row, body in enumerate(BODIES * 2)
]
SEEDS = {
    review_format: [writer.write(ROWS) for writer in (*DELIMITED, *OTHERS) if writer.review_format == review_format]
    for review_format in ("tsv", "csv", "jsonl", "parquet")
}
NAMES = b"review_id\tstar_rating\treview_body\n"
more_bytes = strategies.sampled_from([b'"', b'""', b'\\"', b"\\", b",", b";", b"\t", b"\n", b"\r", b"sep=;\n", NAMES])


@strategies.composite
def damaged(draw: strategies.DrawFn, review_format: str) -> bytes:
    """A file of the format: with other bytes, with more quotes and line ends, packed, or packed and then damaged."""
    content = draw(damaged_bytes([*SEEDS[review_format], b"", NAMES, *INTERESTING_BYTES]))
    if review_format != "parquet":
        for _ in range(draw(strategies.integers(0, 3))):
            at = draw(strategies.integers(0, len(content)))
            content = content[:at] + draw(more_bytes) + content[at:]
    if draw(strategies.integers(0, 4)) == 0:
        content = gzip.compress(content, 1, mtime=0)
        if draw(strategies.booleans()):
            content = draw(damaged_bytes([content]))
    return content


@strategies.composite
def json_lines(draw: strategies.DrawFn) -> bytes:
    """JSON Lines whose documents hold other values."""
    document = damaged_document(ROWS, ("review_body", "star_rating", "review_id"))
    documents = draw(strategies.lists(document, min_size=1, max_size=3))
    return b"".join(json_bytes(document) for document in documents)


def json_bytes(document: object) -> bytes:
    import json

    return json.dumps(document).encode() + b"\n"


def read(path: Path, review_format: str) -> None:
    file = open_reviews(path, review_format, Columns())
    lines = 0
    for row in file:
        lines += row.lines
        if row.problem:
            assert row.problem.isprintable()
            continue
        assert row.stars in range(1, 6)
        assert row.body.strip()
        (row.body + row.review_id).encode()
    assert file.lines == lines + file.other_lines


@pytest.mark.parametrize("review_format", ["tsv", "csv", "jsonl"])
def test_a_damaged_file_is_read_or_refused(
    tmp_path: Path, review_format: str, scaled: Callable[..., int], say: Callable[[str], None]
) -> None:
    path = tmp_path / "reviews"

    def check(content: bytes) -> None:
        path.write_bytes(content)
        read(path, review_format)

    inputs = damaged(review_format)
    if review_format == "jsonl":
        inputs |= json_lines()
    outcomes = feed(check, inputs, number=scaled(3000), allowed=(DataError,))
    say(f"{review_format} files: {outcomes}")


def test_a_damaged_parquet_file_is_read_or_refused(
    tmp_path: Path, scaled: Callable[..., int], say: Callable[[str], None]
) -> None:
    path = tmp_path / "reviews"

    def check(content: bytes) -> None:
        path.write_bytes(content)
        read(path, "parquet")

    outcomes = feed(check, damaged("parquet"), number=scaled(3000), allowed=(DataError,))
    say(f"parquet files: {outcomes}")
