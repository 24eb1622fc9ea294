"""SageMaker's folders as the toolkit wants them, whatever the caller has mounted.

    make_output_folders(ROOT)
    with toolkit_base(ROOT, program_dir, read_configuration(ROOT)) as base:
        ...                                   # base/code, base/model, base/input/config, ...

The caller's folders are never written to beyond model/ and output/: the toolkit gets a temporary base folder
(SAGEMAKER_BASE_DIR) of links to the real ones, in which the three config files that it reads are written anew from what
has been checked (configuration.py).
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from configuration import HYPERPARAMETERS, INPUT_DATA_CONFIG, RESOURCE_CONFIG, Configuration
from failure import ContainerError, ExitCode, failure_file

ROOT = Path("/opt/ml")

_QUIET_TOOLKIT = {"sagemaker_container_log_level": "50"}
"""The toolkit logs its whole environment, credentials included, at INFO; only this hyperparameter silences it."""


def make_output_folders(root: Path) -> None:
    """Make model/ and output/ below `root`, and remove what an earlier run said about its own end.

    Raises ContainerError if training could not write there.
    """
    for folder in (root / "model", root / "output" / "data"):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise _folder_error(folder, error) from None
    for leftover in (failure_file(root), success_file(root)):
        try:
            leftover.unlink(missing_ok=True)
        except OSError as error:
            raise _folder_error(leftover, error) from None


def success_file(root: Path) -> Path:
    """Return the empty file that the toolkit leaves when training has succeeded."""
    return root / "output" / "success"


@contextlib.contextmanager
def toolkit_base(root: Path, program_dir: Path, configuration: Configuration) -> Iterator[Path]:
    """Give the toolkit a base folder that leads to the real ones; it is gone afterwards."""
    try:
        base = Path(tempfile.mkdtemp(prefix="sagemaker-"))
    except OSError as error:
        raise ContainerError(
            _exit_code(error),
            f"No folder for temporary files can be written ({error.strerror}). With a read-only root file system give "
            "the container one: docker run --tmpfs /tmp.",
        ) from None
    try:
        _fill(base, root, program_dir, configuration)
        yield base
    finally:
        shutil.rmtree(base, ignore_errors=True)


def _fill(base: Path, root: Path, program_dir: Path, configuration: Configuration) -> None:
    config = base / "input" / "config"
    config.mkdir(parents=True)
    root = root.absolute()  # a relative link would be looked for below `base`
    (base / "code").symlink_to(program_dir.absolute())
    (base / "input" / "data").symlink_to(root / "input" / "data")
    for name in ("model", "output", "checkpoints"):
        (base / name).symlink_to(root / name)
    written: dict[str, Mapping[str, Any]] = {
        HYPERPARAMETERS: {**configuration.hyperparameters, **_QUIET_TOOLKIT},
        INPUT_DATA_CONFIG: configuration.input_data,
        RESOURCE_CONFIG: configuration.resources,
    }
    for name, content in written.items():
        (config / name).write_text(json.dumps(content), encoding="utf-8")
    for file in sorted((root / "input" / "config").glob("*")):
        if file.name not in written:
            (config / file.name).symlink_to(file)


def _folder_error(path: Path, error: OSError) -> ContainerError:
    remedies = {
        ExitCode.DISK_FULL: "Give the job a larger volume (VolumeSizeInGB).",
        ExitCode.CONFIGURATION: "Mount a folder there that this user may write to, or run the container as its owner "
        "(docker run --user).",
    }
    exit_code = _exit_code(error)
    return ContainerError(
        exit_code,
        f"{path} cannot be written by user {os.getuid()}: {error.strerror}. {remedies[exit_code]}",
    )


def _exit_code(error: OSError) -> ExitCode:
    return ExitCode.DISK_FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else ExitCode.CONFIGURATION
