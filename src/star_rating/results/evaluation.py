"""How good the predictions are: pure functions of labels and logits; classes are stars - 1."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from star_rating.logs import measurements

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

UNDEFINED = "-"
"""Of a class that is not there: the precision without a prediction, the recall without a record."""


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
    per_class: dict[str, dict[str, float]]
    """Stars -> precision, recall, f1, support; 0 where a score is not defined, as in scikit-learn."""
    confusion_matrix: tuple[tuple[int, ...], ...]
    """Rows: true stars; columns: predicted stars."""

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
        }
        return {
            "metrics": {name: {"value": value} for name, value in single.items()},
            "per_class": self.per_class,
            "absent_classes": self.absent_classes,
            "confusion_matrix": {"rows": "true stars", "columns": "predicted stars", "counts": self.confusion_matrix},
            "records": self.records,
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


def evaluate(labels: Integers, logits: Floats) -> Evaluation:
    """Measure logits [records, classes] against labels [records]."""
    classes = logits.shape[1]
    predicted = logits.argmax(axis=1)
    confusion = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    distance = np.abs(labels - predicted)
    per_class = {str(stars + 1): _of_class(confusion, stars) for stars in range(classes)}
    there = np.flatnonzero(confusion.sum(axis=0) + confusion.sum(axis=1))
    return Evaluation(
        records=len(labels),
        loss=float(-np.log(np.maximum(probabilities(logits)[np.arange(len(labels)), labels], 1e-300)).mean()),
        accuracy=float((distance == 0).mean()),
        within_one_star=float((distance <= 1).mean()),
        mean_absolute_error=float(distance.mean()),
        majority_class_accuracy=float(confusion.sum(axis=1).max() / len(labels)),
        macro_f1=float(np.mean([per_class[str(stars + 1)]["f1"] for stars in there])),
        per_class=per_class,
        confusion_matrix=tuple(tuple(int(count) for count in row) for row in confusion),
    )


def probabilities(logits: Floats) -> Floats:
    """Return the softmax of logits [records, classes]."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def _of_class(confusion: Integers, index: int) -> dict[str, float]:
    hits = float(confusion[index, index])
    support, predictions = float(confusion[index].sum()), float(confusion[:, index].sum())
    precision = hits / predictions if predictions else 0.0
    recall = hits / support if support else 0.0
    f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
    return {"precision": precision, "recall": recall, "f1": f1, "support": int(support)}
