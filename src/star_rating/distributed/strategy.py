"""How the hosts of a job share its training: which records are whose, and what is added up over all of them.

    strategy = make_strategy(cluster, stop, data["train"], batch_size=32, max_seq_length=64)
    batches = strategy.training_batches(data["train"], 32, 64, seed=42)      # this host's records of each batch
    gradients, sums, stops = strategy.reduce(gradients, sums, variables)     # of all hosts, the same on each

The word is tf.distribute's. After each step all hosts have the same weights, slots, metrics and logs, to the last bit:
what callbacks decide from them, all decide.
"""

from __future__ import annotations

import base64
import hashlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from star_rating.data import pipeline
from star_rating.data.channel import Channel
from star_rating.distributed import batches as local_batches
from star_rating.distributed.channels import DistributedChannel
from star_rating.distributed.cluster import Cluster
from star_rating.distributed.collectives import Collectives, Key
from star_rating.distributed.gradients import Gradient, GradientExchange
from star_rating.interruption import StopRequest

log = logging.getLogger(__name__)


class Strategy(ABC):
    """What a host does of each batch, and how it comes to what all hosts have done."""

    is_distributed: bool

    @abstractmethod
    def local_batch_size(self, channel: Channel, batch_size: int) -> int:
        """Return how many records of a batch this host may have."""

    @abstractmethod
    def local_channel(self, channel: Channel) -> Channel:
        """Return what this host has of a channel, as a channel."""

    @abstractmethod
    def training_batches(
        self, channel: Channel, batch_size: int, max_seq_length: int, *, seed: int, first_batch: int = 0
    ) -> tf.data.Dataset:
        """Return this host's part of the endless batches, from batch `first_batch` on."""

    @abstractmethod
    def records_of_batch(self, channel: Channel, batch_size: int, *, seed: int, batch: int) -> list[tuple[Path, int]]:
        """Return file and record of what this host has of a batch."""

    @abstractmethod
    def evaluation_batches(
        self, channel: Channel, batch_size: int, max_seq_length: int, *, steps: int = 0
    ) -> tf.data.Dataset:
        """Return this host's part of one exact pass in order, or of its first `steps` batches."""

    @abstractmethod
    def dropout_step(self, step: tf.Tensor) -> tf.Tensor:
        """Return a number for this step's dropout masks that no other host draws its own with."""

    @abstractmethod
    def reduce(
        self, gradients: Sequence[Gradient], sums: Sequence[tf.Tensor], variables: Sequence[tf.Variable]
    ) -> tuple[list[Gradient], list[tf.Tensor], tf.Tensor]:
        """Add up gradients and scalars over all hosts; the third is how many hosts were asked to stop."""

    @abstractmethod
    def all_reduce(self, values: Sequence[float]) -> list[float]:
        """Add up numbers over all hosts."""

    @abstractmethod
    def all_gather_rows(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Concatenate arrays of all hosts along their first axis, by rank."""

    @abstractmethod
    def agree_to_stop(self) -> None:
        """Raise Stopped on all hosts if a signal has asked any of them to."""

    @abstractmethod
    def host_records(self, variables: Sequence[tf.Variable], data: Mapping[str, Channel]) -> list[dict[str, Any]]:
        """Return what run.json keeps of each host, after training."""


class SingleHostStrategy(Strategy):
    """One host: all records are its own, and there is nobody to agree with."""

    is_distributed = False

    def __init__(self, host: str = "") -> None:
        self.host = host

    def local_batch_size(self, channel: Channel, batch_size: int) -> int:
        """Return the whole batch."""
        del channel
        return batch_size

    def local_channel(self, channel: Channel) -> Channel:
        """Return the channel."""
        return channel

    def training_batches(
        self, channel: Channel, batch_size: int, max_seq_length: int, *, seed: int, first_batch: int = 0
    ) -> tf.data.Dataset:
        """Return endless batches of (features, labels)."""
        return pipeline.training_batches(channel, batch_size, max_seq_length, seed=seed, first_batch=first_batch)

    def records_of_batch(self, channel: Channel, batch_size: int, *, seed: int, batch: int) -> list[tuple[Path, int]]:
        """Return file and record of what is in a batch."""
        return pipeline.records_of_batch(channel, batch_size, seed=seed, batch=batch)

    def evaluation_batches(
        self, channel: Channel, batch_size: int, max_seq_length: int, *, steps: int = 0
    ) -> tf.data.Dataset:
        """Return batches of (features, labels)."""
        return pipeline.evaluation_batches(channel, batch_size, max_seq_length, steps=steps)

    def dropout_step(self, step: tf.Tensor) -> tf.Tensor:
        """Return the step."""
        return step

    def reduce(
        self, gradients: Sequence[Gradient], sums: Sequence[tf.Tensor], variables: Sequence[tf.Variable]
    ) -> tuple[list[Gradient], list[tf.Tensor], tf.Tensor]:
        """Return what came: a stop of the only host needs no agreement."""
        del variables
        return list(gradients), list(sums), tf.constant(0.0)

    def all_reduce(self, values: Sequence[float]) -> list[float]:
        """Return the numbers."""
        return list(values)

    def all_gather_rows(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the array."""
        return array

    def agree_to_stop(self) -> None:
        """Leave it to StopRequest.raise_if_requested, which needs no other host."""

    def host_records(self, variables: Sequence[tf.Variable], data: Mapping[str, Channel]) -> list[dict[str, Any]]:
        """Return the host's name."""
        del variables, data
        return [{"host": self.host}]


class MultiHostStrategy(Strategy):
    """One of several hosts: each computes on its records of a batch, and gradients are added up.

    Channels are DistributedChannels, and training batches have a third part, weights that are 1 / reviews of the whole
    batch: weighted losses add up to the batch's mean over all hosts, whatever each had of it (batches.py).
    """

    is_distributed = True

    def __init__(self, cluster: Cluster, stop: StopRequest, max_local_tokens: int) -> None:
        """Train with the hosts of `cluster`; `max_local_tokens` is what any of them can have of one batch."""
        self.cluster = cluster
        self.stop = stop
        self.collectives = Collectives(cluster.size)
        self.exchange = GradientExchange(self.collectives, max_local_tokens)

    def local_batch_size(self, channel: Channel, batch_size: int) -> int:
        """Return the most that this host can have of a batch; at least one, if only of padding."""
        return local_batches.local_batch_size(_distributed(channel), batch_size)

    def local_channel(self, channel: Channel) -> Channel:
        """Return this host's files."""
        return _distributed(channel).local_shard()

    def training_batches(
        self, channel: Channel, batch_size: int, max_seq_length: int, *, seed: int, first_batch: int = 0
    ) -> tf.data.Dataset:
        """Return endless parts of batches: (features, labels, weights)."""
        return local_batches.training_batches(
            _distributed(channel), batch_size, max_seq_length, seed=seed, first_batch=first_batch
        )

    def records_of_batch(self, channel: Channel, batch_size: int, *, seed: int, batch: int) -> list[tuple[Path, int]]:
        """Return file and record of what this host has of a batch."""
        return local_batches.records_of_batch(_distributed(channel), batch_size, seed=seed, batch=batch)

    def evaluation_batches(
        self, channel: Channel, batch_size: int, max_seq_length: int, *, steps: int = 0
    ) -> tf.data.Dataset:
        """Return this host's batches of (features, labels); those of all hosts, by rank, are the pass."""
        return local_batches.evaluation_batches(_distributed(channel), batch_size, max_seq_length, steps=steps)

    def dropout_step(self, step: tf.Tensor) -> tf.Tensor:
        """Deal the numbers out to the hosts."""
        return step * self.cluster.size + self.cluster.rank

    def reduce(
        self, gradients: Sequence[Gradient], sums: Sequence[tf.Tensor], variables: Sequence[tf.Variable]
    ) -> tuple[list[Gradient], list[tf.Tensor], tf.Tensor]:
        """Add up over all hosts; a stop that any host is asked for travels along, so that all stop after this step."""
        stopping = tf.numpy_function(lambda: np.float32(self.stop.signal is not None), [], tf.float32)
        *totals, stops = tf.unstack(
            self.collectives.sum(tf.stack([*sums, tf.ensure_shape(stopping, [])]), Key.SUMS), num=len(sums) + 1
        )
        return self.exchange(gradients, variables), totals, stops

    def all_reduce(self, values: Sequence[float]) -> list[float]:
        """Add up in the order of the hosts."""
        totals: list[float] = np.sum(self.cluster.all_gather(list(values)), axis=0).tolist()
        return totals

    def all_gather_rows(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Concatenate by rank; the bytes travel as text."""
        text = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
        shape = (-1, *array.shape[1:])
        return np.concatenate(
            [
                np.frombuffer(base64.b64decode(part), array.dtype).reshape(shape)
                for part in self.cluster.all_gather(text)
            ]
        )

    def agree_to_stop(self) -> None:
        """Ask all hosts; all call it at the same place."""
        if any(self.cluster.all_gather(self.stop.signal is not None)):
            self.stop.raise_stopped_by_peer()

    def host_records(self, variables: Sequence[tf.Variable], data: Mapping[str, Channel]) -> list[dict[str, Any]]:
        """Return what each host had and sent, and its weights' hash: the same on all, or else there is a warning."""
        digest = hashlib.sha256()
        for variable in variables:
            digest.update(variable.numpy().tobytes())
        records: list[dict[str, Any]] = self.cluster.all_gather(
            {
                "host": self.cluster.host,
                "records": {name: _distributed(channel).local_records for name, channel in data.items()},
                "weights_sha256": digest.hexdigest(),
                **self.exchange.record(),
            }
        )
        if len({record["weights_sha256"] for record in records}) > 1:
            log.warning("hosts: their weights are not the same to the last bit; do they have the same processor?")
        return records


def make_strategy(
    cluster: Cluster, stop: StopRequest, train: Channel, batch_size: int, max_seq_length: int
) -> Strategy:
    """Return the strategy of a job's hosts; `train` is the channel that they train on."""
    if cluster.size == 1:
        return SingleHostStrategy(cluster.host)
    most_records = local_batches.max_local_batch_size(_distributed(train), batch_size)
    return MultiHostStrategy(cluster, stop, most_records * max_seq_length)


def _distributed(channel: Channel) -> DistributedChannel:
    assert isinstance(channel, DistributedChannel)  # several hosts' channels come from distribute_channel
    return channel
