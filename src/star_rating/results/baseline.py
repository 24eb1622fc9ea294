"""What a model must beat: the largest class, and TF-IDF with logistic regression on the same records.

Both are computed from the channels that the model was trained and tested on. The words are the records' word pieces,
so that nothing but the TFRecords is needed; C = 1 and natural-log TF-IDF with l2 rows, the usual defaults.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from scipy import optimize, sparse

from star_rating.data.files import visible_files
from star_rating.data.pipeline import parser
from star_rating.data.records import without_autotune
from star_rating.results.evaluation import Evaluation, Floats, Integers, evaluate

Matrix: TypeAlias = Any  # scipy.sparse.csr_matrix; scipy is untyped


def read_channel(folder: Path, max_seq_length: int) -> tuple[npt.NDArray[np.int64], Integers]:
    """Return a channel's ids [records, max_seq_length], 0 where there is padding, and its labels [records]."""
    files = [str(path) for path in visible_files(folder, "*.tfrecord")]
    records = without_autotune(tf.data.TFRecordDataset(files).batch(4096).map(parser(max_seq_length)))
    batches = [(features["input_ids"] * features["input_mask"], labels) for features, labels in records]
    ids, labels = (np.concatenate([arrays[part].numpy() for arrays in batches]).astype(np.int64) for part in (0, 1))
    return ids, labels


def largest_class(train_labels: Integers, test_labels: Integers, classes: int) -> Evaluation:
    """Evaluate always answering the train channel's largest class."""
    answer = np.bincount(train_labels, minlength=classes).argmax()
    logits = np.zeros((len(test_labels), classes))
    logits[:, answer] = 1.0
    return evaluate(test_labels, logits)


def tf_idf_logistic_regression(
    train: tuple[npt.NDArray[np.int64], Integers], test: tuple[npt.NDArray[np.int64], Integers], classes: int
) -> Evaluation:
    """Fit multinomial logistic regression on TF-IDF features of the train channel; evaluate it on the test channel."""
    vocabulary = int(max(train[0].max(), test[0].max())) + 1
    counts = _term_counts(train[0], vocabulary)
    document_frequency = np.bincount(counts.indices, minlength=vocabulary)
    inverse = np.log((1 + counts.shape[0]) / (1 + document_frequency)) + 1
    features = _weighted(counts, inverse)
    weights = _logistic_regression(features, train[1], classes)
    return evaluate(test[1], _with_bias(_weighted(_term_counts(test[0], vocabulary), inverse)) @ weights)


def _term_counts(ids: npt.NDArray[np.int64], vocabulary: int) -> Matrix:
    rows, columns = np.nonzero(ids)
    ones = np.ones(len(rows))
    counts = sparse.csr_matrix((ones, (rows, ids[rows, columns])), shape=(len(ids), vocabulary))
    counts.sum_duplicates()
    return counts


def _weighted(counts: Matrix, inverse: Floats) -> Matrix:
    weighted = counts @ sparse.diags(inverse)
    lengths = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1))).ravel()
    return sparse.csr_matrix(sparse.diags(1 / np.maximum(lengths, 1e-12)) @ weighted)


def _with_bias(features: Matrix) -> Matrix:
    return sparse.csr_matrix(sparse.hstack([features, np.ones((features.shape[0], 1))]))


def _logistic_regression(features: Matrix, labels: Integers, classes: int) -> Floats:
    """Return weights [features + 1, classes] that minimise the summed cross-entropy plus half the squared weights."""
    inputs = _with_bias(features)
    targets = np.eye(classes)[labels]
    shape = (inputs.shape[1], classes)

    def objective(flat: Floats) -> tuple[float, Floats]:
        weights = flat.reshape(shape)
        scores = inputs @ weights
        log_shares = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
        penalised = weights.copy()
        penalised[-1] = 0.0  # the bias is free
        gradient = inputs.T @ (np.exp(log_shares) - targets) + penalised
        return float(-(targets * log_shares).sum() + 0.5 * (penalised**2).sum()), np.asarray(gradient).ravel()

    solution = optimize.minimize(
        objective, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 500}
    )
    return np.asarray(solution.x).reshape(shape)
