"""How good the models are: our recipes, Hugging Face's Trainer and TF-IDF, cross-validated over the shipped reviews.

    PYTHONPATH=src python -m benchmarks.quality                 # `make bench-quality`: an hour and a half at most
    PYTHONPATH=src python -m benchmarks.quality --quick         # one fold: ten minutes
    PYTHONPATH=src python -m benchmarks.quality --folds 1 2 --only ours --recipe mine epochs=4 loss=ordinal

Everybody trains on the same folds, from the same weights, with the same number of tokens; ours go through prepare and
train.py as a job does. A review and its copies are on one side of a fold (measuring/quality.py). What is finished stays
in out/quality, and another run goes on from there; `--again` starts over. Prints a table; writes every fold's numbers
as JSON, and a picture.

Choose a recipe on folds CHOSEN_ON alone: for the other folds, which then had no part in the choice, the JSON has the
differences apart.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks.measuring import children, figure
from benchmarks.measuring.quality import (
    FOLDS,
    MEASURES,
    Counts,
    Fold,
    Reviews,
    count,
    differences,
    make_folds,
    read_reviews,
    with_errors,
)
from star_rating.results.evaluation import Floats

PROJECT = children.PROJECT
WORK = PROJECT / "out" / "quality"
REVIEWS = PROJECT / "data" / "reviews.tsv"
SHIPPED = PROJECT / "scripts" / "local_job" / "hyperparameters.json"
OURS = "ours"
SEEDS = (42,)
CHOSEN_ON = (1, 2)
"""Folds."""
TRAINER = "huggingface-trainer"
RIVALS = {
    TRAINER: ("huggingface_trainer", ()),
    "tf-idf": ("tf_idf", ()),
    "tf-idf-ordinal": ("tf_idf", ("--ordinal",)),
}
"""Name -> module of benchmarks/contestants, and its options; they run in .venv-pytorch."""
POOLING = {"pooling": "mean", "train_batch_size": "16", "gradient_clip_norm": "1.0"}
RECIPES: dict[str, dict[str, str]] = {
    OURS: {},
    "ours-pooling": POOLING,
    "ours-r-drop": {**POOLING, "loss": "ordinal", "r_drop": "1.0"},
}
"""Name -> what differs from the recipe of `make train`."""
LABELS = {
    OURS: "ours, `make train`",
    "ours-pooling": "ours, pooling=mean",
    "ours-r-drop": "ours, pooling=mean, ordinal, R-Drop",
    TRAINER: "Hugging Face Trainer, its defaults",
    "tf-idf": "TF-IDF, logistic regression",
    "tf-idf-ordinal": "TF-IDF, ordinal regression",
}

Run = dict[str, Any]
"""One contestant on one fold: contestant, seed, fold, seconds, processor_seconds, and its probabilities."""


@dataclass(frozen=True)
class Judge:
    """What all runs have in common."""

    work: Path
    """What is finished stays here."""
    reviews: Reviews
    weights: Path
    pytorch: Path
    recipes: Mapping[str, Mapping[str, str]]
    again: bool

    def run(self, contestant: str, seed: int, number: int, fold: Fold) -> Run:
        """Return what an earlier run has left of a contestant on a fold (from 1), or run it."""
        folder = self.work / f"seed-{seed}-fold-{number}"
        settings = self.settings(contestant, seed)
        finished = folder / contestant / "run.json"
        key = {"settings": settings, "fold": write_fold(folder, self.reviews, fold), "weights": self.weights_sha256()}
        if finished.is_file() and not self.again:
            run: Run = json.loads(finished.read_text(encoding="utf-8"))
            if run["key"] == key:
                return run
        shutil.rmtree(folder / contestant, ignore_errors=True)
        (folder / contestant).mkdir()
        train = self.train_ours if contestant in self.recipes else self.train_rival
        found = train(contestant, folder, settings)
        run = {"contestant": contestant, "seed": seed, "fold": number, "key": key, **found}
        finished.write_text(json.dumps(run), encoding="utf-8")
        print(
            f"seed {seed}, fold {number}, {contestant}: accuracy {accuracy(run, self.reviews, fold):.3f}, "
            f"{run['processor_seconds']:.0f} s of processor time",
            flush=True,
        )
        return run

    def settings(self, contestant: str, seed: int) -> dict[str, str]:
        """Return a contestant's settings; every one has at least its seed and the number of tokens."""
        shipped: dict[str, str] = json.loads(SHIPPED.read_text(encoding="utf-8"))
        if contestant in self.recipes:
            return {**shipped, **self.recipes[contestant], "seed": str(seed)}
        return {"max_seq_length": shipped["max_seq_length"], "seed": str(seed)}

    def train_ours(self, contestant: str, folder: Path, settings: Mapping[str, str]) -> Run:
        """Make the channels and train, as a job does; the time is that of both."""
        output = folder / contestant
        given = [word for part in ("train", "validation", "test") for word in (f"--{part}", folder / f"{part}.tsv")]
        prepare: list[object] = [sys.executable, PROJECT / "src" / "prepare.py", *given]
        prepare += ["--output", output / "ml" / "input" / "data", "--weights", self.weights]
        prepare += ["--max-seq-length", settings["max_seq_length"]]
        prepared = children.run_command(prepare, output / "prepare.log", reports=False)
        words = [word for name, value in settings.items() for word in (f"--{name}", value)]
        job = ["--root", output / "ml", "--weights", self.weights, "--", *words]
        trained = children.run("contestants.whole_job", job, output / "train.log")
        model = output / "ml" / "model"
        shares = read_predictions(model / "metrics" / "predictions.csv", folder / "test.tsv")
        record = json.loads((model / "run.json").read_text(encoding="utf-8"))
        temperature = record["calibration"]["temperature"]
        shutil.rmtree(output / "ml")
        uncalibrated = shares**temperature
        return {
            **times([prepared, trained], record["seconds"]["fit"]),
            "temperature": temperature,
            "exported_epoch": record["exported"]["epoch"],
            "compute": record["acceleration"],
            "probabilities": shares.tolist(),
            "uncalibrated": (uncalibrated / uncalibrated.sum(axis=1, keepdims=True)).tolist(),
        }

    def train_rival(self, contestant: str, folder: Path, settings: Mapping[str, str]) -> Run:
        """Run one of RIVALS."""
        module, flags = RIVALS[contestant]
        output = folder / contestant
        options: list[object] = ["--fold", folder, "--output", output, "--weights", self.weights, *flags]
        options += ["--length", settings["max_seq_length"], "--seed", settings["seed"]]
        child = children.run(f"contestants.{module}", options, output / "train.log", self.pytorch)
        shares = np.load(output / "probabilities.npy").tolist()
        return {**times([child], child.report["fit_seconds"]), "probabilities": shares, "uncalibrated": shares}

    def weights_sha256(self) -> str:
        """Return the digest of what everybody starts from."""
        return hashlib.sha256((self.weights / "model.safetensors").read_bytes()).hexdigest()


def main() -> int:
    """Run what is not finished yet, print the table, write JSON and picture."""
    options = read_options()
    began = time.monotonic()
    reviews = read_reviews(REVIEWS)
    recipes = {**RECIPES, **dict(map(parse_recipe, options.recipe))}
    judge = Judge(WORK, reviews, options.weights, options.pytorch, recipes, options.again)
    contestants = [name for name in (*recipes, *RIVALS) if name in (options.only or (*recipes, *RIVALS))]
    folds = {seed: make_folds(reviews, seed) for seed in options.seeds}
    environment = children.run("measuring.environment", [], WORK / "environment.log").report
    runs: list[Run] = []
    for seed in options.seeds:
        for number in options.folds:
            turn = number % len(contestants)
            order = contestants[turn:] + contestants[:turn]
            runs += [judge.run(contestant, seed, number, folds[seed][number - 1]) for contestant in order]
            results = summarise(runs, contestants, reviews, folds)
            described = {"written_at": datetime.now(UTC).isoformat(timespec="seconds"), **environment, **results}
            options.results.parent.mkdir(parents=True, exist_ok=True)
            options.results.write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    print(table(results))
    figure.draw_quality(results, options.picture, LABELS)
    print(f"{(time.monotonic() - began) / 60:.0f} minutes; {options.results}, {options.picture}")
    return 0


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = range(1, FOLDS + 1)
    parser.add_argument("--folds", type=int, nargs="+", choices=numbers, default=tuple(numbers), metavar="FOLD")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="of folds and of trainings")
    parser.add_argument("--only", nargs="+", metavar="CONTESTANT", help=f"of {', '.join((*RECIPES, *RIVALS))}")
    parser.add_argument(
        "--recipe",
        nargs="+",
        action="append",
        default=[],
        metavar=("NAME", "HYPERPARAMETER=VALUE"),
        help="one more of ours: what it has other than `make train`",
    )
    parser.add_argument("--quick", action="store_true", help="one fold, to see that everything runs")
    parser.add_argument("--again", action="store_true", help="run also what an earlier run has finished")
    parser.add_argument("--weights", type=Path, default=os.environ.get("DISTILBERT_WEIGHTS"))
    parser.add_argument("--pytorch", type=Path, default=PROJECT / ".venv-pytorch" / "bin" / "python")
    parser.add_argument(
        "--results", type=Path, help="default: benchmarks/results/quality.json, if all is run; else out/"
    )
    parser.add_argument("--picture", type=Path, help="default: docs/quality_benchmark.png, if all is run; else out/")
    options = parser.parse_args()
    if options.weights is None:
        parser.error("--weights is missing: a folder with a model.safetensors and a tokenizer.json")
    options.weights = options.weights.resolve()
    if options.quick:
        options.folds = [1]
    whole = not options.only and not options.recipe and len(options.folds) == FOLDS
    results, docs = (PROJECT / "benchmarks" / "results", PROJECT / "docs") if whole else (WORK, WORK)
    options.results = options.results or results / "quality.json"
    options.picture = options.picture or docs / "quality_benchmark.png"
    if not options.pytorch.is_file():
        parser.error(f"{options.pytorch} does not exist: run scripts/extra_venv.sh pytorch")
    return options


def parse_recipe(words: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Read a recipe's name and its hyperparameters."""
    name, *pairs = words
    if not all("=" in pair for pair in pairs):
        sys.exit(f"--recipe {' '.join(words)}: a name and HYPERPARAMETER=VALUE are needed")
    return name, dict(pair.split("=", 1) for pair in pairs)


def write_fold(folder: Path, reviews: Reviews, fold: Fold) -> str:
    """Write a fold's three files, if they are not there; return their digest."""
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    for part in ("train", "validation", "test"):
        text = "\n".join([reviews.header, *(reviews.lines[row] for row in getattr(fold, part)), ""])
        path = folder / f"{part}.tsv"
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
        digest.update(text.encode())
    return digest.hexdigest()


def read_predictions(path: Path, test: Path) -> Floats:
    """Return predictions.csv's probabilities [records, classes]; raise ValueError unless its records are the fold's."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with test.open(encoding="utf-8", newline="") as file:
        stars = [row["star_rating"] for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]
    if [row["star_rating"] for row in rows] != stars:
        raise ValueError(f"{path} is not of the records of {test}, in their order")
    shares = np.array([[float(row[f"p{star}"]) for star in range(1, 6)] for row in rows])
    # Four decimals: what rounds to the same is decided as the model decided it.
    shares[np.arange(len(rows)), [int(row["predicted"]) - 1 for row in rows]] += 1e-9
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def times(parts: Iterable[children.Child], fit_seconds: float) -> dict[str, float]:
    """Return how long a contestant took from its files to its predictions."""
    spent = list(parts)
    return {
        "seconds": round(sum(child.seconds for child in spent), 1),
        "processor_seconds": round(sum(child.processor_seconds for child in spent), 1),
        "fit_seconds": round(fit_seconds, 1),
    }


def accuracy(run: Run, reviews: Reviews, fold: Fold) -> float:
    """Return the share of a run's test records that it has right."""
    return float((np.argmax(run["probabilities"], axis=1) == reviews.labels[fold.test]).mean())


def summarise(
    runs: Sequence[Run], contestants: Sequence[str], reviews: Reviews, folds: Mapping[int, Sequence[Fold]]
) -> dict[str, Any]:
    """Return everybody's measures, our differences from everybody, and the runs less their probabilities."""
    counted = {(run["contestant"], run["seed"], run["fold"]): count_run(run, reviews, folds) for run in runs}
    pairs = sorted({(seed, number) for _, seed, number in counted})
    unseen = [(seed, number) for seed, number in pairs if number not in CHOSEN_ON]

    def total(contestant: str, on: Sequence[tuple[int, int]]) -> Counts:
        return np.asarray(sum(counted[contestant, seed, number] for seed, number in on))

    def compare(on: Sequence[tuple[int, int]]) -> dict[str, Any]:
        others = [name for name in contestants if name != OURS]
        if OURS not in contestants or not on:
            return {}
        return {name: differences(total(OURS, on), total(name, on)) for name in others}

    def recipes_less_trainer() -> dict[str, Any]:
        recipes = [name for name in contestants if name not in RIVALS and name != OURS]
        if TRAINER not in contestants:
            return {}
        return {name: differences(total(name, pairs), total(TRAINER, pairs)) for name in recipes}

    def spent(contestant: str, what: str) -> float:
        return fmean(run[what] for run in runs if run["contestant"] == contestant)

    return {
        "reviews": {
            "records": len(reviews.labels),
            "groups": int(reviews.groups.max()) + 1,
            "sha256": hashlib.sha256(REVIEWS.read_bytes()).hexdigest(),
        },
        "folds": [list(pair) for pair in pairs],
        "contestants": {
            name: {
                "measures": with_errors(total(name, pairs)),
                **{what: spent(name, what) for what in ("seconds", "processor_seconds", "fit_seconds")},
            }
            for name in contestants
        },
        "ours_less_others": compare(pairs),
        "recipes_less_trainer": recipes_less_trainer(),
        "ours_less_others_where_nothing_was_chosen": {"not_on_folds": list(CHOSEN_ON), **compare(unseen)},
        "runs": [describe(run, counted[run["contestant"], run["seed"], run["fold"]]) for run in runs],
    }


def count_run(run: Run, reviews: Reviews, folds: Mapping[int, Sequence[Fold]]) -> Counts:
    """Count a run's predictions by group."""
    rows = folds[run["seed"]][run["fold"] - 1].test
    shares, uncalibrated = np.array(run["probabilities"]), np.array(run["uncalibrated"])
    return count(reviews.labels[rows], shares, uncalibrated, reviews.groups[rows], int(reviews.groups.max()) + 1)


def describe(run: Run, counts: Counts) -> dict[str, Any]:
    """Return what the JSON keeps of a run: its measures, and the predicted stars in the order of the reviews."""
    kept = {name: value for name, value in run.items() if name not in ("key", "probabilities", "uncalibrated")}
    measured = {name: number["value"] for name, number in with_errors(counts).items()}
    predicted = "".join(str(star + 1) for star in np.argmax(run["probabilities"], axis=1))
    return {**kept, "settings": run["key"]["settings"], "measures": measured, "predicted": predicted}


def table(results: Mapping[str, Any]) -> str:
    """Write everybody's measures with their time, and ours less theirs with two standard errors."""
    width = max(len(LABELS.get(name, name)) for name in results["contestants"])
    lines = [f"{'':{width}}" + "".join(f"{title:>15}" for title in MEASURES.values()) + "   processor"]
    for name, found in results["contestants"].items():
        numbers = "".join(f"{found['measures'][measure]['value']:>15.3f}" for measure in MEASURES)
        lines.append(f"{LABELS.get(name, name):{width}}{numbers}{found['processor_seconds']:>10.0f} s")
    for title, key in (
        ("ours less theirs, and two standard errors", "ours_less_others"),
        ("our other recipes less Hugging Face's Trainer", "recipes_less_trainer"),
    ):
        if results[key]:
            lines += ["", title, *(_difference(name, found, width) for name, found in results[key].items())]
    return "\n".join(lines)


def _difference(name: str, found: Mapping[str, Mapping[str, float]], width: int) -> str:
    numbers = "".join(
        f"{found[measure]['value']:>+7.3f} ({2 * found[measure]['standard_error']:.3f})" for measure in MEASURES
    )
    saved = found["error_reduction"]
    return (
        f"{LABELS.get(name, name):{width}}{numbers}   MAE lower by {saved['value']:.1%} "
        f"({2 * saved['standard_error']:.1%})"
    )


if __name__ == "__main__":
    sys.exit(main())
