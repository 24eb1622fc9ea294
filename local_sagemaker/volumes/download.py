"""Objects onto a host's disk: copies for File mode, a tree of links for FastFile's read-only mount.

    transfer = Transfer(objects, pace)
    transfer.copy(items, layout.inside("input", "data", "train"))

A file never appears outside the folder: the paths come from contract/s3_uri.py, and tree.py follows no link.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from local_sagemaker.container_contract.channels import ChannelError, Item
from local_sagemaker.services.objects import NoSuchObjectError, Objects
from local_sagemaker.volumes import tree
from local_sagemaker.volumes.pace import Pace

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
            with self.source(item).open("rb") as source, _new_file(folder, item) as file:
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
            source = self.source(item)
            try:
                tree.link(source, folder, item.path)
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
        return tree.create(folder, item.path)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise ChannelError(f"{item.uri} and another object cannot both be files: one needs a folder there") from None
