"""The training loss of each review, as `loss`, `label_smoothing` and `class_weights` ask for it.

    losses = build_objective(hyperparameters, class_counts)
    losses(labels, logits)              # float32[reviews]

Validation and test losses are plain cross-entropy whatever is trained on: they can be compared between recipes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from star_rating.data.schema import NUMBER_OF_CLASSES
from star_rating.hyperparameters import Hyperparameters

Objective = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
"""From labels int[reviews] and logits float32[reviews, classes] to losses float32[reviews]."""

NEIGHBOUR_DECAY = 2.0
"""A soft label falls by exp(-2) per star of distance: 0.81 on a star at the end of the scale, 0.76 elsewhere."""


def build_objective(hyperparameters: Hyperparameters, class_counts: Sequence[int] = ()) -> Objective:
    """Return the training loss; `class_counts` are the train channel's records per class.

    cross_entropy: of the label. soft_labels: of a label spread over the neighbouring stars by distance (Diaz and
    Marathe 2019, "Soft Labels for Ordinal Regression"). ordinal: the binary cross-entropies of "more than 1 star",
    "more than 2" and so on (Frank and Hall 2001, "A Simple Approach to Ordinal Classification"; as a loss of one
    network: Niu et al. 2016), with the probabilities of the softmax, so that an error counts by its distance.
    label_smoothing: a share of each label goes to all classes alike (Szegedy et al. 2016, arXiv:1512.00567).
    class_weights: `balanced_weights`.
    """
    if hyperparameters.loss == "cross_entropy" and not hyperparameters.label_smoothing:
        unweighted: Objective = cross_entropy
    else:
        targets = target_shares(hyperparameters.loss, hyperparameters.label_smoothing)
        of_targets = _ordinal if hyperparameters.loss == "ordinal" else _cross_entropy_of_shares
        unweighted = _of_shares(of_targets, targets)
    if hyperparameters.class_weights == "none":
        return unweighted
    weights = tf.constant(balanced_weights(class_counts))
    return lambda labels, logits: tf.gather(weights, labels) * unweighted(labels, logits)


def cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Return the negative logarithm of each label's probability."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def target_shares(loss: str, smoothing: float) -> npt.NDArray[np.float32]:
    """Return what share each class has in each label: [labels, classes], rows add up to 1."""
    distance = np.abs(np.subtract.outer(np.arange(NUMBER_OF_CLASSES), np.arange(NUMBER_OF_CLASSES)))
    shares = np.exp(-NEIGHBOUR_DECAY * distance) if loss == "soft_labels" else (distance == 0).astype(np.float64)
    shares /= shares.sum(axis=1, keepdims=True)
    return np.asarray((1 - smoothing) * shares + smoothing / NUMBER_OF_CLASSES, np.float32)


def balanced_weights(class_counts: Sequence[int]) -> npt.NDArray[np.float32]:
    """Return compute_class_weight("balanced") of scikit-learn (King and Zeng 2001); 0 for a class without records.

    Weighted losses are averaged over the reviews, so that an epoch's mean weight is 1.
    """
    counts = np.asarray(class_counts, np.float64)
    present = np.count_nonzero(counts)
    if not present:
        raise ValueError("class_weights=balanced needs the train channel's records per class")
    weights = np.divide(counts.sum(), present * counts, out=np.zeros_like(counts), where=counts > 0)
    return np.asarray(weights, np.float32)


def _of_shares(losses: Objective, targets: npt.NDArray[np.float32]) -> Objective:
    return lambda labels, logits: losses(tf.gather(tf.constant(targets), labels), logits)


def _cross_entropy_of_shares(shares: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    return tf.nn.softmax_cross_entropy_with_logits(shares, logits)


def _ordinal(shares: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    total = tf.reduce_logsumexp(logits, axis=1)
    losses = tf.zeros_like(total)
    for boundary in range(1, NUMBER_OF_CLASSES):
        log_below = tf.reduce_logsumexp(logits[:, :boundary], axis=1) - total
        log_above = tf.reduce_logsumexp(logits[:, boundary:], axis=1) - total
        above = tf.reduce_sum(shares[:, boundary:], axis=1)
        losses -= (1.0 - above) * log_below + above * log_above
    return losses
