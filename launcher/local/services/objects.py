"""S3's contents as files of the state folder: what moto holds is read from them, and outlives the server.

    objects = Objects(state.folder / "s3")      # what was there before is in moto again
    objects.put_file("bucket", "key", path)     # the jobs' life; no object is in memory as a whole
    objects.keep("bucket", "key")               # after a request that may have changed a key

A key never becomes a path: <bucket>/<sha256 of the key>.json says what an object is, and names the file of its content.
Kept are content, content type, ETag, user metadata and time; versions, tags and policies go with the server.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import shutil
import threading
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from moto.s3.exceptions import S3ClientError
from moto.s3.models import FakeKey, s3_backends

from launcher.errors import LauncherError
from launcher.local.files import DAMAGED, StateFiles, write
from launcher.local.state import ACCOUNT, REGION

_BUCKET = "bucket.json"


class NoSuchObjectError(LauncherError):
    """S3 has no such bucket or key."""


@dataclass(frozen=True)
class StoredObject:
    """An object as its record on disk has it."""

    key: str
    content: str
    """Name of the file, beside the record."""
    size: int
    etag: str
    last_modified: float
    metadata: dict[str, str]


class Objects:
    """Every bucket; safe to use from any thread."""

    def __init__(self, folder: Path, files: StateFiles | None = None) -> None:
        self._folder = folder
        self._files = files or StateFiles()
        self._lock = threading.RLock()
        self._records: dict[str, dict[str, StoredObject]] = {}
        self._backend = s3_backends[ACCOUNT]["aws"]
        for path in sorted(folder.glob("*/")):
            self._load(path)

    def has_bucket(self, bucket: str) -> bool:
        """Tell whether there is such a bucket."""
        return bucket in self._backend.buckets

    def make_bucket(self, bucket: str, region: str = REGION) -> None:
        """Make a bucket, if it is not there."""
        with self._lock:
            if not self.has_bucket(bucket):
                self._backend.create_bucket(bucket, region)
                self.keep_bucket(bucket)

    def list(self, bucket: str, prefix: str) -> Iterator[StoredObject]:
        """Yield the objects under a prefix in the order of their keys, as S3 lists them; raise NoSuchObjectError."""
        if not self.has_bucket(bucket):
            raise NoSuchObjectError(f"there is no bucket {bucket}")
        with self._lock:
            records = dict(self._records.get(bucket, {}))
        yield from (records[key] for key in sorted(records, key=str.encode) if key.startswith(prefix))

    def path(self, bucket: str, key: str) -> Path:
        """Return the file of an object's content, to be read only; raise NoSuchObjectError."""
        record = self._records.get(bucket, {}).get(key)
        if record is None:
            raise NoSuchObjectError(f"there is no object s3://{bucket}/{key}")
        return self._folder / bucket / record.content

    def put_file(self, bucket: str, key: str, source: Path | BinaryIO) -> None:
        """Make an object of a file's content; raise NoSuchObjectError for a bucket that is not there."""
        if not self.has_bucket(bucket):
            raise NoSuchObjectError(f"there is no bucket {bucket}")
        content = self._new_content(bucket)
        if isinstance(source, Path):
            shutil.copyfile(source, content, follow_symlinks=False)
        else:
            with content.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
        self._put(bucket, key, content)

    def move_file(self, bucket: str, key: str, source: Path) -> None:
        """Make a file an object's content; it is gone from where it was. Raise NoSuchObjectError."""
        if not self.has_bucket(bucket):
            raise NoSuchObjectError(f"there is no bucket {bucket}")
        content = self._new_content(bucket)
        shutil.move(source, content)
        self._put(bucket, key, content)

    def delete(self, bucket: str, key: str) -> None:
        """Delete an object; one that is not there is no error."""
        if self.has_bucket(bucket):
            with self._lock:
                self._backend.delete_object(bucket, key)
                self.keep(bucket, key)

    def keep(self, bucket: str, key: str) -> None:
        """Bring an object's file up to what moto holds."""
        with self._lock:
            s3_object: Any = self._backend.buckets[bucket].keys.get(key) if self.has_bucket(bucket) else None
            if not isinstance(s3_object, FakeKey):  # None, or a versioned bucket's marker of a deletion
                self._forget(bucket, key)
                return
            moto_content: Any = s3_object._value_buffer
            if not isinstance(moto_content, _Content):
                content = self._new_content(bucket)
                with s3_object.lock, content.open("wb") as target:
                    moto_content.seek(0)
                    shutil.copyfileobj(moto_content, target, 1 << 20)
                self._adopt(bucket, s3_object, content, etag=s3_object.etag.strip('"'))

    def keep_bucket(self, bucket: str) -> None:
        """Bring a bucket's folder up to what moto holds: the bucket itself, and all its keys."""
        with self._lock:
            if not self.has_bucket(bucket):
                self._records.pop(bucket, None)
                shutil.rmtree(self._folder / bucket, ignore_errors=True)
                return
            known = self._backend.buckets[bucket]
            record = self._folder / bucket / _BUCKET
            if not record.exists():
                self._write_bucket(bucket, known.region_name)
            for key in {*self._records.get(bucket, {}), *known.keys}:
                self.keep(bucket, key)

    def _put(self, bucket: str, key: str, content: Path) -> None:
        with self._lock:
            s3_object = self._backend.put_object(bucket, key, b"", disable_notification=True)
            self._adopt(bucket, s3_object, content, etag=None)

    def _new_content(self, bucket: str) -> Path:
        folder = self._folder / bucket
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder / uuid.uuid4().hex

    def _record_path(self, bucket: str, key: str) -> Path:
        return self._folder / bucket / f"{hashlib.sha256(key.encode()).hexdigest()}.json"

    def _adopt(self, bucket: str, s3_object: Any, content: Path, etag: str | None) -> None:  # noqa: ANN401 - moto's
        """Let moto read an object from its file, and write the record that brings it back."""
        size = content.stat().st_size
        _attach(s3_object, content, size)
        record = StoredObject(
            key=s3_object.name,
            content=content.name,
            size=size,
            etag=etag or _etag(content),
            last_modified=s3_object.last_modified.replace(tzinfo=dt.UTC).timestamp(),
            metadata={name: str(value) for name, value in s3_object.metadata.items()},
        )
        s3_object._etag = record.etag
        path = self._record_path(bucket, record.key)
        write(path, json.dumps(asdict(record)).encode())
        before = self._records.setdefault(bucket, {}).get(record.key)
        self._records[bucket][record.key] = record
        if before is not None:
            (self._folder / bucket / before.content).unlink(missing_ok=True)

    def _forget(self, bucket: str, key: str) -> None:
        record = self._records.get(bucket, {}).pop(key, None)
        if record is not None:
            self._record_path(bucket, key).unlink(missing_ok=True)
            (self._folder / bucket / record.content).unlink(missing_ok=True)

    def _write_bucket(self, bucket: str, region: str) -> None:
        write(self._folder / bucket / _BUCKET, json.dumps({"region": region}).encode())

    def _load(self, folder: Path) -> None:
        """Bring a bucket back into moto; contents without a record are of a write that was cut short."""
        held = f"the region of the bucket {folder.name}, which is served as one of {REGION}"
        region = self._files.read(folder / _BUCKET, _region, held)
        paths = [path for path in folder.glob("*.json") if path.name != _BUCKET]
        if region is None:
            if not paths and not any(DAMAGED in path.name for path in folder.iterdir()):
                return  # a bucket that was being made, or deleted
            region = REGION
        try:
            bucket = self._backend.create_bucket(folder.name, region)
        except S3ClientError as error:  # a folder that this server has not made
            self._files.put_aside(folder, f"no bucket can have its name: {error}", f"the bucket {folder.name}")
            return
        records = [record for path in paths if (record := self._record(path)) is not None]
        for record in records:
            s3_object = self._backend.put_object(
                bucket.name, record.key, b"", etag=record.etag, disable_notification=True
            )
            s3_object.set_metadata(dict(record.metadata))
            s3_object.last_modified = dt.datetime.fromtimestamp(record.last_modified, dt.UTC).replace(tzinfo=None)
            _attach(s3_object, folder / record.content, record.size)
        self._records[bucket.name] = {record.key: record for record in records}
        if not (folder / _BUCKET).exists():
            self._write_bucket(bucket.name, region)
        names = {path.name for path in folder.iterdir()}
        if not any(DAMAGED in name for name in names):  # whose record is damaged may be wanted once more
            for name in names - {record.content for record in records}:
                if not name.endswith(".json"):
                    (folder / name).unlink()

    def _record(self, path: Path) -> StoredObject | None:
        """Return the object of a record; None if either is damaged."""
        record = self._files.read(path, _stored_object, f"an object of the bucket {path.parent.name}")
        if record is None:
            return None
        content, held = path.parent / record.content, f"the object s3://{path.parent.name}/{record.key}"
        if self._record_path(path.parent.name, record.key) != path or "/" in record.content:
            self._files.put_aside(path, "it is another object's", held)
            return None
        try:
            size = content.stat().st_size
        except OSError as error:
            self._files.put_aside(path, f"its content {record.content}: {error.strerror}", held)
            return None
        if size != record.size:
            self._files.put_aside(content, f"{size} bytes instead of {record.size}", f"the content of {held}")
            self._files.put_aside(path, "its content is damaged", held)
            return None
        return record


def _region(content: bytes) -> str:
    return str(json.loads(content)["region"])


def _stored_object(content: bytes) -> StoredObject:
    record = StoredObject(**json.loads(content))
    texts = (record.key, record.content, record.etag, *record.metadata.keys(), *record.metadata.values())
    if not all(isinstance(text, str) for text in texts) or not isinstance(record.size, int):
        raise TypeError("it is no record of an object")
    dt.datetime.fromtimestamp(record.last_modified, dt.UTC)
    return record


def _attach(s3_object: Any, content: Path, size: int) -> None:  # noqa: ANN401 - moto's
    s3_object._value_buffer.close()
    s3_object._value_buffer = _Content(content)
    s3_object.contentsize = size


def _etag(content: Path) -> str:
    with content.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


class _Content:
    """What moto reads an object's bytes from: the file, opened for each reading, so that many objects are no limit."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0

    def seek(self, position: int) -> None:
        self._position = position

    def read(self, size: int = -1) -> bytes:
        with self._path.open("rb") as file:
            file.seek(self._position)
            content = file.read(size)
        self._position += len(content)
        return content

    def close(self) -> None:
        """Nothing is open."""
