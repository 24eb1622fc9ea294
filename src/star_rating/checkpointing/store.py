"""Checkpoint folders: written whole or not at all, checked byte by byte when they are read, few kept.

    store = CheckpointStore(Path("/opt/ml/checkpoints"), kept=2)
    store.write("step-00000120-epochs-01", tensors, {"validation_loss": 0.8})
    newest = store.newest()              # what was written last and is intact, or None
    newest.state, newest.tensors()

    checkpoints/
        step-00000120-epochs-01/         one file of tensors, one of JSON, and a manifest with the hashes of both
        .writing/                        what a killed process leaves; the next write replaces it

SageMaker uploads whatever it sees in this folder, in no order, and deletes in S3 what is deleted here. Hence few files,
few deletions, and a manifest without which a folder is a checkpoint that was not uploaded to its end.
"""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from star_rating.data.files import file_sha256
from star_rating.failures import ConfigurationError, quote

log = logging.getLogger(__name__)

FORMAT = 1
"""Of the folders and of what the state holds."""
TENSORS, STATE, MANIFEST = "tensors.safetensors", "state.json", "manifest.json"
STAGING_FOLDER = ".writing"
LARGEST_JSON = 2**28
"""Bytes: the state of a run that logged a line a step for a million steps has half of it."""

Tensors = Mapping[str, npt.NDArray[Any]]


class UnfinishedError(Exception):
    """A file of a checkpoint is not there: its upload was cut off."""


class DamagedError(Exception):
    """A file of a checkpoint is not what was written."""


@dataclass(frozen=True)
class LoadedCheckpoint:
    """An intact checkpoint."""

    folder: Path
    state: Mapping[str, Any]

    def tensors(self) -> Tensors:
        """Read the tensors."""
        try:
            tensors: Tensors = load_file(self.folder / TENSORS)
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(
                f"{self.folder / TENSORS} was not written by this image ({quote(str(error))}). Give the job the "
                "checkpoint path of an earlier run of this image, or an empty one."
            ) from error
        return tensors


class CheckpointStore:
    """The checkpoints of one run: the last `kept`, and the one with the lowest validation_loss in its state."""

    def __init__(self, folder: Path, kept: int) -> None:
        self.folder = folder
        self.kept = kept
        self._intact: list[Path] = []

    def newest(self) -> LoadedCheckpoint | None:
        """Return the newest intact checkpoint, None if there is none to lose; the log says what was passed over.

        Raises ConfigurationError if there are checkpoints, and each is damaged or unfinished.
        """
        folders = sorted(self.folder.glob("step-*"), reverse=True)
        damaged = []
        for position, folder in enumerate(folders):
            try:
                state = read(folder)
            except UnfinishedError as reason:
                log.warning("checkpoint %s is passed over: %s", folder.name, reason)
            except DamagedError as reason:
                log.warning("checkpoint %s is damaged and passed over: %s", folder.name, reason)
                damaged.append(f"{folder.name}: {reason}")
            else:
                # Older ones were intact when this one was written. Newer ones are of no use, and go at the next write.
                self._intact = folders[position:][::-1]
                return LoadedCheckpoint(folder, state)
        if damaged:
            raise ConfigurationError(
                f"No checkpoint in {self.folder} is intact ({'; '.join(damaged)}). Restore an intact copy, or give the "
                "job an empty checkpoint path to start from the pretrained weights."
            )
        return None

    def write(self, name: str, tensors: Tensors, state: Mapping[str, Any]) -> Path:
        """Write a checkpoint and remove those that are not kept any more; raises OSError with nothing changed."""
        aside, final = self.folder / STAGING_FOLDER, self.folder / name
        try:
            _write_files(aside, tensors, state)
            _remove(final)  # left there damaged: an intact one of this name would be this state
            aside.rename(final)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        _sync(self.folder)
        self._intact = [*(folder for folder in self._intact if folder != final), final]
        self._remove_others()
        return final

    def last(self) -> Path | None:
        """Return the newest checkpoint that this process has read or written."""
        return self._intact[-1] if self._intact else None

    def _remove_others(self) -> None:
        validated = [folder for folder in self._intact if math.isfinite(_validation_loss(folder))]
        best = min(validated, key=_validation_loss, default=None)
        self._intact = [folder for folder in self._intact if folder == best or folder in self._intact[-self.kept :]]
        for folder in set(self.folder.glob("step-*")).difference(self._intact):
            _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a folder, or the link that stands in its place and not what it leads to."""
    if folder.is_symlink():
        folder.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def read(folder: Path) -> Mapping[str, Any]:
    """Check every byte of a checkpoint and return its state; raise UnfinishedError or DamagedError."""
    if folder.is_symlink():
        raise DamagedError("it is a link, which no checkpoint is")
    for name in (MANIFEST, TENSORS, STATE):
        if (folder / name).is_symlink():
            raise DamagedError(f"{name} is a link, which no checkpoint has")
        if not (folder / name).is_file():
            raise UnfinishedError(f"{name} is missing")
    try:
        manifest = _read_json(folder / MANIFEST)
        known, hashes = manifest["format"] == FORMAT, {name: manifest["sha256"][name] for name in (TENSORS, STATE)}
    except (KeyError, TypeError):
        raise DamagedError(f"{MANIFEST} cannot be read") from None
    if not known:
        raise DamagedError(f"{MANIFEST} is of format {quote(manifest['format'])}, this image reads {FORMAT}")
    for name, expected in hashes.items():
        if file_sha256(folder / name) != expected:
            raise DamagedError(f"{name} is not what was written (its hash differs)")
    return _read_json(folder / STATE)


def saved_threads(folder: Path) -> Mapping[str, Any] | None:
    """Return what the newest checkpoint in a store's folder says of threads; its hashes are not checked."""
    for checkpoint in sorted(folder.glob("step-*"), reverse=True):
        if checkpoint.is_symlink() or not (checkpoint / STATE).is_file():
            continue
        with suppress(DamagedError, OSError, KeyError, TypeError):
            threads = _read_json(checkpoint / STATE)["acceleration"]["threads"]
            return threads if isinstance(threads, dict) else None
    return None


def _read_json(path: Path) -> dict[str, Any]:
    """Read an object; raise DamagedError for anything else, whoever wrote it."""
    if path.stat().st_size > LARGEST_JSON:
        raise DamagedError(f"{path.name} has {path.stat().st_size:,} bytes, no run writes more than {LARGEST_JSON:,}")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise DamagedError(f"{path.name} cannot be read")
    return value


def _write_files(folder: Path, tensors: Tensors, state: Mapping[str, Any]) -> None:
    """Write a folder's files, read them back, and leave them on the disk itself."""
    _remove(folder)
    folder.mkdir(parents=True)
    try:
        save_file(dict(tensors), folder / TENSORS)
    except SafetensorError as error:
        # The one cause that a caller can name: safetensors passes the system's error on as text.
        number = errno.ENOSPC if "No space left" in str(error) else errno.EIO
        raise OSError(number, str(error), str(folder / TENSORS)) from None
    (folder / STATE).write_text(json.dumps(state), encoding="utf-8")
    _sync(folder / TENSORS)
    _sync(folder / STATE)
    _verify(folder / TENSORS, tensors)
    hashes = {name: file_sha256(folder / name) for name in (TENSORS, STATE)}
    (folder / MANIFEST).write_text(json.dumps({"format": FORMAT, "sha256": hashes}, indent=2), encoding="utf-8")
    _sync(folder / MANIFEST)
    _sync(folder)


def _verify(path: Path, tensors: Tensors) -> None:
    with safe_open(path, framework="numpy") as file:
        for name, tensor in tensors.items():
            if not np.array_equal(_bytes(file.get_tensor(name)), _bytes(tensor)):
                raise OSError(errno.EIO, f"{name} reads back as something else than was written", str(path))


def _bytes(tensor: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(tensor).reshape(-1).view(np.uint8)


def _sync(path: Path) -> None:
    """Have the kernel put a file or a folder's entries on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # what some network file systems say of a folder
            raise
    finally:
        os.close(descriptor)


def _validation_loss(folder: Path) -> float:
    """Return the loss that `best` is decided by; infinity within an epoch, which no validation has seen."""
    try:
        return float(json.loads((folder / STATE).read_text(encoding="utf-8"))["validation_loss"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return math.inf
