"""What one of several hosts does of each step and of each evaluation: its part, in the shape of training/work.py.

work = work_of(hyperparameters, data, cluster)
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from observability.profiler.profiler import NullProfiler, Profiler
from star_rating.autotune.autotuner import Trial
from star_rating.autotune.compute_plan import Acceleration, Machine, adopt, decide
from star_rating.checkpointing.checkpoints import CheckpointManager
from star_rating.checkpointing.run_state import Fingerprint
from star_rating.distributed import batches as parts
from star_rating.distributed import prediction
from star_rating.distributed.channels import SharedChannel
from star_rating.distributed.checkpoint import share
from star_rating.distributed.classifier import SharedClassifier
from star_rating.distributed.cluster import Cluster
from star_rating.distributed.supervision import SharedSupervision
from star_rating.hyperparameters import Hyperparameters
from star_rating.interruption import StopRequest
from star_rating.model import pretrained_weights
from star_rating.model.distilbert import DistilBertClassifier
from star_rating.model.xla import CompiledStep, pad_to_buckets
from star_rating.results.predictions import Predictions
from star_rating.training.build import build_model
from star_rating.training.supervision import Supervision
from star_rating.training.watchdog import Watchdog
from star_rating.training.work import Work

log = logging.getLogger(__name__)


def work_of(hyperparameters: Hyperparameters, data: Mapping[str, Any], cluster: Cluster) -> Work:
    """Return a host's work; of several hosts, the channels of `data` are SharedChannels."""
    return Part(hyperparameters, data, cluster) if cluster.size > 1 else Work(hyperparameters, data, cluster)


class Part(Work):
    """The work of one of several hosts."""

    data: Mapping[str, SharedChannel]

    def __init__(self, hyperparameters: Hyperparameters, data: Mapping[str, SharedChannel], cluster: Cluster) -> None:
        super().__init__(hyperparameters, data, cluster)
        self.most_rows = parts.most_rows(data["train"], hyperparameters.train_batch_size)
        """Reviews that this host may have of one batch."""

    def checkpointing(self, open_own: Callable[[], CheckpointManager], fingerprint: Fingerprint) -> CheckpointManager:
        """Return the first host's checkpoints."""
        return share(self.cluster, open_own, fingerprint, self.data["train"].shards)

    def acceleration(
        self,
        pretrained: pretrained_weights.PretrainedWeights,
        steps: int,
        machine: Machine,
        earlier: Mapping[str, Any] | None,
    ) -> Acceleration:
        """Decide on the first host, from what it has of each batch; the others do the same."""
        decided = None
        if self.cluster.is_first:
            own = dataclasses.replace(self.hyperparameters, train_batch_size=self.most_rows)
            decided = decide(Trial(own, pretrained, self.data["train"].own(), steps), machine, earlier)
        record = self.cluster.from_first(decided.record() if decided else None)
        return decided or adopt(record, machine)

    def supervision(self, stop: StopRequest, watchdog: Watchdog, profile: Profiler | NullProfiler) -> Supervision:
        """Return what carries out a stop after the same step on all hosts."""
        return SharedSupervision(stop, watchdog, profile)

    def model(
        self, pretrained: pretrained_weights.PretrainedWeights, total_steps: int, stop: StopRequest
    ) -> DistilBertClassifier:
        """Return this host's copy of the model."""
        model = build_model(self.hyperparameters, pretrained, total_steps, SharedClassifier)
        most_rows = parts.most_rows_of_any(self.data["train"], self.hyperparameters.train_batch_size)
        model.join(
            self.cluster,
            stop,
            most_tokens=most_rows * self.hyperparameters.max_seq_length,
            skips_nonfinite=bool(self.hyperparameters.skip_nonfinite_steps),
        )
        return model

    def compiled(self, model: DistilBertClassifier, on_timed: Callable[[float], object]) -> CompiledStep:
        """Have XLA compile this host's part of the step; the exchange is none of its operations."""
        return CompiledStep(model, on_timed, method="part_of_step")

    def training_batches(self, step: int, *, for_xla: bool) -> tf.data.Dataset:
        """Return this host's part of the endless batches after `step` steps; under XLA, always as many rows."""
        own = self.hyperparameters
        batches = parts.training_batches(
            self.data["train"],
            own.train_batch_size,
            own.max_seq_length,
            seed=own.seed,
            first_batch=step,
            rows=self.most_rows if for_xla else 1,
        )
        return pad_to_buckets(batches, self.most_rows) if for_xla else batches

    def records_of_batch(self, batch: int) -> list[tuple[Path, int]]:
        """Return file and record of what this host has of a batch."""
        own = self.hyperparameters
        return parts.records_of_batch(self.data["train"], own.train_batch_size, seed=own.seed, batch=batch)

    def evaluation_batches(self, channel: str) -> tf.data.Dataset | None:
        """Return this host's part of "validation" or "test"; None if the job has no such evaluation."""
        if channel not in self.data:
            return None
        batch_size, steps = self._evaluation(channel)
        return parts.evaluation_batches(
            self.data[channel], batch_size, self.hyperparameters.max_seq_length, steps=steps
        )

    def predict(self, model: DistilBertClassifier, batches: tf.data.Dataset, supervision: Supervision) -> Predictions:
        """Return the predictions of all hosts' batches; raises Stopped on all hosts."""
        return prediction.predict(self.cluster, model, batches, supervision)

    def hosts(self, model: Any) -> list[dict[str, Any]]:  # noqa: ANN401
        """Return what each host had and sent, and its weights' hash: the same on all, or else there is a warning."""
        digest = hashlib.sha256()
        for variable in model.trainable_variables:
            digest.update(variable.numpy().tobytes())
        every = self.cluster.gather(
            {
                "host": self.cluster.name,
                "records": {name: channel.here for name, channel in self.data.items()},
                "weights_sha256": digest.hexdigest(),
                **model.exchange.record(),
            }
        )
        if len({own["weights_sha256"] for own in every}) > 1:
            log.warning("hosts: their weights are not the same to the last bit; do they have the same processor?")
        return every
