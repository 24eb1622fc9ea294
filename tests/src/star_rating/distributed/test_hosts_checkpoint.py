"""The first host's checkpoint is that of all, and what has changed since is said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from star_rating.checkpointing.broadcast import broadcast_checkpoint
from star_rating.checkpointing.checkpoints import CheckpointManager
from star_rating.checkpointing.run_state import STEPS_PER_EPOCH, RunState
from star_rating.checkpointing.store import LoadedCheckpoint
from star_rating.distributed.cluster import Cluster

FINGERPRINT = {STEPS_PER_EPOCH: 5}


def state(step: int, shards: Sequence[int] | None) -> RunState:
    return RunState(
        step=step,
        epochs_ended=step // 5,
        validation_loss=None,
        history={},
        progress={},
        skipped_steps=[],
        acceleration={},
        fingerprint=FINGERPRINT,
        hyperparameters={},
        tensorflow="2",
        shards=shards,
    )


@pytest.mark.parametrize(
    ("step", "before", "now", "warns"),
    [
        (7, (5, 15), (10, 10), True),
        (7, None, (10, 10), True),
        (10, (5, 15), (10, 10), False),
        (7, [5, 15], (5, 15), False),
    ],
)
def test_shards_that_have_changed_within_an_epoch_are_a_warning(
    caplog: pytest.LogCaptureFixture,
    step: int,
    before: Sequence[int] | None,
    now: Sequence[int],
    warns: bool,  # noqa: FBT001
) -> None:
    own = CheckpointManager(FINGERPRINT, None, LoadedCheckpoint(Path("step"), {}), state(step, before))
    shared = broadcast_checkpoint(Cluster(("algo-1",), "algo-1"), lambda: own, FINGERPRINT, now)
    assert shared.state is not None
    assert shared.state.step == step
    assert shared.shards == now
    assert ("some records come twice and others not" in caplog.text) == warns


def test_without_a_checkpoint_the_shards_are_kept_for_the_first_one() -> None:
    own = CheckpointManager(FINGERPRINT, None)
    assert broadcast_checkpoint(Cluster(("algo-1",), "algo-1"), lambda: own, FINGERPRINT, (1, 2)).shards == (1, 2)
