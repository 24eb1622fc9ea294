"""Whatever tool wrote a table, the reader gives back its rows, or says how else it took the file."""

from __future__ import annotations

import gzip
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies

from star_rating.preparation.delimited import Quoting
from star_rating.preparation.reviews import EMPTY, NO_TOKEN, Columns, open_reviews
from tests.helpers.fuzzing import examples
from tests.helpers.review_writers import DELIMITED, OTHERS, Rows, Writer

pieces = strategies.sampled_from(
    ['"', '""', "\\", '\\"', "\\\\", ",", ";", "\t", "|", "\n", "\r\n", "\r", " ", "'", "a", "great", "5", "é", "日本",
     "\u2028", "\x0b", "\x85", "\0", "\ufeff", "=", "\\n", "R1,5,fine", "R1\t5\tfine\t", "x" * 140_000]
)  # fmt: skip
texts = strategies.lists(pieces, max_size=6).map("".join) | strategies.text(
    strategies.characters(exclude_categories=["Cs"]), max_size=12
)
tables = strategies.lists(
    strategies.fixed_dictionaries({"title": texts, "star_rating": strategies.integers(1, 5), "review_body": texts}),
    min_size=1,
    max_size=6,
)
orders = strategies.permutations(["review_id", "star_rating", "title", "review_body"])


def ordered(table: Rows, order: list[str]) -> Rows:
    return [{name: ({"review_id": f"R{row}"} | one)[name] for name in order} for row, one in enumerate(table)]


def expected(row: dict[str, Any]) -> tuple[str, int, str] | None:
    """Return what the reader is to give; None for a text that counts as empty."""
    body = row["review_body"]
    return (row["review_id"], row["star_rating"], body) if body.strip() and body != r"\N" else None


def can_write(writer: Writer, table: Rows) -> bool:
    """Tell whether a tool without quoting can write a table at all."""
    if writer.quoting is not Quoting.PLAIN:
        return True
    return not any(mark in str(value) for row in table for value in row.values() for mark in "\t\n\r")


def test_the_rows_of_a_table_come_back(tmp_path: Path, scaled: Callable[..., int], say: Callable[[str], None]) -> None:
    outcomes: Counter[str] = Counter()

    @examples(scaled(2000))
    @hypothesis.given(tables, orders, strategies.data())
    def check(table: Rows, order: list[str], data: strategies.DataObject) -> None:
        writer = data.draw(strategies.sampled_from(OTHERS) | strategies.sampled_from(DELIMITED))
        rows = ordered(table, order)
        hypothesis.assume(can_write(writer, rows))
        path = tmp_path / "reviews"
        content = writer.write(rows)
        path.write_bytes(gzip.compress(content, 1) if data.draw(strategies.booleans()) else content)
        file = open_reviews(path, writer.review_format, Columns())
        read = list(file)
        found = [None if row.problem in (EMPTY, NO_TOKEN) else (row.review_id, row.stars, row.body) for row in read]
        assert file.lines == sum(row.lines for row in read) + file.other_lines
        if found == [expected(row) for row in rows]:
            outcomes["the same"] += 1
            return
        # Only where the file is as well-formed in another dialect, which the log names.
        assert writer.quoting is not None, (writer.name, found)
        assert writer.quoting.value not in file.dialect, (writer.name, file.dialect, found)
        assert not [row.problem for row in read if row.problem not in ("", EMPTY)], (writer.name, file.dialect, read)
        outcomes[f"also {file.dialect.split(', ')[1]}"] += 1

    check()
    say(f"tables of {len(DELIMITED) + len(OTHERS)} writers: {dict(outcomes)}")
    assert outcomes["the same"] > 0.9 * outcomes.total()


WORDS = ("good", "bad", '"nice"', "a, b", "line\nbreak", '5" screen', "tab\tbed", "it's", "broke, really")


@pytest.mark.parametrize(
    "name",
    ["pandas ',' quoting=0 index=False", "pandas '\\t' quoting=0 index=False", "spark quoteAll=False True ',' utf-8"],
)
def test_a_quote_too_many_or_too_few_costs_one_row(tmp_path: Path, name: str, scaled: Callable[..., int]) -> None:
    (writer,) = (writer for writer in DELIMITED if writer.name == name)
    path = tmp_path / "reviews"
    pick = random.Random(5)
    for number in range(scaled(1500, in_ci=60)):
        rows = [
            {
                "review_id": f"R{row}",
                "star_rating": pick.randint(1, 5),
                "review_body": " ".join(pick.choices(WORDS, k=3)),
            }
            for row in range(30)
        ]
        content = writer.write(rows).decode()
        start = content.index("\n") + 1
        quotes = [at for at in range(start, len(content)) if content[at] == '"']
        at = pick.choice(quotes) if number % 2 else pick.randrange(start, len(content))
        path.write_text(
            content[:at] + content[at + 1 :] if number % 2 else content[:at] + '"' + content[at:], encoding="utf-8"
        )

        read = {row[2:5] for row in open_reviews(path, writer.review_format, Columns()) if not row.problem}

        written = {(row["star_rating"], row["review_id"], row["review_body"]) for row in rows}
        assert (len(written - read), len(read - written)) in ((1, 0), (1, 1), (0, 0))
