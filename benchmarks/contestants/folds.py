"""What the contestants of benchmarks/quality.py share: their command line, a fold's files, the report.

A fold is a folder with train.tsv, validation.tsv and test.tsv, in the columns of data/reviews.tsv.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

PARTS = ("train", "validation", "test")


def arguments() -> argparse.Namespace:
    """Read a contestant's command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fold", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="a folder for its files")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--length", type=int, required=True, help="tokens at most")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--ordinal", action="store_true", help="regressions of the classes' order (TF-IDF)")
    return parser.parse_args()


def read(path: Path) -> tuple[list[str], list[int]]:
    """Return a part's texts and labels; a label is stars - 1."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [row["review_body"] for row in rows], [int(row["star_rating"]) - 1 for row in rows]


def report(options: argparse.Namespace, shares: npt.NDArray[np.float64], **more: float) -> None:
    """Write the probabilities [test records, classes], and print the report that the parent reads."""
    np.save(options.output / "probabilities.npy", shares)
    print("\n" + json.dumps(more), flush=True)
