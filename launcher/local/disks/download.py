"""Objects onto a host's disk: copies for File mode, a tree of links for FastFile's read-only mount.

    transfer = Transfer(objects, pace)
    transfer.copy(items, layout.inside("input", "data", "train"))

A file never appears outside the folder: the paths come from contract/s3_uri.py, and no link that is there is followed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from launcher.local.contract.channels import ChannelError, Item
from launcher.local.disks.pace import Pace
from launcher.local.services.objects import NoSuchObjectError, Objects

_CHUNK = 1 << 18


class Transfer:
    """Brings objects to folders, at the pace that a fault may have set."""

    def __init__(self, objects: Objects, pace: Pace) -> None:
        self._objects = objects
        self._pace = pace

    def copy(self, items: Iterable[Item], folder: Path) -> None:
        """Write each object below a folder; raise ChannelError for one that has gone, or that is to fail."""
        folder.mkdir(parents=True, exist_ok=True)
        for item in items:
            self._pace.next_object(item.uri)
            target = _target(folder, item)
            with self.source(item).open("rb") as source, target.open("xb") as file:
                if not self._pace.is_limited:
                    shutil.copyfileobj(source, file, 1 << 22)
                while self._pace.is_limited and (chunk := source.read(_CHUNK)):
                    file.write(chunk)
                    self._pace.take(len(chunk))

    def link(self, items: Iterable[Item], folder: Path) -> None:
        """Make a tree of the objects' own files, for a read-only mount: nothing is copied where links can be made."""
        folder.mkdir(parents=True, exist_ok=True)
        for item in items:
            self._pace.next_object(item.uri)
            target = _target(folder, item)
            try:
                os.link(self.source(item), target)
            except OSError:
                shutil.copyfile(self.source(item), target)

    def source(self, item: Item) -> Path:
        """Return the file that holds an object; raise ChannelError where there is none."""
        try:
            return self._objects.path(item.bucket, item.key)
        except NoSuchObjectError as error:
            raise ChannelError(str(error)) from None


def _target(folder: Path, item: Item) -> Path:
    target = folder / item.path
    target.parent.mkdir(parents=True, exist_ok=True)
    return target
