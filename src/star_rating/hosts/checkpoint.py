"""One checkpoint for all hosts: the first host reads and writes it, the others get what it has read over the network.

    checkpointing = share(cluster, lambda: open_checkpoints(hyperparameters, contract, fingerprint), fingerprint)

Only the first host's folder counts. Nothing in a checkpoint says how many hosts have written it: it goes on on any
number of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from star_rating.checkpointing.checkpoints import Checkpointing
from star_rating.checkpointing.run_state import Fingerprint, RunState
from star_rating.checkpointing.store import Saved, Tensors
from star_rating.hosts.cluster import Cluster
from star_rating.hosts.collectives import Collectives


@dataclass(frozen=True)
class SharedSaved(Saved):
    """An intact checkpoint of the first host."""

    cluster: Cluster

    def tensors(self) -> Tensors:
        """Read the tensors on the first host, and copy them to the others; all hosts call it."""
        read = super().tensors() if self.cluster.is_first else {}
        shapes = self.cluster.from_first({name: [array.dtype.name, array.shape] for name, array in read.items()})
        collectives = Collectives(self.cluster.size)
        return {
            name: collectives.copy_of_first(read[name] if read else np.zeros(shape, dtype), self.cluster.rank, number)
            for number, (name, (dtype, shape)) in enumerate(shapes.items())
        }


def share(cluster: Cluster, open_own: Callable[[], Checkpointing], fingerprint: Fingerprint) -> Checkpointing:
    """Return the first host's checkpoints on all hosts; the others' have no store to write to."""
    own = open_own() if cluster.is_first else Checkpointing(fingerprint, None)
    state = cluster.from_first(own.state.as_json() if own.state else None)
    if state is None:
        return own
    folder = own.saved.folder if own.saved else Path()
    return Checkpointing(
        fingerprint, own.store, SharedSaved(folder, state, cluster), own.state or RunState.from_json(state)
    )
