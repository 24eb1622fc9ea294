"""Folders that are uploaded to S3 while a job runs: checkpoints both ways of a change, tensors and TensorBoard one way.

    mirror = Mirror(layout.place("/opt/ml/checkpoints"), "s3://bucket/checkpoints/", objects, deletes=True)
    mirror.restored()                   # what came from S3 is known, and not sent back
    mirror.synchronize()                # as often as one likes

A host deletes in S3 only what it knew: several hosts share a prefix.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from local_sagemaker.container_contract.channels import Item
from local_sagemaker.container_contract.paths import safe, split
from local_sagemaker.services.s3_store import NoSuchObjectError, ObjectStore
from local_sagemaker.state_files import StorageError
from local_sagemaker.volumes import safe_files
from local_sagemaker.volumes.download import Throttle, Transfer

INTERVAL = 1.0
"""Seconds between two looks."""


class Mirror:
    """One folder of one host, and its prefix in S3."""

    def __init__(
        self,
        folder: Path,
        uri: str,
        objects: ObjectStore,
        *,
        deletes: bool = False,
        copy: Path | None = None,
        leaves_out: str | None = None,
        selection: safe_files.Selection = safe_files.EVERYTHING,
    ) -> None:
        self.folder = folder
        self.bucket, prefix = split(uri)
        self.prefix = prefix if prefix.endswith("/") or not prefix else f"{prefix}/"
        self._objects = objects
        self._deletes = deletes
        self._copy = copy
        """A folder that gets the same files."""
        self._leaves_out = leaves_out
        """A name at the top that is the platform's own, as a file or as a folder."""
        self._say_left_out = selection.left_out
        """Told once what is not sent, and why."""
        self._selection = safe_files.Selection(selection.largest, self._leave_out)
        self._told: set[str] = set()
        self._known: dict[str, tuple[int, int, int]] = {}
        self.failure: str | None = None
        """Why S3 did not take all of the folder at the last look; None if it did."""
        self._lock = threading.Lock()

    def restored(self) -> None:
        """Take what is in the folder now for what S3 has."""
        self._known = {
            file.path: file.signature
            for file in safe_files.files(self.folder, safe_files.Selection(self._selection.largest))
        }

    def adopted(self) -> None:
        """Take what S3 has for what the folder had; for the only host of a job whose server was killed."""
        keys = [entry.key for entry in self._objects.list(self.bucket, self.prefix)]
        self._known = {key.removeprefix(self.prefix): (0, 0, 0) for key in keys}

    def synchronize(self) -> None:
        """Bring S3 up to the folder: what is new or has changed, and, if asked for, what has gone."""
        with self._lock:
            seen = set()
            self.failure = None
            for file in safe_files.files(self.folder, self._selection):
                if self._is_the_platforms(file.path):
                    continue
                seen.add(file.path)
                if self._known.get(file.path) != file.signature and self._send(file):
                    self._known[file.path] = file.signature
            # A folder that is gone itself is a lost disk, not one from which everything was deleted.
            if self._deletes and safe_files.exists(self.folder):
                for path in self._known.keys() - seen:
                    self._objects.delete(self.bucket, self.prefix + path)
                    del self._known[path]

    def _is_the_platforms(self, path: str) -> bool:
        return self._leaves_out is not None and path.partition("/")[0] == self._leaves_out

    def _leave_out(self, path: str, reason: str) -> None:
        if path not in self._told and not self._is_the_platforms(path):
            self._told.add(path)
            self._say_left_out(path, reason)

    def _send(self, file: safe_files.Entry) -> bool:
        try:
            with file.open() as content:
                self._objects.put_file(self.bucket, self.prefix + file.path, content)
                if self._copy is not None:
                    content.seek(0)
                    safe_files.replace(self._copy, file.path, content)
        except PermissionError as error:
            self._leave_out(file.path, f"cannot be read: {error.strerror}")
            return False
        except OSError:
            return False  # it has gone meanwhile: the next look tells
        except (NoSuchObjectError, StorageError) as error:
            self.failure = f"Unable to upload file to s3://{self.bucket}/{self.prefix}{file.path} ({error})"
            return False
        return True


class Synchronizer:
    """Keeps mirrors in step, in a thread of its own, until it is told that nothing changes any more."""

    def __init__(self, mirrors: Sequence[Mirror]) -> None:
        self._mirrors = mirrors
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="synchronizer", daemon=True)

    def start(self) -> None:
        """Begin."""
        if self._mirrors:
            self._thread.start()

    def finish(self, lost: Path | None = None) -> str | None:
        """End, after a last look, when no container writes any more; of a lost disk there is none.

        Return why S3 does not have all of it; None if it has.
        """
        self._ended.set()
        if self._thread.ident is not None:  # it was started
            self._thread.join()
        for mirror in self._mirrors:
            if lost is None or not mirror.folder.is_relative_to(lost):
                mirror.synchronize()
        return next((mirror.failure for mirror in self._mirrors if mirror.failure), None)

    def _run(self) -> None:
        while not self._ended.wait(INTERVAL):
            for mirror in self._mirrors:
                with suppress(StorageError):  # the disk is full: the next look may find room, the last one says so
                    mirror.synchronize()


def restore(mirror: Mirror, objects: ObjectStore, throttle: Throttle) -> None:
    """Bring a folder what its prefix holds; nothing there is no error, and neither is a missing bucket."""
    if objects.has_bucket(mirror.bucket):
        items = [
            Item(mirror.bucket, entry.key, safe(entry.key.removeprefix(mirror.prefix)))
            for entry in objects.list(mirror.bucket, mirror.prefix)
            if not entry.key.endswith("/")
        ]
        # A fault that is meant for the channels does not touch them.
        Transfer(objects, Throttle(throttle.cancelled)).copy(items, mirror.folder)
    mirror.restored()
