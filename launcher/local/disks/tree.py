"""Folders that a container writes into: looked through without ever following a link out of them.

for file in files(folder): file.path, file.size, file.open()

A container may replace anything by a link at any moment. So folders are entered by their descriptors, links are
skipped, and a file that has gone or turned into something else meanwhile is not there.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


@dataclass(frozen=True)
class TreeFile:
    """A regular file, valid until the next one is yielded."""

    path: str
    """Seen from the folder, with slashes."""
    status: os.stat_result
    folder_descriptor: int

    @property
    def signature(self) -> tuple[int, int, int]:
        """What changes when the file does."""
        return self.status.st_ino, self.status.st_size, self.status.st_mtime_ns

    def open(self) -> BinaryIO:
        """Open for reading; raise OSError if it has gone or has become a link."""
        name = self.path.rpartition("/")[2]
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self.folder_descriptor)
        return os.fdopen(descriptor, "rb")


def files(folder: Path) -> Iterator[TreeFile]:
    """Yield the regular files below a folder in the order of their names; nothing where there is no folder."""
    try:
        top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        yield from _files(top, "")
    finally:
        os.close(top)


def _files(descriptor: int, prefix: str) -> Iterator[TreeFile]:
    for name in sorted(os.listdir(descriptor)):
        try:
            status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode):
            yield TreeFile(prefix + name, status, descriptor)
        elif stat.S_ISDIR(status.st_mode):
            with suppress(OSError):
                inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
                try:
                    yield from _files(inner, f"{prefix}{name}/")
                finally:
                    os.close(inner)


def wipe(folder: Path) -> None:
    """Delete a folder with all that a container has left in it, read-only folders included."""
    for path, names, _ in os.walk(folder):
        for name in names:
            with suppress(OSError):
                inside = Path(path, name)
                if not inside.is_symlink():
                    inside.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
