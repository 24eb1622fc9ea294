"""Writes the profile's files so that nobody reads a half, and a disk that refuses them ends no job.

files = Files(open_failures=50)
files.append(path, lines)
files.replace(path, content)
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

_UNFINISHED = ".tmp"
"""StepStartCallback the name of a file that is being written; smdebug's readers pass over it."""


class Files:
    """Writes files, says the first failure, and gives up after too many in a row."""

    def __init__(self, open_failures: int) -> None:
        self.error: str | None = None
        """The first failure, as a sentence; None if there was none."""
        self._open_failures = open_failures
        self._in_a_row = 0

    @property
    def given_up(self) -> bool:
        """Whether nothing is written any more."""
        return self._in_a_row >= self._open_failures

    def append(self, path: Path, content: bytes) -> None:
        """Add whole lines to a file."""
        self._attempt(path, lambda: _append(path, content))

    def replace(self, path: Path, content: bytes) -> None:
        """Write a whole file."""
        self._attempt(path, lambda: replace(path, content))

    def _attempt(self, path: Path, write: Callable[[], None]) -> None:
        if self.given_up:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write()
        except OSError as error:
            self._in_a_row += 1
            if self.error is None:
                self.error = f"{path.parent}: {error.strerror}"
                log.warning("profiler: a part of the profile is missing, training goes on: %s", self.error)
        else:
            self._in_a_row = 0


def _append(path: Path, content: bytes) -> None:
    with path.open("ab", buffering=0) as file:
        end = file.tell()
        if file.write(content) < len(content):
            # The disk took a part. A line that is cut off would make the whole file unreadable for smdebug.
            file.truncate(end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def replace(path: Path, content: bytes) -> None:
    """Write a whole file, or leave what was there."""
    unfinished = path.with_name(path.name + _UNFINISHED)
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
