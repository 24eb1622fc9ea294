"""Where a job's checkpoints go, whether it has any, and when one is due.

    folder = checkpoint_path(contract, hyperparameters.enable_checkpointing)      # None: no checkpoints
    schedule = Schedule(every_steps=0, every_seconds=300, cost_seconds=1.4)
    if schedule.is_due(step):
        ...
        schedule.written(seconds)

By steps a checkpoint is due exactly, by minutes as far as writing stays cheap.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from star_rating.contract import Contract, local_path, read_object
from star_rating.hyperparameters import Switch

CONFIG_FILE = "checkpointconfig.json"
MOUNTS = Path("/proc/self/mountinfo")
SHARE = 0.02
"""Of the wall time, what writing by time may take; the end of training adds one more."""


def checkpoint_path(contract: Contract, enabled: Switch) -> Path | None:
    """Return the folder; with `auto`, only if the job has a CheckpointConfig or something is mounted there.

    That the folder exists says nothing: the image brings an empty one for jobs without a mount.
    """
    path = contract.config_dir / CONFIG_FILE
    config = read_object(path)
    folder = local_path(config or {}, path) or contract.checkpoint_dir
    if enabled == "False" or (enabled == "auto" and config is None and not _is_mount_point(folder)):
        return None
    return folder


def _is_mount_point(folder: Path) -> bool:
    """Ask the kernel; os.path.ismount does not see a mount from the same disk."""
    mounts = MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines() if MOUNTS.exists() else []
    return any(mount.split(" ")[4] == str(folder) for mount in mounts)


@dataclass
class Schedule:
    """Spreads checkpoints over a run."""

    every_steps: int
    """0: by time."""
    every_seconds: float
    """0: only where an epoch ends."""
    cost_seconds: float
    """What the last one has taken, at first a guess."""
    clock: Callable[[], float] = time.monotonic
    since: float = field(init=False)

    def __post_init__(self) -> None:
        self.since = self.clock()

    def is_due(self, step: int) -> bool:
        """Return whether to write within an epoch."""
        if self.every_steps:
            return step % self.every_steps == 0
        return bool(self.every_seconds) and self._passed(max(self.every_seconds, self.cost_seconds / SHARE))

    def is_due_at_epoch_end(self) -> bool:
        """Return whether to write after validation; of two places a minute apart, this is the better one."""
        return bool(self.every_steps) or self._passed(self.cost_seconds / SHARE)

    def written(self, seconds: float) -> None:
        """Start over, with what a checkpoint has taken."""
        self.cost_seconds, self.since = seconds, self.clock()

    def _passed(self, seconds: float) -> bool:
        return self.clock() - self.since >= seconds
