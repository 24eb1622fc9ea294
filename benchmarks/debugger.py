"""What SageMaker Debugger's hook costs a training job: off, at its defaults, and with all that it can save.

    PYTHONPATH=src python -m benchmarks.debugger --weights weights           # `make bench-debugger`

The same job in turns, on the shipped reviews and weights (or with --geometry base, on a DistilBERT-base of random
weights), whole runs of src/train.py. Prints medians as a table and writes every round as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measuring import children
from benchmarks.measuring.weights import write_weights
from star_rating.model.config import DistilBertConfig

PROJECT = children.PROJECT
WORK = PROJECT / "out" / "benchmarks-debugger"
LENGTH, BATCH_SIZE = 64, 32
STEPS = {"shipped": 120, "base": 40}

Document = Mapping[str, Any]


def hook_config(*names: str, **parameters: str) -> Document:
    """Return a debughookconfig.json that saves collections every ten steps."""
    return {
        "HookParameters": {"save_interval": "10", **parameters},
        "CollectionConfigurations": [{"CollectionName": name} for name in names],
    }


FIVE = ("losses", "metrics", "weights", "biases", "gradients")
SETTINGS: dict[str, Document | None] = {
    "off": None,
    "default": None,
    "losses and metrics": hook_config("losses", "metrics"),
    "all five collections": hook_config(*FIVE),
    "everything": hook_config(*FIVE, "outputs", "optimizer_variables", export_tensorboard="true"),
}
"""Name -> debughookconfig.json; without one a job has this image's defaults."""


def main() -> int:
    """Run every setting in turns, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--geometry", choices=STEPS, default="shipped")
    parser.add_argument("--quick", action="store_true", help="one round of a few steps, to see that everything runs")
    parser.add_argument("--weights", type=Path, default=os.environ.get("DISTILBERT_WEIGHTS"))
    parser.add_argument(
        "--results", type=Path, help="default: benchmarks/results/debugger-GEOMETRY.json; out/ if --quick"
    )
    options = parser.parse_args()
    if options.weights is None:
        parser.error("--weights is missing: a checkpoint folder with a tokenizer.json")
    weights = options.weights.resolve()
    steps, rounds = (12, 1) if options.quick else (STEPS[options.geometry], options.rounds)
    folder = WORK if options.quick else PROJECT / "benchmarks" / "results"
    path = options.results or folder / f"debugger-{options.geometry}.json"

    shutil.rmtree(WORK, ignore_errors=True)
    print(f"{len(SETTINGS)} settings, {rounds} round(s) of {steps} steps; logs are in {WORK}", flush=True)
    make_channels(weights)
    if options.geometry == "base":
        write_weights(WORK / "weights", DistilBertConfig(), tokenizer_folder=weights)
        weights = WORK / "weights"
    turns = [{name: measure(name, weights, steps, number + 1) for name in SETTINGS} for number in range(rounds)]
    rows = summarise(turns)
    print("\n" + table(rows) + "\n")
    results = {
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
        **children.run("measuring.environment", [], WORK / "logs" / "environment.log").report,
        "geometry": json.loads((weights / "config.json").read_text(encoding="utf-8")),
        "job": {"steps": steps, "batch_size": BATCH_SIZE, "max_seq_length": LENGTH},
        "settings": SETTINGS,
        "medians": rows,
        "rounds": turns,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(path)
    return 0


def make_channels(weights: Path) -> None:
    """Prepare the shipped reviews as the job's input."""
    command: list[str | Path] = [sys.executable, "src/prepare.py", "--input", "data/reviews.tsv"]
    command += ["--output", WORK / "ml" / "input" / "data", "--weights", weights, "--max-seq-length", str(LENGTH)]
    WORK.mkdir(parents=True)
    with (WORK / "prepare.log").open("wb") as log:
        subprocess.run(command, cwd=PROJECT, check=True, stdout=log)


def measure(name: str, weights: Path, steps: int, number: int) -> dict[str, float]:
    """Run the job once with a setting; return its numbers."""
    root = WORK / "ml"
    for leftover in ("model", "output", "input/config"):
        shutil.rmtree(root / leftover, ignore_errors=True)
    (root / "input" / "config").mkdir()
    document = SETTINGS[name]
    if document is not None:
        (root / "input" / "config" / "debughookconfig.json").write_text(json.dumps(document), encoding="utf-8")
    hyperparameters = {
        "epochs": 1,
        "train_steps_per_epoch": steps,
        "train_batch_size": BATCH_SIZE,
        "max_seq_length": LENGTH,
        "use_xla": False,  # `auto` would measure first
        "use_amp": False,
        "run_test": False,
        "run_sample_predictions": False,
        "enable_sagemaker_debugger": name != "off",
    }
    words = [word for key, value in hyperparameters.items() for word in (f"--{key}", str(value))]
    log = WORK / "logs" / f"{name.replace(' ', '-')}-{number}.log"
    child = children.run("contestants.whole_job", ["--root", root, "--weights", weights, "--", *words], log)
    record, seconds = child.report["debugger"], child.report["seconds"]
    numbers = {
        "fit_seconds": seconds["fit"],
        "seconds_per_step": (seconds["fit"] - seconds["first_step"]) / (steps - 1),
        "job_seconds": seconds["total"],
        "hook_seconds": record["seconds"],
        "hook_share_of_fit": record["share_of_fit"],
        "steps_saved": record["steps_saved"].get("TRAIN", 0),
        "bytes_saved": sum(path.stat().st_size for path in (root / "output").rglob("*") if path.is_file()),
        "peak_memory_bytes": child.peak_memory_bytes,
    }
    print(f"{name}, round {number}: fit {numbers['fit_seconds']:.1f} s", flush=True)
    return numbers


def summarise(turns: Sequence[Mapping[str, Mapping[str, float]]]) -> list[dict[str, Any]]:
    """Return each setting's medians, and the median over the rounds of what it takes beside `off` of the same round."""
    rows = []
    for name in turns[0]:
        runs = [turn[name] for turn in turns]
        row: dict[str, Any] = {"setting": name, **{key: median(run[key] for run in runs) for key in runs[0]}}
        row["job_beside_off"] = median(turn[name]["job_seconds"] / turn["off"]["job_seconds"] - 1 for turn in turns)
        row["fit_beside_off"] = median(turn[name]["fit_seconds"] / turn["off"]["fit_seconds"] - 1 for turn in turns)
        rows.append(row)
    return rows


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write the medians as a table."""
    lines = [
        "setting                fit s  beside off   job s  beside off  hook s  of fit  steps     disk  peak memory"
    ]
    lines += [
        f"{row['setting']:<22}{row['fit_seconds']:>6.1f}  {row['fit_beside_off']:>+10.1%} {row['job_seconds']:>7.1f}"
        f"  {row['job_beside_off']:>+10.1%}  {row['hook_seconds']:>6.2f}  {row['hook_share_of_fit']:>6.1%}"
        f"  {row['steps_saved']:>5.0f}  {row['bytes_saved'] / 1e6:>4.0f} MB  {row['peak_memory_bytes'] / 1e9:>8.2f} GB"
        for row in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
