"""Where checkpoints go: on by themselves where the platform mounts a path, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from star_rating.checkpointing import policy as module
from star_rating.checkpointing.policy import checkpoint_path
from star_rating.contract import Contract
from star_rating.failures import ConfigurationError


def configure(contract: Contract, text: str) -> None:
    (contract.config_dir / "checkpointconfig.json").write_text(text)


def test_without_a_mount_auto_is_off_even_if_the_image_brings_a_folder(contract: Contract) -> None:
    contract.checkpoint_dir.mkdir()
    assert checkpoint_path(contract, "auto") is None
    assert checkpoint_path(contract, "True") == contract.checkpoint_dir


def test_sagemakers_checkpoint_config_turns_it_on(contract: Contract) -> None:
    configure(contract, '{"S3Uri": "s3://bucket/prefix"}')
    assert checkpoint_path(contract, "auto") == contract.checkpoint_dir


def test_its_local_path_is_taken(contract: Contract, tmp_path: Path) -> None:
    configure(contract, f'{{"S3Uri": "s3://bucket/prefix", "LocalPath": "{tmp_path}/mine"}}')
    assert checkpoint_path(contract, "auto") == checkpoint_path(contract, "True") == tmp_path / "mine"


def test_false_is_off_whatever_is_mounted(contract: Contract) -> None:
    configure(contract, "{}")
    assert checkpoint_path(contract, "False") is None


def test_a_mount_from_the_same_disk_turns_it_on(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A line of /proc/self/mountinfo as `docker run -v` makes it.
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"612 588 254:0 /srv/ckpt {contract.checkpoint_dir} rw,relatime - ext4 /dev/vda rw\n")
    monkeypatch.setattr(module, "MOUNTS", mounts)
    assert checkpoint_path(contract, "auto") == contract.checkpoint_dir


@pytest.mark.parametrize("text", ["{", '{"LocalPath": 3}', '{"LocalPath": "/opt/ml/check\\u0000points"}'])
def test_a_damaged_config_is_named(contract: Contract, text: str) -> None:
    configure(contract, text)
    with pytest.raises(ConfigurationError, match=r"checkpointconfig\.json"):
        checkpoint_path(contract, "auto")
