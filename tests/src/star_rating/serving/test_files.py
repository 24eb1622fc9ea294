"""`predict` over real files: all that `prepare` reads comes in, a row for each row goes out, a killed run goes on."""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from star_rating.failures import DataError, UsageError
from star_rating.preparation.reviews import Columns
from star_rating.serving.engine import Engine
from star_rating.serving.files import PART_ROWS, Job, Outcome, predict_files
from tests.helpers.serving import SOURCES

pytestmark = pytest.mark.slow

REVIEWS = ["the best book", "it broke, twice", "", "bad " * 200, 'a "great" price', "ok"]


@pytest.fixture(scope="module")
def engine(served_model: Path) -> Engine:
    return Engine.load(served_model / "model")


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """Ctrl-C interrupts, even where a shell has started the tests in the background, with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def rows_of(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return rows
    with path.open(newline="") as file:
        return [json.loads(line) for line in file] if path.suffix == ".jsonl" else list(csv.DictReader(file))


def run(engine: Engine, source: Path, output: Path, part_rows: int = 4, **options: Any) -> Outcome:
    return predict_files(Job((source,), output, part_rows=part_rows, **options), engine, max_batch=4)


def write(folder: Path, name: str, reviews: Sequence[str] = REVIEWS) -> Path:
    path = folder / name
    rows = [{"review_id": f"R{number}", "review_body": review} for number, review in enumerate(reviews)]
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif ".jsonl" in name:
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    else:
        with gzip.open(path, "wt", newline="") if name.endswith(".gz") else path.open("w", newline="") as file:
            table = csv.DictWriter(file, rows[0].keys(), delimiter="\t" if ".tsv" in name else ",")
            table.writeheader()
            table.writerows(rows)
    return path


@pytest.mark.parametrize("name", ["reviews.csv.gz", "reviews.tsv", "reviews.jsonl", "reviews.parquet"])
@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_each_row_of_the_input_is_a_row_of_the_output(engine: Engine, tmp_path: Path, name: str, ending: str) -> None:
    output = tmp_path / f"predictions{ending}"
    outcome = run(engine, write(tmp_path, name), output)
    assert (outcome.rows, outcome.without_prediction) == (6, 1)
    rows = rows_of(output)
    assert [row["review_id"] for row in rows if row.get("review_id")] == ["R0", "R1", "R3", "R4", "R5"]
    assert [bool(row.get("stars")) for row in rows] == [True, True, False, True, True, True]
    assert rows[2]["problem"] == "its text is empty"
    assert [str(row["truncated"]).lower() for row in rows if row.get("stars")] == [
        "false",
        "false",
        "true",
        "false",
        "false",
    ]
    expected = engine.describe(encodings := engine.encode([REVIEWS[1]]), engine.probabilities([encodings[0].ids]))[0]
    found = rows[1]["probabilities"] if ending == ".jsonl" else {star: float(rows[1][f"p{star}"]) for star in "12345"}
    assert found == pytest.approx(expected.probabilities, abs=1e-6)
    assert int(rows[1]["stars"]) == expected.stars
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, output.name])


def test_the_three_outputs_say_the_same(engine: Engine, tmp_path: Path) -> None:
    source = write(tmp_path, "reviews.csv")
    outputs = [tmp_path / f"p{ending}" for ending in (".csv", ".jsonl", ".parquet")]
    for output in outputs:
        run(engine, source, output)
    texts = [[(str(row["row"]), str(row.get("stars") or "")) for row in rows_of(output)] for output in outputs]
    assert texts[0] == texts[1] == texts[2]


def test_reviews_need_no_rating_and_columns_may_have_other_names(engine: Engine, tmp_path: Path) -> None:
    source = tmp_path / "reviews.csv"
    source.write_text("text,star_rating\nit broke,seven\n")
    with pytest.raises(DataError, match=r"no column review_body.*--review-body-column"):
        run(engine, source, tmp_path / "p.csv")
    outcome = run(engine, source, tmp_path / "p.csv", columns=Columns("text", None))
    assert (outcome.rows, outcome.without_prediction) == (1, 0)


def test_an_output_that_is_there_is_not_replaced_unasked(engine: Engine, tmp_path: Path) -> None:
    source, output = write(tmp_path, "reviews.csv"), tmp_path / "p.csv"
    output.write_text("mine")
    with pytest.raises(UsageError, match="--overwrite"):
        run(engine, source, output)
    assert output.read_text() == "mine"
    run(engine, source, output, overwrite=True)
    assert len(rows_of(output)) == 6
    with pytest.raises(UsageError, match=r"\.csv"):
        run(engine, source, tmp_path / "p.xlsx")


@pytest.mark.usefixtures("_interruptible")
def test_an_interrupted_run_goes_on_and_gives_the_same_output(engine: Engine, tmp_path: Path) -> None:
    source = write(tmp_path, "reviews.csv", [f"book {number}" for number in range(40)])
    run(engine, source, whole := tmp_path / "whole.csv")
    output = tmp_path / "p.csv"
    batches: list[int] = []

    def interrupt(reviews: int) -> None:
        batches.append(reviews)
        if len(batches) == 5:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        predict_files(Job((source,), output, part_rows=4), engine, max_batch=4, on_batch=interrupt)
    assert not output.exists()
    outcome = run(engine, source, output)
    assert outcome.rows == 40
    assert 12 <= outcome.resumed < 40
    assert output.read_bytes() == whole.read_bytes()


def test_parts_of_another_input_are_of_no_use(engine: Engine, tmp_path: Path) -> None:
    source = write(tmp_path, "reviews.csv", ["good"] * 20)
    parts = tmp_path / ".p.csv.parts"
    parts.mkdir()
    (parts / "made-of").write_text('"another job"')
    (parts / "0000000").write_text("wrong")
    outcome = run(engine, source, tmp_path / "p.csv")
    assert (outcome.rows, outcome.resumed) == (20, 0)
    assert "wrong" not in (tmp_path / "p.csv").read_text()


@pytest.mark.usefixtures("_interruptible")
def test_the_command_goes_on_where_a_run_was_killed_and_says_so(
    engine: Engine, served_model: Path, tmp_path: Path
) -> None:
    source, output = write(tmp_path, "reviews.csv", ["it works"] * (PART_ROWS * 3)), tmp_path / "p.parquet"
    parts = tmp_path / ".p.parquet.parts"

    interrupted: list[int] = []

    def interrupt_behind_the_first_part(reviews: int) -> None:
        if (parts / "0000000").exists() and not interrupted:
            interrupted.append(reviews)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        predict_files(Job((source,), output), engine, max_batch=32, on_batch=interrupt_behind_the_first_part)
    (parts / "0000002.unfinished").write_text("what SIGKILL leaves of a part")
    command = [sys.executable, str(SOURCES / "predict.py"), "--input", str(source), "--output", str(output)]
    environment = {
        **os.environ,
        "SAGEMAKER_BASE_DIR": str(served_model),
        "PYTHONPATH": os.pathsep.join([str(SOURCES), os.environ.get("PYTHONPATH", "")]),
    }
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert re.search(r"1,536 rows, (512|1,024) of them by an earlier run", result.stdout)
    assert [row["row"] for row in rows_of(output)] == list(range(2, 1538))
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (again.returncode, "--overwrite" in again.stderr) == (2, True)
