"""One checkpoint for all hosts: the first host reads and writes it, the others get what it has read over the network.

    checkpointing = broadcast_checkpoint(cluster, lambda: load_latest(...), fingerprint, shards)

Only the first host's folder counts. Nothing in a checkpoint says how many hosts have written it: it goes on on any
number of them.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from star_rating.checkpointing.checkpoints import CheckpointManager
from star_rating.checkpointing.run_state import STEPS_PER_EPOCH, Fingerprint, RunState
from star_rating.checkpointing.store import LoadedCheckpoint, Tensors
from star_rating.distributed.cluster import Cluster
from star_rating.distributed.collectives import Collectives

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BroadcastCheckpoint(LoadedCheckpoint):
    """An intact checkpoint of the first host."""

    cluster: Cluster

    def tensors(self) -> Tensors:
        """Read the tensors on the first host, and copy them to the others; all hosts call it."""
        if self.cluster.size == 1:
            return super().tensors()
        read = super().tensors() if self.cluster.is_chief else {}
        shapes = self.cluster.broadcast({name: [array.dtype.name, array.shape] for name, array in read.items()})
        collectives = Collectives(self.cluster.size)
        return {
            name: collectives.broadcast(read[name] if read else np.zeros(shape, dtype), self.cluster.rank, number)
            for number, (name, (dtype, shape)) in enumerate(shapes.items())
        }


def broadcast_checkpoint(
    cluster: Cluster,
    open_own: Callable[[], CheckpointManager],
    fingerprint: Fingerprint,
    shards: Sequence[int] | None,
) -> CheckpointManager:
    """Return the first host's checkpoints on all hosts; the others' have no store to write to.

    `shards` are the train channel's, None where all hosts have all of it.
    """
    own = open_own() if cluster.is_chief else CheckpointManager(fingerprint, None)
    document = cluster.broadcast(own.state.as_json() if own.state else None)
    if document is None:
        return dataclasses.replace(own, shards=shards)
    state = RunState.from_json(document)
    _warn_of_other_shards(state, shards, int(fingerprint[STEPS_PER_EPOCH]))
    folder = own.saved.folder if own.saved else Path()
    return CheckpointManager(fingerprint, own.store, BroadcastCheckpoint(folder, document, cluster), state, shards)


def _warn_of_other_shards(state: RunState, shards: Sequence[int] | None, steps_per_epoch: int) -> None:
    before, now = (list(layout) if layout else None for layout in (state.shards, shards))
    if before != now and state.step % steps_per_epoch:
        log.warning(
            "the train channel is dealt out to the hosts otherwise than before the interruption (%s, was %s): in the "
            "epoch that goes on some records come twice and others not; from the next one on each comes once",
            now or "all on each",
            before or "all on each",
        )
