"""Objects onto a host's volume: copies for File mode, a tree of links for FastFile's read-only mount.

    transfer = Transfer(objects, Throttle(cancelled))
    transfer.copy(items, layout.inside("input", "data", "train"))

A file never appears outside the folder: container_contract/paths.py refuses such keys, safe_files.py follows no link.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from local_sagemaker.container_contract.channels import ChannelError, Item
from local_sagemaker.services.s3_store import NoSuchObjectError, ObjectStore
from local_sagemaker.volumes import safe_files

_CHUNK = 1 << 18


class CancelledError(Exception):
    """The job ends before its download does."""


class DownloadFailedError(Exception):
    """The fault that was asked for."""


@dataclass
class Throttle:
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


class Transfer:
    """Brings objects to folders, at the pace that a fault may have set."""

    def __init__(self, objects: ObjectStore, throttle: Throttle) -> None:
        self._objects = objects
        self._throttle = throttle

    def copy(self, items: Iterable[Item], folder: Path) -> None:
        """Write each object below a folder; raise ChannelError for one that has gone, or that is to fail."""
        folder.mkdir(parents=True, exist_ok=True)
        for item in items:
            self._throttle.next_object(item.uri)
            with self.source(item).open("rb") as source, _new_file(folder, item) as file:
                if not self._throttle.is_limited:
                    shutil.copyfileobj(source, file, 1 << 22)
                while self._throttle.is_limited and (chunk := source.read(_CHUNK)):
                    file.write(chunk)
                    self._throttle.take(len(chunk))

    def link(self, items: Iterable[Item], folder: Path) -> None:
        """Make a tree of the objects' own files, for a read-only mount: nothing is copied where links can be made."""
        folder.mkdir(parents=True, exist_ok=True)
        for item in items:
            self._throttle.next_object(item.uri)
            source = self.source(item)
            try:
                safe_files.link(source, folder, item.path)
            except OSError:
                with source.open("rb") as content, _new_file(folder, item) as file:
                    shutil.copyfileobj(content, file, 1 << 20)

    def source(self, item: Item) -> Path:
        """Return the file that holds an object; raise ChannelError where there is none."""
        try:
            return self._objects.path(item.bucket, item.key)
        except NoSuchObjectError as error:
            raise ChannelError(str(error)) from None


def _new_file(folder: Path, item: Item) -> BinaryIO:
    """Make an object's file; raise ChannelError where another object is in its way."""
    try:
        return safe_files.create(folder, item.path)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise ChannelError(f"{item.uri} and another object cannot both be files: one needs a folder there") from None
