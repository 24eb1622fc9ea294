"""The limits of a container, read from folders that look like the kernel's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from star_rating.hardware import cgroup
from star_rating.hardware.cgroup import Kernel

GB = 10**9


def kernel(folder: Path, groups: str, files: dict[str, str]) -> Kernel:
    """Write /proc/self/cgroup and the files of /sys/fs/cgroup; a machine with 8 GB available."""
    for name, content in files.items():
        path = folder / "mount" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    (folder / "groups").write_text(f"{groups}\n")
    (folder / "meminfo").write_text("MemTotal:       16000000 kB\nMemAvailable:    8000000 kB\n")
    return Kernel(folder / "groups", folder / "mount", folder / "meminfo")


VERSION_1 = "5:memory:/job\n3:cpu,cpuacct:/job\n1:name=systemd:/job"


@pytest.mark.parametrize(
    ("groups", "files", "cores"),
    [
        ("0::/", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/", {"cpu.max": "max 100000"}, None),
        ("0::/a/b", {"a/b/cpu.max": "400000 100000", "a/cpu.max": "200000 100000", "cpu.max": "max 100000"}, 2.0),
        ("0::/a/b", {"a/b/cpu.max": "max 100000", "a/cpu.max": "50000 100000"}, 0.5),
        ("0::/the/hosts/path", {"cpu.max": "300000 100000"}, 3.0),
        (VERSION_1, {"cpu/job/cpu.cfs_quota_us": "250000", "cpu/job/cpu.cfs_period_us": "100000"}, 2.5),
        (VERSION_1, {"cpu/job/cpu.cfs_quota_us": "-1", "cpu/job/cpu.cfs_period_us": "100000"}, None),
        (VERSION_1, {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "50000"}, 2.0),
        ("0::/", {}, None),
    ],
)
def test_the_smallest_cpu_quota_of_all_levels_counts(
    tmp_path: Path, groups: str, files: dict[str, str], cores: float | None
) -> None:
    assert cgroup.quota_cores(kernel(tmp_path, groups, files)) == cores


@pytest.mark.parametrize(
    ("groups", "files", "free"),
    [
        (
            "0::/",
            {"memory.max": f"{4 * GB}", "memory.current": f"{3 * GB}", "memory.stat": f"anon 9\nfile {GB}"},
            2 * GB,
        ),
        ("0::/", {"memory.max": "max", "memory.current": f"{3 * GB}"}, 8_000_000 * 1024),
        ("0::/a", {"memory.max": f"{3 * GB}", "memory.current": f"{GB}", "a/memory.max": "max"}, 2 * GB),
        (
            VERSION_1,
            {"memory/job/memory.limit_in_bytes": f"{2 * GB}", "memory/job/memory.usage_in_bytes": f"{GB}"},
            GB,
        ),
        (
            VERSION_1,
            {"memory/job/memory.limit_in_bytes": "9223372036854771712", "memory/job/memory.usage_in_bytes": "5"},
            8_000_000 * 1024,
        ),
    ],
)
def test_free_memory_is_what_the_tightest_limit_leaves(
    tmp_path: Path, groups: str, files: dict[str, str], free: int
) -> None:
    assert cgroup.free_memory(kernel(tmp_path, groups, files)) == free


def test_without_control_groups_the_machine_is_the_limit(tmp_path: Path) -> None:
    nothing = Kernel(tmp_path / "groups", tmp_path / "mount", tmp_path / "meminfo")
    assert cgroup.quota_cores(nothing) is None
    assert cgroup.free_memory(nothing) == cgroup.UNLIMITED


def test_this_machines_own_files_are_read() -> None:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < cgroup.free_memory() <= total
    assert (cgroup.quota_cores() or 1) > 0
