"""How fast and how far a download goes: at once, or as a fault says.

pace = Pace(bytes_per_second=1_000_000, fail_at=3, cancelled=event)
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


class CancelledError(Exception):
    """The job ends before its download does."""


class DownloadFailedError(Exception):
    """The fault that was asked for."""


@dataclass
class Pace:
    """A download's speed; not shared between threads."""

    cancelled: threading.Event
    bytes_per_second: float | None = None
    fail_at: int | None = None
    """Number of the object, from 1, that cannot be read."""
    _objects: int = field(default=0, init=False)

    @property
    def is_limited(self) -> bool:
        """Whether bytes have to be counted."""
        return self.bytes_per_second is not None

    def next_object(self, uri: str) -> None:
        """Begin an object; raise DownloadFailedError if it is the one to fail, CancelledError if the job ends."""
        if self.cancelled.is_set():
            raise CancelledError
        self._objects += 1
        if self._objects == self.fail_at:
            raise DownloadFailedError(uri)

    def take(self, size: int) -> None:
        """Wait for as long as so many bytes take; raise CancelledError if the job ends meanwhile."""
        if self.bytes_per_second is not None and self.cancelled.wait(size / self.bytes_per_second):
            raise CancelledError
