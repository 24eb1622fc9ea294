"""Where a path inside the container is on the host's disk, and what has to be mounted for it.

layout = Layout(Path("hosts/algo-1"))
layout.place("/opt/ml/checkpoints")     # hosts/algo-1/ml/checkpoints
layout.place("/var/tensors")            # hosts/algo-1/elsewhere/var/tensors, a mount of its own
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
    """One host's disk: a folder of this machine."""

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
