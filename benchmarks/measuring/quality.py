"""Folds of the reviews, and what predictions of them are worth: measures, paired differences, their standard errors.

    folds = make_folds(reviews, seed=42)                        # folds[0].test: rows of reviews
    counts = count(labels, shares, uncalibrated, groups, 293)   # of one contestant; those of several folds add up
    with_errors(counts)["accuracy"]                             # value and standard_error
    differences(counts, counts_of_another)["accuracy"]

Sentences of one review and copies of one text are a group, which is on one side of every fold. They resemble each
other, so that the standard errors are those of the groups: each is left out once (Efron and Stein 1981, "The Jackknife
Estimate of Variance"). All measures follow from counts that add up over groups, which makes that cheap.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from star_rating.data.schema import NUMBER_OF_CLASSES
from star_rating.preparation.split import deal_buckets, merge_groups_that_share_a_text
from star_rating.results.evaluation import (
    CALIBRATION_BINS,
    Floats,
    Integers,
    macro_f1,
    mean_absolute_error,
    quadratic_weighted_kappa,
)

FOLDS = 5
PARTS_OF_A_FOLD = 4
"""The reviews are dealt to 20 parts: a fold tests four of them, validates on one, and trains on fifteen."""
MEASURES = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "mean_absolute_error": "MAE",
    "quadratic_weighted_kappa": "kappa",
    "expected_calibration_error": "ECE",
    "uncalibrated_error": "ECE before",
}
"""Name -> as the table's head says it."""
CONFUSION = NUMBER_OF_CLASSES**2

Counts = npt.NDArray[np.float64]
"""[groups, CONFUSION + 2 * CALIBRATION_BINS]: the confusion matrix by rows of true stars, and for each bin of
confidence the sum of hits less confidence, with temperature and without."""


@dataclass(frozen=True)
class Reviews:
    """The rows of a TSV of reviews."""

    header: str
    lines: tuple[str, ...]
    labels: Integers
    groups: Integers
    """From 0, without gaps."""


@dataclass(frozen=True)
class Fold:
    """Rows of the reviews: what to train on, to validate on and to test on."""

    train: Integers
    validation: Integers
    test: Integers


def read_reviews(path: Path) -> Reviews:
    """Read review_id, star_rating and review_body, tab-separated without quotes."""
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    rows = list(csv.DictReader([header, *lines], delimiter="\t", quoting=csv.QUOTE_NONE))
    ids, texts = (
        np.array([_digest(row[column]) for row in rows], np.uint64) for column in ("review_id", "review_body")
    )
    _, groups = np.unique(merge_groups_that_share_a_text(ids, texts), return_inverse=True)
    labels = np.array([int(row["star_rating"]) - 1 for row in rows])
    return Reviews(header, tuple(lines), labels, groups.astype(np.int64))


def make_folds(reviews: Reviews, seed: int) -> list[Fold]:
    """Return the folds of a seed: every review is tested once, and each part has its share of every class."""
    parts = FOLDS * PARTS_OF_A_FOLD
    shuffled = np.random.default_rng(seed).permutation(reviews.groups.max() + 1)[reviews.groups]
    histogram = np.zeros((len(shuffled), NUMBER_OF_CLASSES), np.int64)
    np.add.at(histogram, (shuffled, reviews.labels), 1)
    part = deal_buckets(histogram, [1 / parts] * parts)[shuffled]
    folds = []
    for fold in range(FOLDS):
        is_test = part // PARTS_OF_A_FOLD == fold
        is_validation = part == (fold + 1) * PARTS_OF_A_FOLD % parts
        rows = (~is_test & ~is_validation, is_validation, is_test)
        folds.append(Fold(*(np.flatnonzero(mask) for mask in rows)))
    return folds


def count(labels: Integers, shares: Floats, uncalibrated: Floats, groups: Integers, number_of_groups: int) -> Counts:
    """Count predictions: labels [records], both probabilities [records, classes], groups [records]."""
    counts = np.zeros((number_of_groups, CONFUSION + 2 * CALIBRATION_BINS))
    predicted = shares.argmax(axis=1)
    np.add.at(counts, (groups, labels * NUMBER_OF_CLASSES + predicted), 1)
    for first, each in ((CONFUSION, shares), (CONFUSION + CALIBRATION_BINS, uncalibrated)):
        confidence = each.max(axis=1)
        bins = np.minimum((confidence * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
        np.add.at(counts, (groups, first + bins), (predicted == labels) - confidence)
    return counts


def measures(totals: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return MEASURES, in their order, of counts that are summed over groups."""
    confusion = totals[:CONFUSION].reshape(NUMBER_OF_CLASSES, NUMBER_OF_CLASSES)
    gaps = totals[CONFUSION:].reshape(2, CALIBRATION_BINS)
    whole = confusion.astype(np.int64)
    calibrated, uncalibrated = np.abs(gaps).sum(axis=1) / confusion.sum()
    return np.array(
        [
            np.trace(confusion) / confusion.sum(),
            macro_f1(whole),
            mean_absolute_error(whole),
            quadratic_weighted_kappa(whole),
            calibrated,
            uncalibrated,
        ]
    )


def jackknife(
    statistic: Callable[..., npt.NDArray[np.float64]], contestants: Sequence[Counts]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return a statistic of the contestants' totals, and its standard errors over the groups that have records."""
    there = np.flatnonzero(contestants[0][:, :CONFUSION].sum(axis=1))
    totals = [counts.sum(axis=0) for counts in contestants]
    without = np.array(
        [
            statistic(*(total - counts[group] for total, counts in zip(totals, contestants, strict=True)))
            for group in there
        ]
    )
    spread = np.square(without - without.mean(axis=0)).sum(axis=0)
    return statistic(*totals), np.sqrt((len(there) - 1) / len(there) * spread)


def with_errors(counts: Counts) -> dict[str, dict[str, float]]:
    """Return a contestant's measures with their standard errors."""
    return _named(MEASURES, *jackknife(measures, [counts]))


def differences(ours: Counts, other: Counts) -> dict[str, dict[str, float]]:
    """Return our measures less the other's on the same records, and `error_reduction`: the share of its MAE we save."""

    def difference(of_ours: npt.NDArray[np.float64], of_other: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        mine, theirs = measures(of_ours), measures(of_other)
        error = list(MEASURES).index("mean_absolute_error")
        return np.append(mine - theirs, 1 - mine[error] / theirs[error])

    return _named([*MEASURES, "error_reduction"], *jackknife(difference, [ours, other]))


def _named(
    names: Mapping[str, str] | Sequence[str], values: npt.NDArray[np.float64], errors: npt.NDArray[np.float64]
) -> dict[str, dict[str, float]]:
    return {
        name: {"value": float(value), "standard_error": float(error)}
        for name, value, error in zip(names, values, errors, strict=True)
    }


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
