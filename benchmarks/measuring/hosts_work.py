"""What hosts_step.py measures: this host's part of a step, the exchange of gradients, and the whole step."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from star_rating.distributed import collectives
from star_rating.distributed.cluster import Cluster
from star_rating.distributed.shares import slice_of
from star_rating.distributed.strategy import MultiHostStrategy
from star_rating.interruption import StopRequest
from star_rating.model.config import DistilBertConfig
from star_rating.model.optimizer import FusedAdam
from star_rating.model.train_step import TrainableClassifier, compile_model


def measure(cluster: Cluster, batch_size: int, length: int, rounds: int) -> dict[str, float]:
    """Return medians in seconds, and the bytes that are added up a step."""
    round_trip = timed(cluster, lambda: cluster.all_gather(None), 4 * rounds)
    collectives.start(cluster)
    start, end = slice_of(batch_size, cluster.rank, cluster.size)
    most = -(-batch_size // cluster.size)
    strategy = MultiHostStrategy(cluster, StopRequest(), max_local_tokens=most * length)
    model = TrainableClassifier(DistilBertConfig(), 5, strategy, seed=1)
    compile_model(model, FusedAdam(1e-5))

    ids, mask = random_reviews(batch_size, length, model.config.vocab_size)
    features = {"input_ids": tf.constant(ids[start:end]), "input_mask": tf.constant(mask[start:end])}
    own = end - start
    batch = (features, tf.zeros([own], tf.int32), tf.fill([own], 1.0 / batch_size))
    part = tf.function(model.local_step)
    gradients = part(batch)[0]
    exchange = tf.function(lambda tensors: strategy.exchange(tensors, model.trainable_variables))
    step = tf.function(model.train_step)
    several = cluster.size > 1
    return {
        "round_trip_seconds": round_trip,
        "compute_seconds": timed(cluster, lambda: part(batch), rounds),
        "exchange_seconds": timed(cluster, lambda: exchange(gradients), rounds) if several else 0.0,
        "step_seconds": timed(cluster, lambda: step(batch), rounds) if several else alone(model, batch, rounds),
        **(strategy.exchange.record() if several else {}),
    }


def alone(model: TrainableClassifier, batch: Any, rounds: int) -> float:  # noqa: ANN401 - Keras's
    """Return the seconds of a step that exchanges nothing: the part, and the update of the weights."""

    def train() -> None:
        gradients, _ = model.local_step(batch)
        model.optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))

    return timed(Cluster(("one",), "one"), tf.function(train), rounds)


def timed(cluster: Cluster, work: Callable[[], object], rounds: int) -> float:
    """Return the median time of what all hosts begin together, on the slowest of them."""
    work()
    seconds: list[float] = []
    for _ in range(rounds):
        cluster.all_gather(None)
        started = time.monotonic()
        work()
        seconds.append(max(cluster.all_gather(time.monotonic() - started)))
    return median(seconds)


def random_reviews(number: int, length: int, vocabulary: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return ids and mask, int32[number, length]: half of it padding, words as frequent as in language (Zipf)."""
    random = np.random.default_rng(3)
    ids = np.minimum(random.zipf(1.2, (number, length)) + 1000, vocabulary - 1).astype(np.int32)
    lengths = random.integers(length // 8, length * 7 // 8 + 1, number)
    mask = (np.arange(length) < lengths[:, None]).astype(np.int32)
    return ids * mask, mask
