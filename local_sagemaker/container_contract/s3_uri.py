"""S3 URIs, and keys as paths: what a bucket holds may be called anything, what is written here may not.

bucket, key = split("s3://bucket/some/key")
"""

from __future__ import annotations

from pathlib import PurePosixPath


class UnsafeKeyError(ValueError):
    """A key that is no path below a folder."""


def split(uri: str) -> tuple[str, str]:
    """Return bucket and key; raise ValueError for what is no S3 URI."""
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise ValueError(f"{uri!r} is no S3 URI")
    return bucket, key


def join(uri: str, *parts: str) -> str:
    """Return a URI with more parts of its key, a slash between them."""
    return "/".join([uri.rstrip("/"), *parts])


def relative_path(key: str, prefix: str) -> str:
    """Return where an object of a prefix is, seen from the channel's folder, as SageMaker lays it out.

    The prefix may be the key itself, a folder with or without its slash, or the beginning of a name.
    """
    if key == prefix:
        return safe(key.rpartition("/")[2])
    if key.startswith(prefix) and (prefix.endswith("/") or key[len(prefix)] == "/" or not prefix):
        return safe(key[len(prefix) :].removeprefix("/"))
    return safe(key.removeprefix(prefix.rpartition("/")[0]).removeprefix("/"))


def safe(key: str) -> str:
    """Return a key that stays below the folder that it is written into; raise UnsafeKeyError."""
    if not key or key.startswith("/") or "\0" in key or {"", ".", ".."} & set(key.split("/")):
        raise UnsafeKeyError(f"the key {key!r} is no path below a folder")
    if any(len(part.encode()) > 255 for part in PurePosixPath(key).parts):
        raise UnsafeKeyError(f"the key {key[:80]!r}... has a part that is too long for a file's name")
    return key
