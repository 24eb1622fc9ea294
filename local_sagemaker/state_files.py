"""Files of the state folder: written whole or not at all; what cannot be read is put aside, and said.

    write(folder / "job.json", content)         # aside, synced, renamed; the folder is synced as well
    append(folder / "journal.jsonl", line)      # all of it, or the file is as it was
    files = StateFiles()
    files.read(path, json.loads, "experiments and tags")    # None: not there, or kept as NAME.damaged-TIME
    files.damaged                               # what was put aside, a sentence each

Nothing else of the local SageMaker writes into its state, but the volumes of jobs that run.
"""

from __future__ import annotations

import datetime as dt
import errno
import logging
import os
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from local_sagemaker.errors import EmulatorError

_log = logging.getLogger(__name__)

_Parsed = TypeVar("_Parsed")

FULL = (errno.ENOSPC, errno.EDQUOT)

LEAST_FREE = 1 << 20
"""Bytes that a disk has to have for a new job; below it counts as full."""

DAMAGED = ".damaged-"

_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What parsers raise at content that is not theirs."""


class StorageError(EmulatorError):
    """The disk does not take what has to be kept."""


def storage_error(path: Path, error: OSError) -> StorageError:
    """Return the error that names the disk and what to do."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno not in FULL:
        return StorageError(f"{path} cannot be written: {reason}")
    return StorageError(
        f"{reason}: the disk of {_existing(path)} is full; make room there, "
        "or name another state folder (LOCAL_SAGEMAKER_STATE)"
    )


def refuse_full_disk(path: Path) -> None:
    """Raise StorageError if the disk of a path has no room for anything new."""
    if is_full(path):
        raise storage_error(path, OSError(errno.ENOSPC, ""))


def is_full(path: Path) -> bool:
    """Tell whether the disk of a path has less than LEAST_FREE bytes."""
    return shutil.disk_usage(_existing(path)).free < LEAST_FREE


def write(path: Path, content: bytes) -> None:
    """Write a file, or replace it; raise StorageError, with what was there before still there."""
    aside = path.with_name(f"{path.name}.new")
    try:
        make_folder(path.parent)
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            sync(file)
        aside.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise storage_error(path, error) from None


def append(path: Path, content: bytes, *, synced: bool = False) -> None:
    """Append whole lines, after a line that was cut as well; raise StorageError, with the file as it was."""
    try:
        with path.open("a+b") as file:
            size = file.seek(0, os.SEEK_END)
            if size:
                file.seek(size - 1)
                if file.read(1) != b"\n":
                    content = b"\n" + content
            try:
                file.write(content)
                file.flush()
                if synced:
                    os.fsync(file.fileno())
            except OSError:
                with suppress(OSError):
                    os.ftruncate(file.fileno(), size)
                raise
    except OSError as error:
        raise storage_error(path, error) from None


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, for their owner alone; raise OSError."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True, mode=0o700)
        sync_folder(folder.parent)


def sync(file: Any) -> None:  # noqa: ANN401 - any file object
    """Bring a file's content to the disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Bring a folder's names to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class StateFiles:
    """Reads the files of one state folder; what is damaged is put aside, and the server goes on without it."""

    def __init__(self) -> None:
        self.damaged: list[str] = []
        """A sentence for each file that was put aside: which, why, what it held, where it is now."""

    def read(self, path: Path, parse: Callable[[bytes], _Parsed], held: str) -> _Parsed | None:
        """Return what `parse` makes of a file; None if it is not there, or not to be read: it is put aside then."""
        try:
            return parse(content(path))
        except FileNotFoundError:
            return None
        except OSError as error:
            self.put_aside(path, error.strerror or str(error), held)
        except _UNREADABLE as error:
            self.put_aside(path, _first_line(error), held)
        return None

    def put_aside(self, path: Path, reason: str, held: str) -> None:
        """Keep a file as NAME.damaged-TIME, and say so."""
        aside = free_name(path)
        try:
            path.rename(aside)
            kept = f"kept as {aside.name}"
        except OSError as error:
            kept = f"it stays where it is ({error.strerror})"
        sentence = f"{path} is damaged ({reason}): it held {held}; {kept}"
        _log.warning("%s", sentence)
        self.damaged.append(sentence)


def free_name(path: Path) -> Path:
    """Return the name under which a damaged file is kept."""
    stamp = f"{path.name}{DAMAGED}{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}"
    names = (path.with_name(stamp if number == 1 else f"{stamp}-{number}") for number in range(1, 1 << 20))
    return next(name for name in names if not name.exists() and not name.is_symlink())


def content(path: Path) -> bytes:
    """Return a regular file's content; raise OSError, also for a folder, a FIFO or a device of that name."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        return file.read()


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.is_dir())
