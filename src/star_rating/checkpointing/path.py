"""Where a job's checkpoints go, and whether it has any.

folder = checkpoint_path(contract, hyperparameters.enable_checkpointing)      # None: no checkpoints
"""

from __future__ import annotations

import json
from pathlib import Path

from star_rating.contract import Contract
from star_rating.failures import ConfigurationError
from star_rating.hyperparameters import Switch

CONFIG_FILE = "checkpointconfig.json"
MOUNTS = Path("/proc/self/mountinfo")


def checkpoint_path(contract: Contract, enabled: Switch) -> Path | None:
    """Return the folder; with `auto`, only if the job has a CheckpointConfig or something is mounted there.

    That the folder exists says nothing: the image brings an empty one for jobs without a mount.
    """
    config = contract.config_dir / CONFIG_FILE
    folder = _local_path(config) or contract.checkpoint_dir
    if enabled == "False" or (enabled == "auto" and not config.exists() and not _is_mount_point(folder)):
        return None
    return folder


def _local_path(config: Path) -> Path | None:
    """Return the LocalPath of SageMaker's CheckpointConfig, None if the job has none."""
    if not config.exists():
        return None
    try:
        path = json.loads(config.read_text(encoding="utf-8")).get("LocalPath")
        return Path(path) if path else None
    except (ValueError, AttributeError, TypeError) as error:
        raise ConfigurationError(
            f"{config} is damaged ({error}); SageMaker writes a JSON object with LocalPath."
        ) from None


def _is_mount_point(folder: Path) -> bool:
    """Ask the kernel; os.path.ismount does not see a mount from the same disk."""
    mounts = MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines() if MOUNTS.exists() else []
    return any(mount.split(" ")[4] == str(folder) for mount in mounts)
