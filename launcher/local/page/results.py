"""What the page shows of a job's files in S3: a list to download from, the evaluation, the profiler's report.

files(objects, places(job))     # [{"label": "model", "uri": "s3://...", "bytes": ...}, ...]
evaluation(objects, job)        # metrics/evaluation.json of the model, or None
"""

from __future__ import annotations

import functools
import json
import tarfile
from pathlib import Path
from typing import Any

from launcher.local.contract.s3_uri import split
from launcher.local.document import Job
from launcher.local.services.objects import NoSuchObjectError, Objects

EVALUATION = "metrics/evaluation.json"
REPORT = "profiler-output/profiler-report.html"

_LARGEST_EVALUATION = 1 << 20
_MOST_FILES = 100
"""Files of a prefix that are listed."""


def files(objects: Objects, places: list[tuple[str, str]]) -> list[dict[str, Any]]:
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


def evaluation(objects: Objects, job: Job) -> dict[str, Any] | None:
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


def report(objects: Objects, places: list[tuple[str, str]]) -> str | None:
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
        with tarfile.open(archive, mode="r|gz") as tar:
            for member in tar:
                if member.name.removeprefix("./") == EVALUATION and member.isfile():
                    content = tar.extractfile(member)
                    return _parsed(content.read(_LARGEST_EVALUATION)) if content else None
    except (tarfile.TarError, OSError, EOFError):
        return None  # not this project's image
    return None


def _parsed(content: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(content)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
