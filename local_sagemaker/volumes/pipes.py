"""Pipe mode: a channel as FIFOs, <channel>_0 for the first epoch, then <channel>_1, and so on.

    feeder = PipeFeeder(layout.inside("input", "data"), "train", epochs, failed)
    feeder.start(); feeder.stop()

Each FIFO has one reader. The next exists before the last byte of the one before is written: a reader that comes early
finds it and waits. A reader that closes early has had its epoch. What cannot be read ends the pipe, after `failed`
was told.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from local_sagemaker.volumes import safe_files

_POLL = 0.02
"""Seconds between two looks whether a reader has come."""

Content = Iterable[bytes]


class PipeFeeder:
    """Feeds one channel of one host for as long as there are readers."""

    def __init__(
        self, folder: Path, channel: str, epoch: Callable[[int], Content], failed: Callable[[Exception], None]
    ) -> None:
        self._folder = folder
        self._channel = channel
        self._epoch = epoch
        self._failed = failed
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._feed, name=f"pipe-{channel}", daemon=True)
        self._make(0)

    def start(self) -> None:
        """Begin to wait for the first reader."""
        self._thread.start()

    def stop(self) -> None:
        """End, also in the middle of an epoch whose reader has gone."""
        self._stopped.set()
        self._thread.join()

    def _feed(self) -> None:
        number = 0
        while (pipe := self._open(number)) is not None:
            try:
                for chunk in self._epoch(number):
                    self._write(pipe, chunk)
                self._make(number + 1)
            except BrokenPipeError:
                pass  # its reader has had enough
            except Exception as error:  # noqa: BLE001 - whoever waits for the rest is told
                self._failed(error)
                return
            finally:
                os.close(pipe)
            number += 1
            self._make(number)

    def _name(self, number: int) -> str:
        return f"{self._channel}_{number}"

    def _make(self, number: int) -> None:
        with suppress(OSError):  # the container has put something in its folder's place: then there is no reader
            safe_files.make_fifo(self._folder, self._name(number))

    def _open(self, number: int) -> int | None:
        """Open for writing once there is a reader; None if the job ends before."""
        while not self._stopped.wait(_POLL):
            try:
                return safe_files.open_fifo(self._folder, self._name(number))
            except OSError as error:
                if error.errno != errno.ENXIO:  # nobody reads yet
                    return None
        return None

    def _write(self, pipe: int, chunk: bytes) -> None:
        view = memoryview(chunk)
        while view:
            try:
                view = view[os.write(pipe, view) :]
            except BlockingIOError:
                if self._stopped.wait(_POLL):
                    raise BrokenPipeError from None


def chunks(path: Path, size: int = 1 << 16) -> Iterator[bytes]:
    """Yield a file's content."""
    with path.open("rb") as file:
        while chunk := file.read(size):
            yield chunk
