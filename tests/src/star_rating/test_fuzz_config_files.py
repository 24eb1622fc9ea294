"""SageMaker's config files, damaged: the container and training read them, or refuse them with a sentence.

What the container accepts has to start the toolkit too: tests/image/test_fuzz_toolkit.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from configuration import read_configuration
from failure import ContainerError

from observability.debugger.settings import UnsupportedSettingError, read_settings, unsupported_settings
from observability.debugger.tensor_folder import free_folder
from observability.profiler import settings as profiler_settings
from star_rating.checkpointing.policy import checkpoint_path
from star_rating.contract import Contract
from star_rating.failures import ConfigurationError
from tests.helpers.config_files import CHECKPOINTS, DEBUGGERS, PROFILERS, SAGEMAKERS, damaged
from tests.helpers.fuzzing import feed

pytestmark = pytest.mark.slow


@pytest.fixture
def config(tmp_path: Path) -> Path:
    folder = tmp_path / "input" / "config"
    folder.mkdir(parents=True)
    return folder


def test_the_container_reads_or_refuses_them(
    config: Path, say: Callable[[str], None], scaled: Callable[..., int]
) -> None:
    def read(file: tuple[str, bytes]) -> None:
        path = config / file[0]
        path.write_bytes(file[1])
        try:
            read_configuration(config.parents[1])
        finally:
            path.unlink()

    outcomes = feed(read, damaged(SAGEMAKERS), number=scaled(6000), allowed=(ContainerError,))
    say(f"config files: {outcomes}")


def test_the_debugger_reads_or_refuses_them(
    contract: Contract, say: Callable[[str], None], scaled: Callable[..., int]
) -> None:
    def read(file: tuple[str, bytes]) -> None:
        path = contract.config_dir / file[0]
        path.write_bytes(file[1])
        try:
            settings = read_settings(contract, on_sagemaker=False)
            assert settings is not None
            free_folder(Path(settings.document["LocalPath"]), on_sagemaker=False)
            list(unsupported_settings(settings.document))
        finally:
            path.unlink()

    outcomes = feed(
        read, damaged(DEBUGGERS), number=scaled(4000), allowed=(ConfigurationError, UnsupportedSettingError)
    )
    say(f"debugger's config files: {outcomes}")


def test_the_checkpoint_path_is_read_or_refused(
    contract: Contract, say: Callable[[str], None], scaled: Callable[..., int]
) -> None:
    def read(file: tuple[str, bytes]) -> None:
        (contract.config_dir / file[0]).write_bytes(file[1])
        folder = checkpoint_path(contract, "auto")
        assert folder is not None
        assert folder.exists() in (True, False)  # the kernel takes the name

    outcomes = feed(read, damaged(CHECKPOINTS), number=scaled(1000), allowed=(ConfigurationError,))
    say(f"checkpoint config: {outcomes}")


def test_the_profiler_reads_or_refuses_them(
    contract: Contract, say: Callable[[str], None], scaled: Callable[..., int]
) -> None:
    def read(file: tuple[str, bytes]) -> None:
        path = contract.config_dir / file[0]
        path.write_bytes(file[1])
        try:
            profiler_settings.read_settings(contract)
        finally:
            path.unlink()

    outcomes = feed(read, damaged(PROFILERS), number=scaled(1000), allowed=(ConfigurationError,))
    say(f"profiler's config file: {outcomes}")
