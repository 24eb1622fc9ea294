"""TF-IDF of words and pairs of words with scikit-learn's logistic regression: of the five classes, or of their order.

python -m benchmarks.contestants.tf_idf --fold out/quality/fold --weights weights --length 64 --seed 42 --ordinal

The regularisation is chosen by the accuracy on the fold's validation part. `--ordinal` asks "more than 1 star", "more
than 2" and so on, with a regression each (Frank and Hall 2001, "A Simple Approach to Ordinal Classification").
"""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from benchmarks.contestants import folds

CLASSES = 5
STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0)
"""Of C, the inverse of the regularisation."""

Matrix = npt.NDArray[np.float64]


def main() -> None:
    """Fit on the fold's train part, and predict its test part."""
    options = folds.arguments()
    started = time.monotonic()
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    (texts, labels), (validation_texts, validation_labels), (test_texts, _) = (
        folds.read(options.fold / f"{part}.tsv") for part in ("train", "validation", "test")
    )
    train = vectorizer.fit_transform(texts)
    validation, test = vectorizer.transform(validation_texts), vectorizer.transform(test_texts)
    predict = ordinal if options.ordinal else multinomial
    hits = [
        (predict(strength, train, labels, validation).argmax(axis=1) == validation_labels).mean()
        for strength in STRENGTHS
    ]
    best = STRENGTHS[int(np.argmax(hits))]
    shares = predict(best, train, labels, test)
    folds.report(options, shares, fit_seconds=time.monotonic() - started, strength=best)


def multinomial(strength: float, train: Matrix, labels: list[int], rows: Matrix) -> Matrix:
    """Return the probability of each class, [rows, classes]."""
    model = LogisticRegression(C=strength, max_iter=2000).fit(train, labels)
    shares = np.zeros((rows.shape[0], CLASSES))
    shares[:, model.classes_] = model.predict_proba(rows)
    return shares


def ordinal(strength: float, train: Matrix, labels: list[int], rows: Matrix) -> Matrix:
    """Return the same from the probabilities of "more than so many stars"."""
    above = np.stack(
        [
            LogisticRegression(C=strength, max_iter=2000)
            .fit(train, np.greater(labels, boundary))
            .predict_proba(rows)[:, 1]
            for boundary in range(CLASSES - 1)
        ],
        axis=1,
    )
    ends = np.ones((len(above), 1))
    # Regressions of their own may cross: what would be less than nothing is nothing.
    shares = np.maximum(-np.diff(np.hstack([ends, above, 0 * ends]), axis=1), 0)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


if __name__ == "__main__":
    main()
