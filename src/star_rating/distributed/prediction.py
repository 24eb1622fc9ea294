"""Predictions of a channel on several hosts: each predicts its part, and all get the whole, in the channel's order."""

from __future__ import annotations

import base64
from collections.abc import Iterable

import numpy as np

from star_rating.distributed.cluster import Cluster
from star_rating.model.distilbert import DistilBertClassifier
from star_rating.results.evaluation import Floats, Integers
from star_rating.results.predictions import Batch, predict_channel
from star_rating.training.supervision import Supervision


def predict(
    cluster: Cluster, model: DistilBertClassifier, batches: Iterable[Batch], supervision: Supervision
) -> tuple[Integers, Floats]:
    """Return labels [records] and logits [records, classes] of all hosts; raises Stopped on all, if on one."""
    labels, logits = predict_channel(model, supervision.watched(batches, "evaluation"))
    stops = supervision.stop.signal is not None
    every = cluster.gather({"labels": labels.tolist(), "logits": _as_text(logits), "stops": stops})
    if any(own["stops"] for own in every):
        supervision.stop.heed_another_host()
    return (
        np.concatenate([np.asarray(own["labels"], np.int64) for own in every]),
        np.concatenate([_from_text(own["logits"], model.number_of_classes) for own in every]).astype(np.float64),
    )


def _as_text(logits: Floats) -> str:
    return base64.b64encode(logits.astype("<f4").tobytes()).decode("ascii")


def _from_text(text: str, classes: int) -> Floats:
    return np.frombuffer(base64.b64decode(text), "<f4").reshape(-1, classes).astype(np.float64)
