"""Paths in a container and in S3: where each is on the host's volume, and which of them are refused.

    layout = Layout(Path("hosts/algo-1"))
    layout.place("/opt/ml/checkpoints")     # hosts/algo-1/ml/checkpoints
    layout.place("/var/tensors")            # hosts/algo-1/elsewhere/var/tensors, a mount of its own
    bucket, key = split("s3://bucket/some/key")

What a bucket holds may be called anything; what is written here may not (`safe`).
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

ROOT = PurePosixPath("/opt/ml")

CHECKPOINTS = "/opt/ml/checkpoints"
TENSORS = "/opt/ml/output/tensors"
TENSORBOARD = "/opt/ml/output/tensorboard"
PROFILER = "/opt/ml/output/profiler"
"""Where SageMaker looks when a request names no LocalPath."""

END_MARKER = "training_job_end.ts"
"""What the platform writes beside tensors and system metrics when nothing more comes; rules wait for it."""


class OutsideError(ValueError):
    """A path that cannot be mounted: it is not absolute, or it is the root folder."""


@dataclass(frozen=True)
class Bind:
    """A folder of this machine, and where a container sees it."""

    source: Path
    target: str
    read_only: bool = False


@dataclass
class Layout:
    """One host's volume: a folder of this machine."""

    folder: Path
    mounts: dict[str, Path] = field(default_factory=dict)
    """Path in the container -> folder here, beside /opt/ml itself."""
    read_only: set[str] = field(default_factory=set)
    """Those of the mounts that the container cannot write to."""

    @property
    def root(self) -> Path:
        """What is mounted at /opt/ml."""
        return self.folder / "ml"

    def inside(self, *parts: str) -> Path:
        """Return a path below /opt/ml."""
        return self.root.joinpath(*parts)

    def place(self, path: str, *, mounted: bool = False) -> Path:
        """Return the folder for a path in the container; with `mounted` it is a mount even below /opt/ml."""
        if not path.startswith("/"):
            raise OutsideError(f"{path!r} is not an absolute path")
        inside = PurePosixPath(posixpath.normpath(path))  # without `..`, which cannot lead above the root
        if inside in (PurePosixPath("/"), PurePosixPath("//"), ROOT):
            raise OutsideError(f"{path!r} cannot be a folder of its own")
        if inside.is_relative_to(ROOT) and not mounted:
            return self.root / inside.relative_to(ROOT)
        folder = self.folder / "elsewhere" / str(inside).strip("/")
        self.mounts[str(inside)] = folder
        return folder

    def binds(self) -> list[Bind]:
        """Return the mounts, the outer before the inner."""
        inner = (Bind(self.mounts[path], path, read_only=path in self.read_only) for path in sorted(self.mounts))
        return [Bind(self.root, str(ROOT)), *inner]


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
