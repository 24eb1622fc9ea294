"""Predictions of a whole channel, and of sentences of our own for the eye.

predictions.csv holds no review text: model.tar.gz travels further than the data may.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from star_rating.distributed.strategy import Strategy
from star_rating.model.distilbert import DistilBertClassifier
from star_rating.results.evaluation import Floats, Integers, probabilities
from star_rating.results.inference import ModelFolder

Batch = tuple[Mapping[str, tf.Tensor], tf.Tensor]
"""Features and labels."""

SAMPLES = (
    "This is the best purchase I have made in years, it works perfectly!",
    "It does what it says, nothing more.",
    "It broke after two days and nobody answers my mails. Avoid it.",
)


class Predictions(NamedTuple):
    """A channel's labels and what the model makes of it, in the channel's order."""

    labels: Integers
    """[records]"""
    logits: Floats
    """[records, classes]"""
    lengths: Integers
    """[records], tokens of the review, [CLS] and [SEP] included."""


def predict_channel(model: DistilBertClassifier, batches: Iterable[Batch], strategy: Strategy) -> Predictions:
    """Return the predictions of a channel; of several hosts each predicts its batches, and all get the whole.

    Raises Stopped on all hosts if a signal has asked any of several to stop.
    """
    predict = tf.function(lambda features: model(features, training=False), reduce_retracing=True)
    labels, logits = [np.empty(0, np.int64)], [np.empty((0, model.number_of_classes), np.float32)]
    lengths = [np.empty(0, np.int64)]
    for features, batch_labels in batches:
        labels.append(batch_labels.numpy())
        logits.append(predict(features).numpy())
        lengths.append(features["input_mask"].numpy().sum(axis=1))
    strategy.agree_to_stop()
    return Predictions(
        strategy.all_gather_rows(np.concatenate(labels).astype(np.int64)),
        strategy.all_gather_rows(np.concatenate(logits)).astype(np.float64),
        strategy.all_gather_rows(np.concatenate(lengths).astype(np.int64)),
    )


def predict_sentences(
    model: DistilBertClassifier, folder: ModelFolder, sentences: Sequence[str], temperature: float
) -> list[tuple[str, int, float]]:
    """Return (sentence, stars, probability) for each, tokenised as whoever serves the exported folder does it."""
    padded = folder.pad([encoding.ids for encoding in folder.encode(list(sentences))])
    logits = model({name: tf.constant(rows, tf.int32) for name, rows in padded.items()}, training=False)
    shares = probabilities(np.asarray(logits, dtype=np.float64) / temperature)
    return [(text, int(row.argmax()) + 1, float(row.max())) for text, row in zip(sentences, shares, strict=True)]


def write_predictions(path: Path, labels: Integers, logits: Floats, temperature: float = 1.0) -> None:
    """Write one row a record, in the channel's order: true stars, predicted stars, probability of each class."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["record", "star_rating", "predicted", *(f"p{stars + 1}" for stars in range(logits.shape[1]))])
        for record, (label, row) in enumerate(zip(labels, probabilities(logits / temperature), strict=True)):
            writer.writerow([record, label + 1, int(row.argmax()) + 1, *(f"{share:.4f}" for share in row)])
