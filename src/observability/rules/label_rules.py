"""Rules on labels beside predictions: class imbalance, a poor confusion matrix.

They need the labels and predictions of the collection `outputs`, which a DebugHookConfig has to ask for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from observability.rule import AWS, Array, Finding, Step, TensorRule, parameter


class Pairs:
    """Counts of true and predicted classes since the last `clear`."""

    def __init__(self, classes: int = 0) -> None:
        self.counts: Array = np.zeros((classes, classes), np.int64)
        """[true, predicted]."""

    def add(self, labels: Array, predictions: Array) -> None:
        """Count pairs of whole numbers from 0; of vectors that differ in length, only the common part."""
        length = min(labels.size, predictions.size)
        true, predicted = (np.rint(values).astype(np.int64).reshape(-1)[:length] for values in (labels, predictions))
        size = max(len(self.counts), *(int(values.max(initial=-1)) + 1 for values in (true, predicted)))
        grown = size - len(self.counts)
        self.counts = np.pad(self.counts, ((0, grown), (0, grown)))
        np.add.at(self.counts, (true, predicted), 1)

    def clear(self) -> None:
        """Start over with the same classes."""
        self.counts[:] = 0


@dataclass
class ClassImbalance(TensorRule):
    """One class has many times the samples of another, or most samples of one are predicted as others.

    Judged each time that `samples` labels have been seen, on those alone.
    """

    threshold_imbalance: float = parameter(10.0, "largest ratio of the samples of two classes", AWS)
    threshold_misprediction: float = parameter(0.7, "largest share of mispredictions in a class", AWS)
    samples: int = parameter(500, "labels to see before judging", AWS)
    argmax: bool = parameter(False, "predictions are vectors, the largest of which is the class", AWS)  # noqa: FBT003
    labels_regex: str = parameter(".*labels", "regular expression of the labels' name", AWS)
    predictions_regex: str = parameter(".*predictions", "regular expression of the predictions' name", AWS)

    def __post_init__(self) -> None:
        """Start with no samples."""
        re.compile(self.labels_regex), re.compile(self.predictions_regex)
        self.pairs = Pairs()
        self.seen = False

    def look(self, step: Step) -> Iterator[Finding]:
        """Yield an imbalance, or the classes that are mispredicted; the value is the ratio, or the share."""
        labels, predictions = step.names(patterns=[self.labels_regex]), step.names(patterns=[self.predictions_regex])
        if not labels or not predictions:
            return
        self.seen = True
        predicted = step.value(predictions[0])
        if self.argmax:
            predicted = np.argmax(predicted, axis=-1)
        self.pairs.add(step.value(labels[0]), predicted)
        per_class = self.pairs.counts.sum(axis=1)
        if per_class.sum() < self.samples:
            return
        yield from self._judge(per_class, step.number)
        self.pairs.clear()

    def _judge(self, per_class: Array, step: int) -> Iterator[Finding]:
        small, large = int(np.argmin(per_class)), int(np.argmax(per_class))
        ratio = float(per_class[large] / max(per_class[small], 1e-9))
        if ratio > self.threshold_imbalance:
            yield Finding(
                f"class {large} has {per_class[large]} samples, class {small} {per_class[small]}", ratio, step
            )
        for index in np.flatnonzero(per_class):
            share = float(1 - self.pairs.counts[index, index] / per_class[index])
            if share > self.threshold_misprediction:
                yield Finding(f"{share:.0%} of the samples of class {index} are predicted as another", share, step)

    def missing(self) -> str:
        """Name the expressions."""
        return "" if self.seen else f"no tensors named like {self.labels_regex} and {self.predictions_regex} are saved"


@dataclass
class Confusion(TensorRule):
    """The confusion matrix has too little on its diagonal, or too much beside it.

    AWS's text divides the diagonal by its own sum, of which no two classes can both have 0.9; what is meant, as for the
    elements off the diagonal, is the share of each predicted class: counts[i][i] / sum of counts[j][i] over j. Judged
    when the matrix is populated, that is when every class has occurred as a label and one as a prediction; then anew.
    """

    category_no: int | None = parameter(None, "number of classes; None: as many as are seen", AWS)
    labels: str = parameter("labels", "name of the vector of true classes", AWS)
    predictions: str = parameter("predictions", "name of the vector of predicted classes", AWS)
    labels_collection: str = parameter("labels", "collection of the labels", AWS)
    predictions_collection: str = parameter("predictions", "collection of the predictions", AWS)
    min_diag: float = parameter(0.9, "least share on the diagonal", AWS)
    max_off_diag: float = parameter(0.1, "largest share off the diagonal", AWS)

    def __post_init__(self) -> None:
        """Start with no pairs."""
        self.pairs = Pairs(self.category_no or 0)
        self.seen = False

    def look(self, step: Step) -> Iterator[Finding]:
        """Yield the worst element of the diagonal and off it; the finding's value is its share."""
        labels = step.names([self.labels_collection], [re.escape(self.labels) + "$"])
        predictions = step.names([self.predictions_collection], [re.escape(self.predictions) + "$"])
        if not labels or not predictions:
            return
        self.seen = True
        self.pairs.add(step.value(labels[0]), step.value(predictions[0]))
        counts = self.pairs.counts
        if not counts.sum(axis=1).all():
            return
        shares = counts / np.maximum(counts.sum(axis=0), 1)
        predicted = np.flatnonzero(counts.sum(axis=0))
        right = int(predicted[np.argmin(shares.diagonal()[predicted])])
        if shares[right, right] < self.min_diag:
            share = float(shares[right, right])
            yield Finding(f"of the samples predicted as class {right} only {share:.0%} are of it", share, step.number)
        beside = shares - np.diag(shares.diagonal())
        true, wrong = (int(index) for index in np.unravel_index(np.argmax(beside), beside.shape))
        if beside[true, wrong] > self.max_off_diag:
            share = float(beside[true, wrong])
            yield Finding(f"{share:.0%} of the samples predicted as class {wrong} are of {true}", share, step.number)
        self.pairs.clear()

    def missing(self) -> str:
        """Name the tensors."""
        return "" if self.seen else f"no tensors {self.labels} and {self.predictions} are saved"
