"""TensorFlow's collective operations between the job's hosts: sums and copies of tensors, within tf.function or not.

    start(cluster)                                  # before TensorFlow has run its first operation
    collectives = Collectives(cluster.size)
    collectives.sum(tensor, Key.SUMS)               # the same on every host, to the last bit

The engine is the one of tf.distribute.MultiWorkerMirroredStrategy: its server, its rings over gRPC. Each ring adds up
in the order of the hosts, so that a run on the same number of hosts can be repeated bit by bit. The strategy itself is
not used: Keras under it divides losses by hosts where ours divide by reviews, and reads a metric through a collective
each time that a callback looks at it.
"""

from __future__ import annotations

import enum
import logging
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow.compiler.xla.tsl.protobuf.coordination_config_pb2 import CoordinatedJob
from tensorflow.python.eager import context  # there is no public name for what is set here

from star_rating.distributed.cluster import Cluster
from star_rating.distributed.control_channel import SILENCE_SECONDS

log = logging.getLogger(__name__)

START_SECONDS = 60.0
"""For all servers to find each other. TensorFlow holds Python's lock meanwhile, so that no thread of ours could end the
process of a host whose partner dies in this moment; by default it would wait for an hour."""
GROUP = 1
_RING = "ring"


class Key(enum.IntEnum):
    """Names one collective operation on all hosts; where there are several of a kind, their numbers count from here.

    The engine keeps the shape that it has first seen with a key: each shape needs a key of its own.
    """

    SUMS = 1
    ROWS = 1_000
    GRADIENT_BUCKETS = 2_000
    BROADCAST = 10_000
    ROW_VALUES = 100_000


def start(cluster: Cluster) -> None:
    """Start TensorFlow's server between the hosts; nothing for a single one."""
    if cluster.size == 1:
        return
    context.context().configure_coordination_service(
        service_type="standalone",
        service_leader="/job:worker/replica:0/task:0",
        cluster_register_timeout_in_ms=int(START_SECONDS * 1000),
        heartbeat_timeout_in_ms=int(SILENCE_SECONDS * 1000),
        coordinated_jobs=[CoordinatedJob(name="worker", num_tasks=cluster.size)],
    )
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(cluster.addresses)}),
        task_type="worker",
        task_id=cluster.rank,
        rpc_layer="grpc",
    )
    options = tf.distribute.experimental.CommunicationOptions(
        implementation=tf.distribute.experimental.CommunicationImplementation.RING
    )
    tf.distribute.MultiWorkerMirroredStrategy(resolver, options)


class Collectives:
    """Operations that all hosts take part in, each with its key."""

    def __init__(self, size: int) -> None:
        self.size = size

    def sum(self, tensor: tf.Tensor, key: int | tf.Tensor) -> tf.Tensor:
        """Add up a tensor that has the same shape on all hosts."""
        return tf.raw_ops.CollectiveReduceV2(
            input=tensor,
            group_size=self.size,
            group_key=GROUP,
            instance_key=key,
            ordering_token=[],
            merge_op="Add",
            final_op="Id",
            communication_hint=_RING,
        )

    def all_gather(self, tensor: tf.Tensor, key: int) -> tf.Tensor:
        """Concatenate a tensor that has the same shape on all hosts along its first axis, by rank."""
        return tf.raw_ops.CollectiveGatherV2(
            input=tensor,
            group_size=self.size,
            group_key=GROUP,
            instance_key=key,
            ordering_token=[],
            communication_hint=_RING,
        )

    def broadcast(self, array: npt.NDArray[Any], rank: int, number: int) -> npt.NDArray[Any]:
        """Return the first host's array number so and so; the others give one of the same shape and dtype."""
        bits = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        padded = np.pad(bits, (0, -bits.size % 4)).view(np.int32)
        # A sum with zeros, of the bits: as floats, a negative zero would become a positive one.
        copied = self.sum(tf.constant(padded if rank == 0 else np.zeros_like(padded)), Key.BROADCAST + number).numpy()
        return np.asarray(copied.view(np.uint8)[: bits.size].view(array.dtype).reshape(array.shape))
