"""What the page shows of a job's files in S3: a list to download from, the evaluation, the profiler's report.

files(objects, places(job))     # [{"label": "model", "uri": "s3://...", "bytes": ...}, ...]
evaluation(objects, job)        # metrics/evaluation.json of the model, or None
"""

from __future__ import annotations

import functools
import gzip
import itertools
import json
import tarfile
import zlib
from pathlib import Path
from typing import Any

from local_sagemaker.container_contract.paths import split
from local_sagemaker.job_state import Job
from local_sagemaker.services.s3_store import NoSuchObjectError, ObjectStore

EVALUATION = "metrics/evaluation.json"
REPORT = "profiler-output/profiler-report.html"

_LARGEST_EVALUATION = 1 << 20
_LARGEST_HEADER = 1 << 20
_MOST_UNPACKED = 1 << 30
_MOST_MEMBERS = 10_000
"""Bytes and members of an archive that are looked through: some seconds."""

_PLAIN = (*tarfile.REGULAR_TYPES, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE)

_MOST_FILES = 100
"""Files of a prefix that are listed."""


def files(objects: ObjectStore, places: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """Return what is at each place, with its files, and how many there are beyond those that are listed."""
    rows = []
    for label, uri in places:
        bucket, key = split(uri)
        try:
            found = list(objects.list(bucket, key))
        except NoSuchObjectError:
            continue
        if found:
            rows.append(
                {
                    "label": label,
                    "uri": uri,
                    "count": len(found),
                    "bytes": sum(entry.size for entry in found),
                    "files": [
                        {
                            "name": entry.key.removeprefix(key) or key.rpartition("/")[2],
                            "key": entry.key,
                            "bytes": entry.size,
                        }
                        for entry in found[:_MOST_FILES]
                    ],
                }
            )
    return rows


def belongs(uri: str, places: list[tuple[str, str]]) -> bool:
    """Tell whether an object is one of a job's."""
    return any(uri == place or (place.endswith("/") and uri.startswith(place)) for _, place in places)


def evaluation(objects: ObjectStore, job: Job) -> dict[str, Any] | None:
    """Return what the image says of the model: metrics and confusion matrix; None for other images."""
    if job.model_uri is None:
        return None
    bucket, key = split(job.model_uri)
    try:
        if job.model_uri.endswith(".tar.gz"):
            return _in_archive(objects.path(bucket, key))
        return _parsed(objects.path(bucket, f"{key.rstrip('/')}/{EVALUATION}").read_bytes()[:_LARGEST_EVALUATION])
    except NoSuchObjectError:
        return None


def report(objects: ObjectStore, places: list[tuple[str, str]]) -> str | None:
    """Return the S3 URI of the profiler's report, or None."""
    for label, uri in places:
        bucket, key = split(uri)
        if label.startswith("rule ") and objects.has_bucket(bucket):
            for entry in objects.list(bucket, key):
                if entry.key.endswith(REPORT):
                    return f"s3://{bucket}/{entry.key}"
    return None


@functools.lru_cache(maxsize=64)
def _in_archive(archive: Path) -> dict[str, Any] | None:
    """Return the evaluation of a model.tar.gz; an object's file never changes, so it is read once."""
    try:
        with (
            gzip.open(archive) as content,
            tarfile.open(fileobj=_Limited(content), mode="r|", tarinfo=_Header) as tar,  # type: ignore[call-overload]
        ):
            for member in itertools.islice(tar, _MOST_MEMBERS):
                if member.name.removeprefix("./") == EVALUATION and member.isfile():
                    file = tar.extractfile(member)
                    return _parsed(file.read(_LARGEST_EVALUATION)) if file else None
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError):
        return None  # not this project's image, or made to be read for ever
    return None


class _Header(tarfile.TarInfo):
    """A member whose header is of a size that headers have: tarfile reads it into memory, whatever size it names."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type not in _PLAIN and self.size > _LARGEST_HEADER:
            raise tarfile.ReadError(f"a header of {self.size} bytes")
        member: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        return member


class _Limited:
    """What an archive unpacks to, up to a limit."""

    def __init__(self, content: gzip.GzipFile) -> None:
        self._content = content
        self._left = _MOST_UNPACKED

    def read(self, size: int, /) -> bytes:
        content = self._content.read(size)
        self._left -= len(content)
        if self._left < 0:
            raise tarfile.ReadError(f"it unpacks to more than {_MOST_UNPACKED} bytes")
        return content


def _parsed(content: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
