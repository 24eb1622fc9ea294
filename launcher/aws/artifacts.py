"""Fetch what a job made, and unpack it as if it came from a stranger.

    download(description, session, Path("out"))

An archive is refused, before anything of it is written outside a temporary folder, if a member would leave the folder,
is a link that leads out of it or a device, or if there is too much of it.
"""

from __future__ import annotations

import gzip
import itertools
import json
import os
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from botocore.exceptions import ClientError

from launcher.aws.errors import is_missing, translating_aws_errors
from launcher.aws.session import Session
from launcher.errors import AwsError, LauncherError, os_error_text

MAX_UNPACKED_BYTES = 50 * 1024**3
"""Bytes that an archive may unpack to."""

MAX_MEMBERS = 100_000

MAX_READ_BYTES = 4 << 20
"""Bytes of a file that is read without being unpacked."""


class UnsafeArchiveError(LauncherError):
    """An archive that must not be unpacked."""


@dataclass(frozen=True)
class Downloaded:
    """What is on disk now."""

    model: Path
    output: Path | None
    files: int
    bytes: int
    evaluation: dict[str, Any] | None
    """metrics/evaluation.json of the model, if it has one."""


def download(description: dict[str, Any], session: Session, folder: Path) -> Downloaded:
    """Fetch model and output of an ended job into `folder`/model and `folder`/output."""
    artifact = description.get("ModelArtifacts", {}).get("S3ModelArtifacts")
    name = description["TrainingJobName"]
    if not artifact:
        status = description["TrainingJobStatus"]
        raise AwsError(
            f"{name} has left no model: its status is {status}; the log says why: {session.cli_hint(f'logs {name}')}"
        )
    model, output = folder / "model", folder / "output"
    for taken in (model, output):
        if taken.exists():
            raise AwsError(f"{taken} exists; name another folder with --to, or delete it")
    folder.mkdir(parents=True, exist_ok=True)
    _fetch(artifact, session, model)
    place = f"{artifact.rpartition('/output/')[0]}/output"
    has_output = _exists(f"{place}/output.tar.gz", session)
    if has_output:
        _fetch(f"{place}/output.tar.gz", session, output)
    elif description.get("OutputDataConfig", {}).get("CompressionType") == "NONE":
        keys = _keys(f"{place}/data", session)
        has_output = bool(keys)
        if has_output:
            _fetch_objects(f"{place}/data", keys, session, output)
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return Downloaded(
        model=model,
        output=output if has_output else None,
        files=len(files),
        bytes=sum(path.stat().st_size for path in files),
        evaluation=_evaluation(model),
    )


def read_output(description: dict[str, Any], session: Session, name: str) -> bytes | None:
    """Return a small file of a job's output.tar.gz, read as it streams by; None if there is none."""
    s3_uri = f"{description['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{description['TrainingJobName']}"
    s3_uri += "/output/output.tar.gz"
    if not _exists(s3_uri, session):
        return None
    bucket, key = _parts(s3_uri)
    with translating_aws_errors(f"read {s3_uri}"):
        body = session.client("s3").get_object(Bucket=bucket, Key=key)["Body"]
        try:
            with gzip.open(body) as content, tarfile.open(fileobj=content, mode="r|") as tar:
                for member in _safe_members(tar, s3_uri, MAX_UNPACKED_BYTES):
                    if member.isfile() and PurePosixPath(member.name) == PurePosixPath(name):
                        file = tar.extractfile(member)
                        assert file is not None
                        return file.read(MAX_READ_BYTES)
        except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise UnsafeArchiveError(f"{s3_uri} is damaged: {error}") from None
        finally:
            body.close()
    return None


def unpack(archive: Path, folder: Path, *, largest: int = MAX_UNPACKED_BYTES) -> None:
    """Unpack a tar.gz into a folder that does not exist yet; raise UnsafeArchiveError and leave nothing."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".unpacking-") as scratch:
        inside = Path(scratch) / "content"
        inside.mkdir()
        try:
            with gzip.open(archive) as content:
                links = []
                with tarfile.open(fileobj=content, mode="r|") as tar:
                    for member in _safe_members(tar, archive.name, largest):
                        if member.issym() or member.islnk():
                            links.append(member)
                        else:
                            tar.extract(member, inside, filter="data")
                # Past tar's end is gzip's checksum.
                while content.read(1 << 20):
                    pass
        except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
            if isinstance(error, OSError) and error.errno is not None:  # the disk's, not the archive's
                raise LauncherError(f"cannot unpack {archive.name} into {folder}: {os_error_text(error)}") from None
            raise UnsafeArchiveError(f"{archive.name} is damaged: {error}; download it again") from None
        _make_links(inside, links, archive.name)
        inside.rename(folder)


def _make_links(folder: Path, links: list[tarfile.TarInfo], name: str) -> None:
    """Make links once all files are there, so that no file is written through one; raise UnsafeArchiveError.

    From a link's own folder `..` may lead up at first, and then no more: what other links stand in between, none leads
    out.
    """
    for link in sorted(links, key=lambda link: link.issym()):  # hard links stand for files
        path = PurePosixPath(link.name)
        target = PurePosixPath(link.linkname)
        steps = list(itertools.takewhile(lambda part: part == "..", target.parts)) if link.issym() else []
        place = folder / path
        leads_out = (
            target.is_absolute()
            or ".." in target.parts[len(steps) :]
            or len(steps) >= len(path.parts)
            or any((folder / parent).is_symlink() for parent in path.parents)  # then `..` would start elsewhere
        )
        try:
            if not leads_out and not os.path.lexists(place):
                place.parent.mkdir(parents=True, exist_ok=True)
                if link.issym():
                    place.symlink_to(target)
                else:
                    os.link(folder / target, place, follow_symlinks=False)
                continue
        except OSError:
            pass  # a hard link's file is not there, or a file stands where the folder is to be
        raise UnsafeArchiveError(
            f"{name} is refused: its member {link.name!r} is a link to {link.linkname!r}, which leads out of the "
            "folder or nowhere; `aws s3 cp` fetches the archive as it is"
        )


def _safe_members(tar: tarfile.TarFile, name: str, largest: int) -> Iterator[tarfile.TarInfo]:
    total = 0
    for count, member in enumerate(tar, start=1):
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts:
            raise UnsafeArchiveError(f"{name} is refused: its member {member.name!r} would leave the folder")
        if not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
            raise UnsafeArchiveError(f"{name} is refused: its member {member.name!r} is a device or a FIFO")
        total += member.size
        if total > largest or count > MAX_MEMBERS:
            raise UnsafeArchiveError(
                f"{name} is refused: it unpacks to more than {largest} bytes or {MAX_MEMBERS} files"
            )
        yield member


def _fetch(s3_uri: str, session: Session, folder: Path) -> None:
    """Fetch an archive and unpack it, or, with CompressionType NONE, the objects under a prefix."""
    if not s3_uri.endswith(".tar.gz"):
        _fetch_objects(s3_uri, _keys(s3_uri, session), session, folder)
        return
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".download-") as scratch:
        archive = Path(scratch) / s3_uri.rpartition("/")[2]
        _fetch_object(*_parts(s3_uri), session, archive)
        unpack(archive, folder)


def _keys(s3_uri: str, session: Session) -> list[str]:
    """Return the keys of the objects below a prefix."""
    bucket, prefix = _parts(s3_uri)
    with translating_aws_errors(f"list {s3_uri}"):
        pages = (
            session.client("s3")
            .get_paginator("list_objects_v2")
            .paginate(Bucket=bucket, Prefix=prefix.rstrip("/") + "/")
        )
        return [entry["Key"] for page in pages for entry in page.get("Contents", []) if not entry["Key"].endswith("/")]


def _fetch_objects(s3_uri: str, keys: Sequence[str], session: Session, folder: Path) -> None:
    """Fetch objects below a prefix into a folder that does not exist yet; it is empty if there are none."""
    bucket, prefix = _parts(s3_uri)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".download-") as scratch:
        inside = Path(scratch) / "content"
        inside.mkdir()
        for key in keys:
            path = PurePosixPath(key.removeprefix(prefix.rstrip("/") + "/"))
            if path.is_absolute() or ".." in path.parts:
                raise UnsafeArchiveError(f"{s3_uri} is refused: its object {key!r} would leave the folder")
            if (inside / path).exists():
                raise UnsafeArchiveError(f"{s3_uri} is refused: its object {key!r} and another one are one file")
            (inside / path).parent.mkdir(parents=True, exist_ok=True)
            _fetch_object(bucket, key, session, inside / path)
        inside.rename(folder)


def _fetch_object(bucket: str, key: str, session: Session, path: Path) -> None:
    s3 = session.client("s3")
    with translating_aws_errors(f"download s3://{bucket}/{key}"):
        head = s3.head_object(Bucket=bucket, Key=key)
        expected = head["ContentLength"] if head["ETag"] else 0  # what has no ETag is no S3
        s3.download_file(bucket, key, str(path))
    if path.stat().st_size != expected:
        raise AwsError(f"s3://{bucket}/{key} has {expected} bytes, {path.stat().st_size} arrived; download it again")


def _exists(s3_uri: str, session: Session) -> bool:
    bucket, key = _parts(s3_uri)
    with translating_aws_errors(f"look for {s3_uri}"):
        try:
            session.client("s3").head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            # Without the right to list a bucket, S3 denies what is not there.
            if is_missing(error) or error.response["Error"]["Code"] == "403":
                return False
            raise
    return True


def _parts(s3_uri: str) -> tuple[str, str]:
    bucket, _, key = s3_uri.removeprefix("s3://").partition("/")
    return bucket, key


def _evaluation(model: Path) -> dict[str, Any] | None:
    path = model / "metrics" / "evaluation.json"
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            evaluation = json.loads(file.read(MAX_READ_BYTES))
    except (ValueError, RecursionError):
        evaluation = None
    if not isinstance(evaluation, dict):
        raise AwsError(f"{path} is no JSON object: the model is there, its evaluation is damaged")
    return evaluation
