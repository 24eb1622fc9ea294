"""S3's contents as files of the state folder: what moto holds is read from them, and outlives the server.

    objects = ObjectStore(state.folder / "s3")  # what was there before is in moto again
    objects.put_file("bucket", "key", path)     # the runner
    incoming = objects.receive("bucket", chunks)
    with objects.changing("bucket", "key", incoming):   # what moto makes of the request has these bytes
        ...; objects.keep("bucket", "key")

No object is in memory as a whole: bytes come in chunks and go into a file of their own, which never changes; moto is
handed the file. A key never becomes a path: <bucket>/<sha256 of the key>.json says what an object is, and names the
file of its content.
Kept are content, content type, ETag, user metadata and time; tags and policies are bucket_settings.py's.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import json
import os
import re
import shutil
import threading
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from moto.s3.exceptions import EntityTooSmall, InvalidPart, InvalidPartOrder, MalformedXML, S3ClientError
from moto.s3.models import FakeKey, S3Backend, s3_backends

from local_sagemaker.errors import EmulatorError
from local_sagemaker.state import ACCOUNT, REGION
from local_sagemaker.state_files import DAMAGED, StateFiles, StorageError, make_folder, storage_error, sync, write

_BUCKET = "bucket.json"

_CHUNK = 1 << 20

_LEAST_PART = 5 << 20
"""Bytes of every part of an upload but the last."""


_NAME = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
"""What S3 takes, or took in its first years, for a bucket's name: as a path it is a folder's own name."""


def is_bucket_name(bucket: str) -> bool:
    """Tell whether a bucket may be called so: what may not never becomes part of a path."""
    return _NAME.fullmatch(bucket) is not None


class NoSuchObjectError(EmulatorError):
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


@dataclass
class Incoming:
    """Bytes that are on the disk already, for an object or a part of one that moto is about to make."""

    path: Path
    size: int
    etag: str
    taken: bool = False
    """Whether moto has made something of them."""


_incoming: ContextVar[Incoming | None] = ContextVar("incoming", default=None)


class ObjectStore:
    """Every bucket; safe to use from any thread."""

    def __init__(self, folder: Path, files: StateFiles | None = None) -> None:
        self._folder = folder
        self._files = files or StateFiles()
        self._lock = threading.RLock()
        self._records: dict[str, dict[str, StoredObject]] = {}
        for path in sorted(folder.glob("*/")):
            self._load(path)

    def has_bucket(self, bucket: str) -> bool:
        """Tell whether there is such a bucket."""
        return bucket in self._backend.buckets

    @property
    def _backend(self) -> S3Backend:
        """Return moto's S3. After a reset of moto it is an empty one, which has to take its bytes from here as well."""
        backend = s3_backends[ACCOUNT]["aws"]
        if "put_object" not in vars(backend):
            with self._lock:
                _hand_over(backend)
        return backend

    def make_bucket(self, bucket: str, region: str = REGION) -> None:
        """Make a bucket, if it is not there; raise StorageError."""
        with self._lock:
            if not self.has_bucket(bucket):
                self._backend.create_bucket(bucket, region)
                self.keep_bucket(bucket)

    def list(self, bucket: str, prefix: str) -> Iterator[StoredObject]:
        """Yield the objects under a prefix in the order of their keys, as S3 lists them; raise NoSuchObjectError."""
        self.require(bucket)
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
        """Make an object of a file's content; raise NoSuchObjectError for a bucket that is not there, StorageError."""
        if isinstance(source, Path):
            descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW)
            with os.fdopen(descriptor, "rb") as file:
                self._put(bucket, key, self.receive(bucket, chunks(file)))
        else:
            self._put(bucket, key, self.receive(bucket, chunks(source)))

    def move_file(self, bucket: str, key: str, source: Path) -> None:
        """Make a file an object's content; it is gone from where it was. Raise NoSuchObjectError, StorageError."""
        self.require(bucket)
        content = self._new_content(bucket)
        try:
            source.rename(content)
            with content.open("r+b") as file:
                sync(file)
        except OSError as error:
            raise storage_error(content, error) from None
        self._put(bucket, key, Incoming(content, content.stat().st_size, _etag(content)))

    def delete(self, bucket: str, key: str) -> None:
        """Delete an object; one that is not there is no error."""
        if self.has_bucket(bucket):
            with self._lock:
                self._backend.delete_object(bucket, key)
                self.keep(bucket, key)

    def receive(self, bucket: str, content: Iterable[bytes]) -> Incoming:
        """Write bytes into a file of the bucket; raise NoSuchObjectError, StorageError, and what `content` raises."""
        self.require(bucket)
        path, digest, size = self._new_content(bucket), hashlib.md5(usedforsecurity=False), 0
        try:
            with path.open("wb") as file:
                for chunk in content:
                    digest.update(chunk)
                    size += len(chunk)
                    with _writing(path):
                        file.write(chunk)
                with _writing(path):
                    sync(file)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return Incoming(path, size, digest.hexdigest())

    @contextmanager
    def changing(self, bucket: str, key: str, incoming: Incoming | None = None) -> Iterator[None]:
        """Be the only one who changes anything; what moto makes inside has the incoming bytes.

        A StorageError leaves the object as it was, and bytes that moto did not take go.
        """
        with self._lock:
            keys: Any = self._backend.buckets[bucket].keys if self.has_bucket(bucket) else None
            before = list(keys.getlist(key, [])) if keys is not None else []
            token = _incoming.set(incoming)
            try:
                yield
            except StorageError:
                if keys is not None:
                    dict.pop(keys, key, None)
                    if before:
                        keys.setlist(key, before)
                if incoming is not None:
                    incoming.taken = False
                raise
            finally:
                _incoming.reset(token)
                if incoming is not None and not incoming.taken:
                    incoming.path.unlink(missing_ok=True)

    def same(self, source: Incoming, bucket: str) -> Incoming:
        """Return an object's whole content for another object: one file under two names. Raise StorageError."""
        self.require(bucket)
        content = self._new_content(bucket)
        try:
            os.link(source.path, content)
        except OSError as error:
            raise storage_error(content, error) from None
        return Incoming(content, source.size, _etag(content) if "-" in source.etag else source.etag)

    def assembled(self, bucket: str, upload: str, listed: Sequence[tuple[int, str]]) -> Incoming | None:
        """Return the parts of an upload as one content; None, and moto says why, if they are not those listed."""
        with self._lock:
            multipart: Any = self._backend.buckets[bucket].multiparts.get(upload) if self.has_bucket(bucket) else None
            if multipart is None:
                return None
            multipart.complete = partial(_completed, multipart)
            try:
                _refuse_wrong_parts(multipart, listed)
            except S3ClientError:
                return None
            parts = [multipart.parts[number] for number, _ in listed]
        files = [part._value_buffer.path for part in parts]
        whole = self.receive(bucket, (chunk for path in files for chunk in chunks_of(path)))
        digests = b"".join(bytes.fromhex(part.etag.strip('"')) for part in parts)
        whole.etag = f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"
        return whole

    def parts(self, bucket: str, upload: str) -> tuple[Path, ...]:
        """Return the files of the parts that an upload has so far."""
        with self._lock:
            multipart: Any = self._backend.buckets[bucket].multiparts.get(upload) if self.has_bucket(bucket) else None
            return tuple(part._value_buffer.path for part in multipart.parts.values()) if multipart else ()

    def stored(self, bucket: str, key: str, version: str | None = None) -> Incoming | None:
        """Return the content of an object, or of a version of it; None if there is none."""
        with self._lock:
            s3_object: Any = self._backend.get_object(bucket, key, version) if self.has_bucket(bucket) else None
            if s3_object is None or not isinstance(s3_object._value_buffer, _Content):
                return None
            return Incoming(s3_object._value_buffer.path, s3_object.size, s3_object.etag.strip('"'), taken=True)

    def part_sizes(self, bucket: str, key: str, version: str | None = None) -> tuple[int, ...]:
        """Return the bytes of each part that an object was uploaded in; none for one that came as a whole."""
        with self._lock:
            s3_object: Any = self._backend.get_object(bucket, key, version) if self.has_bucket(bucket) else None
            multipart = s3_object.multipart if s3_object is not None else None
            return tuple(multipart.parts[number].size for number in multipart.partlist) if multipart else ()

    def keep(self, bucket: str, key: str) -> None:
        """Bring an object's file up to what moto holds; raise StorageError."""
        with self._lock:
            known: Any = self._backend.buckets[bucket] if self.has_bucket(bucket) else None
            s3_object: Any = known.keys.get(key) if known is not None else None
            if not isinstance(s3_object, FakeKey):  # None, or a versioned bucket's marker of a deletion
                self._forget(bucket, key, keep_content=known is not None and known.is_versioned)
                return
            moto_content: Any = s3_object._value_buffer
            if not isinstance(moto_content, _Content):
                moto_content.seek(0)
                with s3_object.lock:
                    received = self.receive(bucket, chunks(moto_content))
                _attach(s3_object, received.path, received.size)
            content: Any = s3_object._value_buffer
            record = self._records.get(bucket, {}).get(key)
            if record is None or record.content != content.path.name:
                self._keep_record(bucket, s3_object, keep_content=known.is_versioned)

    def keep_bucket(self, bucket: str) -> None:
        """Bring a bucket's folder up to what moto holds: the bucket itself, and all its keys; raise StorageError."""
        if not is_bucket_name(bucket):
            raise NoSuchObjectError(f"{bucket!r} is no bucket's name")
        with self._lock:
            if not self.has_bucket(bucket):
                self._records.pop(bucket, None)
                shutil.rmtree(self._folder / bucket, ignore_errors=True)
                return
            known = self._backend.buckets[bucket]
            record = self._folder / bucket / _BUCKET
            if not record.exists():
                try:
                    self._write_bucket(bucket, known.region_name)
                except StorageError:
                    self._backend.delete_bucket(bucket)
                    shutil.rmtree(self._folder / bucket, ignore_errors=True)
                    raise
            for key in {*self._records.get(bucket, {}), *known.keys}:
                self.keep(bucket, key)

    def require(self, bucket: str) -> None:
        """Raise NoSuchObjectError if there is no such bucket."""
        if not self.has_bucket(bucket):
            raise NoSuchObjectError(f"NoSuchBucket: the specified bucket does not exist: {bucket}")

    def _put(self, bucket: str, key: str, incoming: Incoming) -> None:
        with self.changing(bucket, key, incoming):
            self.require(bucket)
            self._backend.put_object(bucket, key, b"", disable_notification=True)
            self.keep(bucket, key)

    def _new_content(self, bucket: str) -> Path:
        folder = self._folder / bucket
        try:
            make_folder(folder)
        except OSError as error:
            raise storage_error(folder, error) from None
        return folder / uuid.uuid4().hex

    def _record_path(self, bucket: str, key: str) -> Path:
        return self._folder / bucket / f"{hashlib.sha256(key.encode()).hexdigest()}.json"

    def _keep_record(self, bucket: str, s3_object: Any, *, keep_content: bool) -> None:  # noqa: ANN401 - moto's
        """Write the record that brings an object back; the content that it had before goes, unless it is a version."""
        record = StoredObject(
            key=s3_object.name,
            content=s3_object._value_buffer.path.name,
            size=s3_object.size,
            etag=s3_object.etag.strip('"'),
            last_modified=s3_object.last_modified.replace(tzinfo=dt.UTC).timestamp(),
            metadata={name: str(value) for name, value in s3_object.metadata.items()},
        )
        write(self._record_path(bucket, record.key), json.dumps(asdict(record)).encode())
        before = self._records.setdefault(bucket, {}).get(record.key)
        self._records[bucket][record.key] = record
        if before is not None and not keep_content:
            (self._folder / bucket / before.content).unlink(missing_ok=True)

    def _forget(self, bucket: str, key: str, *, keep_content: bool) -> None:
        record = self._records.get(bucket, {}).pop(key, None)
        if record is not None:
            self._record_path(bucket, key).unlink(missing_ok=True)
            if not keep_content:
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


def chunks(source: BinaryIO, size: int | None = None) -> Iterator[bytes]:
    """Yield what a file holds from where it is, or its next `size` bytes."""
    while chunk := source.read(_CHUNK if size is None else min(_CHUNK, size)):
        yield chunk
        if size is not None:
            size -= len(chunk)


def chunks_of(path: Path, begin: int = 0, end: int | None = None) -> Iterator[bytes]:
    """Yield a file's bytes from `begin` to before `end`."""
    with path.open("rb") as file:
        file.seek(begin)
        yield from chunks(file, None if end is None else end - begin)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise storage_error(path, error) from None


def _etag(content: Path) -> str:
    with content.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _hand_over(backend: Any) -> None:  # noqa: ANN401 - moto's
    """Let moto take the bytes of `changing` instead of a request's body, wherever it makes an object or a part."""
    make, make_part, copy_object = backend.put_object, backend.upload_part, backend.copy_object

    def put_object(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - moto's
        return _take(make(*arguments, **named), is_part=False)

    def upload_part(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - moto's
        return _take(make_part(*arguments, **named), is_part=True)

    def upload_part_copy(bucket: str, upload: str, number: int, **_: Any) -> Any:  # noqa: ANN401 - moto's
        return upload_part(bucket, upload, number, b"")

    def copy(source: Any, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - moto's
        return copy_object(_without_content(source), *arguments, **named)

    backend.put_object, backend.upload_part = put_object, upload_part
    backend.upload_part_copy, backend.copy_object = upload_part_copy, copy


def _take(s3_object: Any, *, is_part: bool) -> Any:  # noqa: ANN401 - moto's
    """Give what moto has just made the bytes that came for it."""
    incoming = _incoming.get()
    if incoming is not None and not incoming.taken:
        _attach(s3_object, incoming.path, incoming.size, is_part=is_part)
        s3_object._etag = s3_object._etag or incoming.etag
        incoming.taken = True
    return s3_object


def _attach(s3_object: Any, content: Path, size: int, *, is_part: bool = False) -> None:  # noqa: ANN401 - moto's
    s3_object._value_buffer.close()
    s3_object._value_buffer = _Content(content, is_part=is_part)
    s3_object.contentsize = size


def _without_content(s3_object: Any) -> Any:  # noqa: ANN401 - moto's
    """Return an object for moto to copy all but the bytes of."""
    if _incoming.get() is None:
        return s3_object
    bare: Any = FakeKey.__new__(FakeKey)  # its own __copy__ would read all of them
    bare.__dict__.update(s3_object.__dict__, _value_buffer=io.BytesIO())
    return bare


def _refuse_wrong_parts(multipart: Any, listed: Sequence[tuple[int, str]]) -> None:  # noqa: ANN401 - moto's
    if not listed:
        raise MalformedXML
    numbers = [number for number, _ in listed]
    if numbers != sorted(set(numbers)):
        raise InvalidPartOrder
    for position, (number, etag) in enumerate(listed, start=1):
        part = multipart.parts.get(number)
        if part is None or part.etag.strip('"') != etag.strip('"'):
            raise InvalidPart
        if position < len(listed) and part.size < _LEAST_PART:
            raise EntityTooSmall


def _completed(multipart: Any, listed: Iterable[tuple[int, str]]) -> tuple[bytes, str, None]:  # noqa: ANN401 - moto's
    """Return what moto makes an upload's object of, in place of all its bytes; raise S3ClientError."""
    _refuse_wrong_parts(multipart, list(listed))
    incoming = _incoming.get()
    if incoming is None:
        raise InvalidPart
    return b"", incoming.etag, None


class _Content:
    """What moto reads an object's bytes from: the file, opened for each reading, so that many objects are no limit."""

    def __init__(self, path: Path, *, is_part: bool) -> None:
        self.path = path
        self._is_part = is_part
        self._position = 0

    def seek(self, position: int) -> None:
        self._position = position

    def read(self, size: int = -1) -> bytes:
        with self.path.open("rb") as file:
            file.seek(self._position)
            content = file.read(size)
        self._position += len(content)
        return content

    def close(self) -> None:
        """Let go: nothing is open, but a part's file has no other purpose."""
        if self._is_part:
            self.path.unlink(missing_ok=True)
