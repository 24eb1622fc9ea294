"""`predict` over real files: all that `prepare` reads comes in, a row for each row goes out, a killed run goes on."""

from __future__ import annotations

import csv
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from star_rating.failures import DataError, UsageError
from star_rating.preparation.reviews import Columns
from star_rating.serving.engine import Engine
from star_rating.serving.files import PART_ROWS, Job, Outcome, Progress, predict_files
from tests.helpers.serving import SOURCES

pytestmark = pytest.mark.slow

REVIEWS = ["the best book", "it broke, twice", "", "bad " * 200, 'a "great" price', "ok"]


@pytest.fixture(scope="module")
def engine(served_model: Path) -> Engine:
    return Engine.load(served_model / "model")


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


def test_an_interrupted_run_goes_on_and_gives_the_same_output(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path, "reviews.csv", [f"book {number}" for number in range(40)])
    run(engine, source, whole := tmp_path / "whole.csv")
    output = tmp_path / "p.csv"

    def interrupt(progress: Progress, rows: int, resumed: int) -> None:
        del progress, resumed
        if rows == 16:
            raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "show", interrupt)
        with pytest.raises(SystemExit):
            run(engine, source, output)
    assert not output.exists()
    outcome = run(engine, source, output)
    assert (outcome.rows, outcome.resumed) == (40, 16)
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


@pytest.mark.usefixtures("interruptible")
def test_the_command_goes_on_where_it_was_interrupted_and_says_so(served_model: Path, tmp_path: Path) -> None:
    rows = PART_ROWS * 20
    source, output = write(tmp_path, "reviews.csv", ["it works"] * rows), tmp_path / "p.parquet"
    parts = tmp_path / ".p.parquet.parts"
    command = [sys.executable, str(SOURCES / "predict.py"), "--input", str(source), "--output", str(output)]
    environment = {
        **os.environ,
        "SAGEMAKER_BASE_DIR": str(served_model),
        "PYTHONPATH": os.pathsep.join([str(SOURCES), os.environ.get("PYTHONPATH", "")]),
    }
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not (parts / "0000000").exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == 128 + signal.SIGINT
    assert errors.splitlines()[-1].startswith("Stopped by SIGINT. ")
    assert "Traceback" not in errors
    done = len(list(parts.glob("[0-9]" * 7)))
    (parts / f"{done:07d}.unfinished").write_text("what SIGKILL leaves of a part")
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert f"{rows:,} rows, {done * PART_ROWS:,} of them by an earlier run" in result.stdout
    assert [row["row"] for row in rows_of(output)] == list(range(2, rows + 2))
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (again.returncode, "--overwrite" in again.stderr) == (2, True)
