"""Where a job's checkpoints go, and whether it has any.

folder = checkpoint_path(contract, hyperparameters.enable_checkpointing)      # None: no checkpoints
"""

from __future__ import annotations

from pathlib import Path

from star_rating.config_file import local_path, read_object
from star_rating.contract import Contract
from star_rating.hyperparameters import Switch

CONFIG_FILE = "checkpointconfig.json"
MOUNTS = Path("/proc/self/mountinfo")


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
