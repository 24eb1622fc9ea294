"""Predictions of a channel on several hosts: each predicts its part, and all get the whole, in the channel's order."""

from __future__ import annotations

import base64
from collections.abc import Iterable

import numpy as np

from star_rating.distributed.cluster import Cluster
from star_rating.model.distilbert import DistilBertClassifier
from star_rating.results.evaluation import Floats
from star_rating.results.predictions import Batch, Predictions, predict_channel
from star_rating.training.supervision import Supervision


def predict(
    cluster: Cluster, model: DistilBertClassifier, batches: Iterable[Batch], supervision: Supervision
) -> Predictions:
    """Return the predictions of all hosts; raises Stopped on all, if on one."""
    own = predict_channel(model, supervision.watched(batches, "evaluation"))
    stops = supervision.stop.signal is not None
    every = cluster.gather(
        {
            "labels": own.labels.tolist(),
            "logits": _as_text(own.logits),
            "lengths": own.lengths.tolist(),
            "stops": stops,
        }
    )
    if any(of_host["stops"] for of_host in every):
        supervision.stop.heed_another_host()
    return Predictions(
        np.concatenate([np.asarray(of_host["labels"], np.int64) for of_host in every]),
        np.concatenate([_from_text(of_host["logits"], model.number_of_classes) for of_host in every]),
        np.concatenate([np.asarray(of_host["lengths"], np.int64) for of_host in every]),
    )


def _as_text(logits: Floats) -> str:
    return base64.b64encode(logits.astype("<f4").tobytes()).decode("ascii")


def _from_text(text: str, classes: int) -> Floats:
    return np.frombuffer(base64.b64decode(text), "<f4").reshape(-1, classes).astype(np.float64)
