"""What training costs as the work grows: 1, 4 and 16 times the reviews, and batches of 8 to 128.

    PYTHONPATH=src python -m benchmarks.scaling --weights weights            # `make bench-scaling`

`prepare` makes the channels, src/train.py trains on them; the weights are those given, by default the image's (MiniLM).
The pipeline that reads the channel is measured by itself too: its rate, the time to its first batch, also where a run
goes on at the end of a pass, and how long training waits for it. Prints a table and writes every round as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from tokenizers import Tokenizer

from benchmarks.measuring import children
from benchmarks.measuring.plan import WARM_UP_STEPS
from benchmarks.measuring.reviews import Review, make_reviews

PROJECT = children.PROJECT
WORK = PROJECT / "out" / "benchmarks-scaling"
LENGTH = 64
TEXTS = 2_000
"""Different texts; a larger data set repeats them with another number at the end."""
REVIEWS = 12_000
"""Once the data, before `prepare` splits it."""
SIZES = (1, 4, 16)
BATCH_SIZES = (8, 16, 32, 64, 128)
USUAL_BATCH_SIZE = 32
EXAMPLES = 640
"""Trained on in each measurement, after the warm-up."""
REVIEWS_A_FILE = 12_000


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    size: int
    batch_size: int

    @property
    def folder(self) -> Path:
        """Where its channels are."""
        return WORK / f"size-{self.size}"

    @property
    def name(self) -> str:
        """As in the logs."""
        return f"size-{self.size}-batch-{self.batch_size}"


CASES = [
    *(Case(size, USUAL_BATCH_SIZE) for size in SIZES),
    *(Case(1, batch_size) for batch_size in BATCH_SIZES if batch_size != USUAL_BATCH_SIZE),
]


def main() -> int:
    """Measure every case in turns, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round of two cases, to see that everything runs")
    parser.add_argument("--weights", type=Path, default=os.environ.get("DISTILBERT_WEIGHTS"))
    parser.add_argument("--results", type=Path, help="default: benchmarks/results/scaling.json; out/ with --quick")
    options = parser.parse_args()
    if options.weights is None:
        parser.error("--weights is missing: a checkpoint folder with a tokenizer.json")
    weights = options.weights.resolve()
    cases, count = (CASES[:2], 1) if options.quick else (CASES, options.rounds)
    path = options.results or (WORK if options.quick else PROJECT / "benchmarks" / "results") / "scaling.json"

    shutil.rmtree(WORK, ignore_errors=True)
    print(f"{len(cases)} cases, {count} round(s); logs are in {WORK}", flush=True)
    records = make_channels(weights, sorted({case.size for case in cases}))
    rounds = [{case: measure(case, weights, number + 1) for case in cases} for number in range(count)]
    rows = [{**asdict(case), "records": records[case.size], **medians([one[case] for one in rounds])} for case in cases]
    print("\n" + table(rows) + "\n")
    results = {
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
        **children.run("measuring.environment", [], WORK / "logs" / "environment.log").report,
        "geometry": json.loads((weights / "config.json").read_text(encoding="utf-8")),
        "max_seq_length": LENGTH,
        "medians": rows,
        "rounds": [[{**asdict(case), **numbers} for case, numbers in one.items()] for one in rounds],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(path)
    return 0


def make_channels(weights: Path, sizes: Sequence[int]) -> dict[int, int]:
    """Prepare the channels of each size; return the records of each one's train channel."""
    tokenizer = Tokenizer.from_file(str(weights / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    texts = make_reviews(PROJECT / "data" / "reviews.tsv", tokenizer, TEXTS)
    records = {}
    for size in sizes:
        source = WORK / f"reviews-{size}"
        write_reviews(source, texts, size * REVIEWS)
        output = Case(size, USUAL_BATCH_SIZE).folder / "ml" / "input" / "data"
        command: list[str | Path] = [sys.executable, "src/prepare.py", "--input", source, "--output", output]
        command += ["--weights", weights, "--max-seq-length", str(LENGTH)]
        with (WORK / f"prepare-{size}.log").open("wb") as log:
            subprocess.run(command, cwd=PROJECT, check=True, stdout=log)
        manifest = json.loads(next((output / "train").glob("manifest-*.json")).read_text(encoding="utf-8"))
        records[size] = int(manifest["records"])
        print(f"{size} x the data: {records[size]:,} records to train on", flush=True)
    return records


def write_reviews(folder: Path, texts: Sequence[Review], count: int) -> None:
    """Write so many different reviews as TSV files."""
    pick = random.Random(0)
    folder.mkdir(parents=True)
    for first in range(0, count, REVIEWS_A_FILE):
        with (folder / f"reviews-{first // REVIEWS_A_FILE:03}.tsv").open("w", encoding="utf-8") as file:
            file.write("review_id\tstar_rating\treview_body\n")
            for number in range(first, min(first + REVIEWS_A_FILE, count)):
                review = pick.choice(texts)
                file.write(f"R{number}\t{review.stars}\t{review.text} {number}\n")


def measure(case: Case, weights: Path, number: int) -> dict[str, float]:
    """Train, then read and train with a watch on the pipeline; return the numbers of both."""
    steps = EXAMPLES // case.batch_size
    logs = WORK / "logs" / f"{case.name}-{number}"
    options = ["--case", case.folder, "--weights", weights, "--length", str(LENGTH)]
    options += ["--batch-size", str(case.batch_size), "--steps", str(WARM_UP_STEPS + steps)]
    for leftover in ("model", "output"):
        shutil.rmtree(case.folder / "ml" / leftover, ignore_errors=True)
    # Without `auto`: what it would measure first is not what is looked at here.
    trained = children.run("contestants.ours", [*options, "--float32"], logs / "training.log")
    pipeline = children.run("contestants.pipeline", options, logs / "pipeline.log")
    ends = trained.report["step_ends"]
    numbers = {
        "examples_per_second": steps * case.batch_size / (ends[-1] - ends[WARM_UP_STEPS - 1]),
        "peak_memory_bytes": trained.peak_memory_bytes,
        "first_step_seconds": ends[0] - trained.started,
        **{
            name: pipeline.report[name]
            for name in (
                "first_batch_seconds",
                "resumed_batch_seconds",
                "pipeline_examples_per_second",
                "waiting_share",
            )
        },
    }
    print(f"{case.name}, round {number}: {numbers['examples_per_second']:.1f} examples/s", flush=True)
    return numbers


def medians(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the median of each number."""
    return {name: median(run[name] for run in runs) for name in runs[0]}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Write the medians as a table."""
    header = "data  records  batch  examples/s  peak memory  first step"
    lines = [f"{header}  pipeline alone  first batch  resumed  waiting for it"]
    lines += [
        f"{row['size']:>3} x  {row['records']:>7,}  {row['batch_size']:>5}  {row['examples_per_second']:>10.1f}"
        f"  {row['peak_memory_bytes'] / 1e9:>8.2f} GB  {row['first_step_seconds']:>8.1f} s"
        f"  {row['pipeline_examples_per_second']:>12,.0f}/s  {row['first_batch_seconds']:>9.2f} s"
        f"  {row['resumed_batch_seconds']:>5.2f} s  {row['waiting_share']:>14.2%}"
        for row in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
