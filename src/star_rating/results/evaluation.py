"""How good the predictions are: pure functions of labels and logits; classes are stars - 1."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from star_rating.logs import measurements

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

CALIBRATION_BINS = 15
"""Of equal width, over the probability of the predicted class (Guo et al. 2017, arXiv:1706.04599, section 2)."""
LENGTH_BOUNDS = (8, 16, 32, 64, 128, 256, 512)
"""Tokens: the largest length of each group of reviews."""
MISTAKES_KEPT = 20

UNDEFINED = "-"
"""Of a class that is not there: the precision without a prediction, the recall without a record."""


@dataclass(frozen=True)
class OfLength:
    """The measures of the reviews of some length."""

    shortest: int
    """Tokens, [CLS] and [SEP] included."""
    longest: int
    records: int
    accuracy: float
    mean_absolute_error: float


@dataclass(frozen=True)
class Mistake:
    """A record whose predicted stars are not its own."""

    record: int
    """Its number in the channel, from 0, as in predictions.csv."""
    star_rating: int
    predicted: int
    probability: float
    """Of the predicted stars."""


@dataclass(frozen=True)
class Evaluation:
    """The measures of one channel."""

    records: int
    loss: float
    accuracy: float
    within_one_star: float
    mean_absolute_error: float
    """In stars."""
    majority_class_accuracy: float
    """What always answering the channel's largest class would reach."""
    macro_f1: float
    """Over the classes that are among the labels or the predictions, as f1_score(average="macro") of scikit-learn."""
    quadratic_weighted_kappa: float
    """Agreement beyond chance, where an error counts by its square: 1 is perfect, 0 is chance (Cohen 1968).

    0 where it is not defined: all labels and all predictions are of one class.
    """
    expected_calibration_error: float
    """Mean distance of the predicted classes' probabilities from how often they are right, 0 to 1."""
    per_class: dict[str, dict[str, float]]
    """Stars -> precision, recall, f1, support; 0 where a score is not defined, as in scikit-learn."""
    confusion_matrix: tuple[tuple[int, ...], ...]
    """Rows: true stars; columns: predicted stars."""
    by_length: tuple[OfLength, ...] = ()
    """Shortest first, those without a record left out; empty where lengths are not known."""
    most_confident_mistakes: tuple[Mistake, ...] = ()
    """At most MISTAKES_KEPT, the most confident first."""
    calibration: Mapping[str, Any] | None = None
    """The temperature of the probabilities, and loss and calibration error before and after; None if not known."""

    @property
    def absent_classes(self) -> list[str]:
        """Return the stars that no record has and no prediction names: no mean takes them in."""
        counts = np.array(self.confusion_matrix)
        seen = counts.sum(axis=0) + counts.sum(axis=1)
        return [stars for stars, count in zip(self.per_class, seen, strict=True) if not count]

    def as_dict(self) -> dict[str, Any]:
        """Return evaluation.json: `metrics.accuracy.value` as the notebook's readers expect, and the rest beside it."""
        single = {
            "accuracy": self.accuracy,
            "loss": self.loss,
            "macro_f1": self.macro_f1,
            "mean_absolute_error": self.mean_absolute_error,
            "within_one_star": self.within_one_star,
            "majority_class_accuracy": self.majority_class_accuracy,
            "quadratic_weighted_kappa": self.quadratic_weighted_kappa,
            "expected_calibration_error": self.expected_calibration_error,
        }
        return {
            "metrics": {name: {"value": value} for name, value in single.items()},
            "per_class": self.per_class,
            "absent_classes": self.absent_classes,
            "confusion_matrix": {"rows": "true stars", "columns": "predicted stars", "counts": self.confusion_matrix},
            "records": self.records,
            "calibration": self.calibration,
            "by_length": [asdict(group) for group in self.by_length],
            "most_confident_mistakes": [asdict(mistake) for mistake in self.most_confident_mistakes],
        }

    def log_line(self) -> str:
        """Return the measures that CloudWatch keeps."""
        return measurements(
            test_loss=self.loss,
            test_accuracy=self.accuracy,
            test_within_one_star=self.within_one_star,
            test_macro_f1=self.macro_f1,
        )

    def table(self) -> list[str]:
        """Return the confusion matrix and each class's scores as lines of text."""
        stars = list(self.per_class)
        predictions = np.array(self.confusion_matrix).sum(axis=0)
        lines = ["true  " + "".join(f"{'as ' + star:>7}" for star in stars) + "   precision  recall      f1"]
        for star, row, predicted in zip(stars, self.confusion_matrix, predictions, strict=True):
            scores, support = self.per_class[star], sum(row)
            counts = "".join(f"{count:>7}" for count in row)
            precision = f"{scores['precision']:.3f}" if predicted else UNDEFINED
            recall = f"{scores['recall']:.3f}" if support else UNDEFINED
            f1 = f"{scores['f1']:.3f}" if predicted or support else UNDEFINED
            lines.append(f"{star:>4}  {counts}   {precision:>9}{recall:>8}{f1:>8}")
        return lines

    def write(self, path: Path) -> None:
        """Write evaluation.json."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.as_dict(), indent=2), encoding="utf-8")


def evaluate(labels: Integers, logits: Floats, lengths: Integers | None = None, temperature: float = 1.0) -> Evaluation:
    """Measure logits [records, classes] against labels [records]; `lengths` [records] are the reviews' tokens.

    The loss is that of the logits; probabilities are those of the logits divided by `temperature`.
    """
    classes = logits.shape[1]
    predicted = logits.argmax(axis=1)
    confusion = confusion_of(labels, predicted, classes)
    shares = probabilities(logits / temperature)
    distance = np.abs(labels - predicted)
    per_class = {str(stars + 1): _of_class(confusion, stars) for stars in range(classes)}
    return Evaluation(
        records=len(labels),
        loss=cross_entropy(labels, logits),
        accuracy=float((distance == 0).mean()),
        within_one_star=float((distance <= 1).mean()),
        mean_absolute_error=float(distance.mean()),
        majority_class_accuracy=float(confusion.sum(axis=1).max() / len(labels)),
        macro_f1=macro_f1(confusion),
        quadratic_weighted_kappa=quadratic_weighted_kappa(confusion),
        expected_calibration_error=expected_calibration_error(labels, shares),
        per_class=per_class,
        confusion_matrix=tuple(tuple(int(count) for count in row) for row in confusion),
        by_length=() if lengths is None else _by_length(distance, lengths),
        most_confident_mistakes=_most_confident_mistakes(labels, shares),
    )


def confusion_of(labels: Integers, predicted: Integers, classes: int) -> Integers:
    """Return int64[classes, classes], rows by label and columns by prediction."""
    return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)


def macro_f1(confusion: Integers) -> float:
    """Return f1_score(average="macro") of scikit-learn for a confusion matrix: over the classes that occur in it."""
    there = np.flatnonzero(confusion.sum(axis=0) + confusion.sum(axis=1))
    return float(np.mean([_of_class(confusion, stars)["f1"] for stars in there]))


def mean_absolute_error(confusion: Integers) -> float:
    """Return the mean distance of predicted from true classes."""
    distance = np.abs(np.subtract.outer(np.arange(len(confusion)), np.arange(len(confusion))))
    return float((distance * confusion).sum() / confusion.sum())


def cross_entropy(labels: Integers, logits: Floats) -> float:
    """Return the mean over records of the negative logarithm of the label's probability."""
    return float(-np.log(np.maximum(probabilities(logits)[np.arange(len(labels)), labels], 1e-300)).mean())


def quadratic_weighted_kappa(confusion: Integers) -> float:
    """Return cohen_kappa_score(weights="quadratic") of scikit-learn for a confusion matrix; 0 where that is NaN."""
    classes, records = len(confusion), confusion.sum()
    cost = np.square(np.subtract.outer(np.arange(classes), np.arange(classes)))
    by_chance = np.outer(confusion.sum(axis=1), confusion.sum(axis=0)) / records
    expected = float((cost * by_chance).sum())
    return 1 - float((cost * confusion).sum()) / expected if expected else 0.0


def expected_calibration_error(labels: Integers, shares: Floats) -> float:
    """Return the error of probabilities [records, classes] against labels [records], 0 to 1."""
    confidence = shares.max(axis=1)
    hits = shares.argmax(axis=1) == labels
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, weights=hits - confidence, minlength=CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(labels))


def probabilities(logits: Floats) -> Floats:
    """Return the softmax of logits [records, classes]."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def _by_length(distance: Integers, lengths: Integers) -> tuple[OfLength, ...]:
    groups = []
    for shortest, longest in pairwise((0, *LENGTH_BOUNDS)):
        of_group = distance[(lengths > shortest) & (lengths <= longest)]
        if of_group.size:
            accuracy, error = float((of_group == 0).mean()), float(of_group.mean())
            groups.append(OfLength(shortest + 1, longest, len(of_group), accuracy, error))
    return tuple(groups)


def _most_confident_mistakes(labels: Integers, shares: Floats) -> tuple[Mistake, ...]:
    predicted, confidence = shares.argmax(axis=1), shares.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:MISTAKES_KEPT].tolist()
    return tuple(
        Mistake(record, int(labels[record]) + 1, int(predicted[record]) + 1, float(confidence[record]))
        for record in worst
    )


def _of_class(confusion: Integers, index: int) -> dict[str, float]:
    hits = float(confusion[index, index])
    support, predictions = float(confusion[index].sum()), float(confusion[:, index].sum())
    precision = hits / predictions if predictions else 0.0
    recall = hits / support if support else 0.0
    f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
    return {"precision": precision, "recall": recall, "f1": f1, "support": int(support)}
