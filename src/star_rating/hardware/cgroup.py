"""What the container's control groups leave to this process, and what it uses of it: cores and memory.

    cgroup.quota_cores()       # 1.5 under `docker run --cpus 1.5`; None without a limit
    cgroup.free_memory()       # bytes
    cgroup.used_memory()       # bytes, and the limit that they count against
    cgroup.read("io", "io.stat")

Reads both versions of the kernel's interface (Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/). A limit may
stand at any level between the process's own group and the root, so every level is looked at. Inside a container the
paths of /proc/self/cgroup may be the host's, and not be mounted: then the mount's root is the container's own group.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

UNLIMITED = 2**60
"""Bytes; version 1 writes "no limit" as the largest whole number of pages."""


@dataclass(frozen=True)
class Kernel:
    """Where the kernel's files are; tests put their own there."""

    groups: Path = Path("/proc/self/cgroup")
    mount: Path = Path("/sys/fs/cgroup")
    meminfo: Path = Path("/proc/meminfo")


KERNEL = Kernel()


def quota_cores(kernel: Kernel = KERNEL) -> float | None:
    """Return the smallest CPU quota that holds for this process, in cores; None without one."""
    return min((quota for folder in _levels("cpu", kernel) if (quota := _quota(folder))), default=None)


def total_memory(kernel: Kernel = KERNEL) -> int:
    """Return the machine's memory in bytes."""
    return _meminfo("MemTotal", kernel)


def available_memory(kernel: Kernel = KERNEL) -> int:
    """Return how many bytes of the machine's memory a new process could take."""
    return _meminfo("MemAvailable", kernel)


def free_memory(kernel: Kernel = KERNEL) -> int:
    """Return how many bytes this process may still take: of the machine's memory, and of every group's limit."""
    return min([available_memory(kernel), *(_group_memory(folder) for folder in _levels("memory", kernel))])


def used_memory(kernel: Kernel = KERNEL) -> tuple[int, int] | None:
    """Return how many bytes this process's group uses, and how many it may; None where no group counts them."""
    limits = [limit for folder in _levels("memory", kernel) if (limit := _memory_limit(folder)) < UNLIMITED]
    for folder in _levels("memory", kernel):
        used = _memory_used(folder)
        if used is not None:
            return used, min([*limits, total_memory(kernel)])
    return None


def read(controller: str, file: str, kernel: Kernel = KERNEL) -> str:
    """Return a file of this process's innermost group that has one, "" where none has."""
    return next((text for folder in _levels(controller, kernel) if (text := _read(folder / file))), "")


def _levels(controller: str, kernel: Kernel) -> Iterator[Path]:
    """Yield the folders of this process's groups that govern `controller`, innermost first."""
    for line in _read(kernel.groups).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        # Version 2 has one tree and no names; version 1 has one a controller, sometimes below several names.
        root = kernel.mount / controller if controllers else kernel.mount
        group = root / path.lstrip("/")
        yield from (level for level in (group, *group.parents) if level == root or root in level.parents)


def _quota(folder: Path) -> float | None:
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    if not quota:
        quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    return int(quota) / int(period) if quota.isdecimal() and int(period) else None


def _group_memory(folder: Path) -> int:
    limit, used = _memory_limit(folder), _memory_used(folder)
    return UNLIMITED if limit >= UNLIMITED or used is None else limit - used


def _memory_limit(folder: Path) -> int:
    limit = _read(folder / "memory.max") or _read(folder / "memory.limit_in_bytes")
    return int(limit) if limit.isdecimal() else UNLIMITED


def _memory_used(folder: Path) -> int | None:
    """Return what a group uses without pages of files: they are given back when memory is wanted."""
    used = _read(folder / "memory.current") or _read(folder / "memory.usage_in_bytes")
    if not used.isdecimal():
        return None
    statistics = dict(line.split(" ", 1) for line in _read(folder / "memory.stat").splitlines())
    return int(used) - int(statistics.get("file") or statistics.get("total_cache") or 0)


def _meminfo(name: str, kernel: Kernel) -> int:
    for line in _read(kernel.meminfo).splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return UNLIMITED


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
