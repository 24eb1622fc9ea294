"""What a host does of each step and of each evaluation: on one host all of it (hosts/part.py has the other case)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from observability.profiler.profiler import NullProfiler, Profiler
from star_rating.autotune.autotuner import Trial
from star_rating.autotune.compute_plan import Acceleration, Machine, decide
from star_rating.checkpointing.checkpoints import CheckpointManager
from star_rating.checkpointing.run_state import Fingerprint
from star_rating.data import pipeline
from star_rating.data.channel import Channel
from star_rating.distributed.cluster import Cluster
from star_rating.hyperparameters import Hyperparameters
from star_rating.interruption import StopRequest
from star_rating.model import pretrained_weights
from star_rating.model.distilbert import DistilBertClassifier
from star_rating.model.xla import CompiledStep, pad_to_buckets
from star_rating.results import predictions
from star_rating.training.build import build_model
from star_rating.training.supervision import Supervision
from star_rating.training.watchdog import Watchdog


class Work:
    """The work of a cluster of one."""

    def __init__(self, hyperparameters: Hyperparameters, data: Mapping[str, Channel], cluster: Cluster) -> None:
        self.hyperparameters = hyperparameters
        self.data = data
        self.cluster = cluster

    def checkpointing(self, open_own: Callable[[], CheckpointManager], fingerprint: Fingerprint) -> CheckpointManager:
        """Return the checkpoints that the run goes on with."""
        del fingerprint
        return open_own()

    def acceleration(
        self,
        pretrained: pretrained_weights.PretrainedWeights,
        steps: int,
        machine: Machine,
        earlier: Mapping[str, Any] | None,
    ) -> Acceleration:
        """Decide how to compute a run of `steps` steps; `earlier` as in compute_plan.decide."""
        return decide(Trial(self.hyperparameters, pretrained, self.data["train"], steps), machine, earlier)

    def supervision(self, stop: StopRequest, watchdog: Watchdog, profile: Profiler | NullProfiler) -> Supervision:
        """Return what carries out a stop between two batches."""
        return Supervision(stop, watchdog, profile)

    def model(
        self, pretrained: pretrained_weights.PretrainedWeights, total_steps: int, stop: StopRequest
    ) -> DistilBertClassifier:
        """Return the model that fit trains."""
        del stop
        return build_model(self.hyperparameters, pretrained, total_steps)

    def compiled(self, model: DistilBertClassifier, on_timed: Callable[[float], object]) -> CompiledStep:
        """Have XLA compile the model's step."""
        return CompiledStep(model, on_timed)

    def training_batches(self, step: int, *, for_xla: bool) -> tf.data.Dataset:
        """Return the endless batches after `step` steps."""
        batch_size, length = self.hyperparameters.train_batch_size, self.hyperparameters.max_seq_length
        batches = pipeline.training_batches(
            self.data["train"], batch_size, length, seed=self.hyperparameters.seed, first_batch=step
        )
        return pad_to_buckets(batches, batch_size) if for_xla else batches

    def records_of_batch(self, batch: int) -> list[tuple[Path, int]]:
        """Return file and record of what is in a batch, from 0."""
        batch_size, seed = self.hyperparameters.train_batch_size, self.hyperparameters.seed
        return pipeline.records_of_batch(self.data["train"], batch_size, seed=seed, batch=batch)

    def evaluation_batches(self, channel: str) -> tf.data.Dataset | None:
        """Return the batches of "validation" or "test"; None if the job has no such evaluation."""
        if channel not in self.data:
            return None
        batch_size, steps = self._evaluation(channel)
        length = self.hyperparameters.max_seq_length
        return pipeline.evaluation_batches(self.data[channel], batch_size, length, steps=steps)

    def predict(
        self, model: DistilBertClassifier, batches: tf.data.Dataset, supervision: Supervision
    ) -> predictions.Predictions:
        """Return labels and logits of the batches; raises Stopped."""
        return predictions.predict_channel(model, supervision.watched(batches, "evaluation"))

    def hosts(self, model: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - as model() returns it
        """Return what run.json keeps of each host, after training."""
        del model
        return [{"host": self.cluster.name}]

    def _evaluation(self, channel: str) -> tuple[int, int]:
        """Return batch size and number of batches."""
        own = self.hyperparameters
        return {
            "validation": (own.validation_batch_size, own.validation_steps),
            "test": (own.test_batch_size, own.test_steps),
        }[channel]
