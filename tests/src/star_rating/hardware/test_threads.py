"""TensorFlow's threads follow the container, and the user."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from star_rating.failures import ConfigurationError
from star_rating.hardware import threads
from star_rating.hardware.cgroup import Kernel
from star_rating.hardware.threads import Threads

SCHEDULABLE = len(os.sched_getaffinity(0))


def with_quota(folder: Path, microseconds: str) -> Kernel:
    (folder / "groups").write_text("0::/\n")
    (folder / "cpu.max").write_text(f"{microseconds} 100000\n")
    return Kernel(groups=folder / "groups", mount=folder)


@pytest.mark.parametrize(("quota", "cores"), [("100000", 1), ("20000", 1), ("100001", min(2, SCHEDULABLE))])
def test_a_quota_is_rounded_up_to_whole_cores(tmp_path: Path, quota: str, cores: int) -> None:
    environ: dict[str, str] = {}
    assert threads.choose(environ, with_quota(tmp_path, quota)) == Threads(cores, cores, cores)
    assert environ == {"TF_NUM_INTRAOP_THREADS": str(cores), "TF_NUM_INTEROP_THREADS": str(cores)}


@pytest.mark.parametrize("quota", ["max", f"{SCHEDULABLE + 7}00000"])
def test_without_a_tighter_quota_the_schedulable_cores_count(tmp_path: Path, quota: str) -> None:
    assert threads.choose({}, with_quota(tmp_path, quota)) == Threads(SCHEDULABLE, SCHEDULABLE, SCHEDULABLE)


def test_affinity_counts(tmp_path: Path) -> None:
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(everywhere)})
    try:
        assert threads.available_cores(with_quota(tmp_path, "max")) == 1
    finally:
        os.sched_setaffinity(0, everywhere)


def test_what_the_user_has_set_stays(tmp_path: Path) -> None:
    environ = {"TF_NUM_INTRAOP_THREADS": "7", "TF_NUM_INTEROP_THREADS": ""}
    assert threads.choose(environ, with_quota(tmp_path, "100000")) == Threads(cores=1, intra_op=7, inter_op=1)
    assert environ == {"TF_NUM_INTRAOP_THREADS": "7", "TF_NUM_INTEROP_THREADS": "1"}


def test_a_value_that_is_no_number_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="TF_NUM_INTEROP_THREADS is 'many'"):
        threads.choose({"TF_NUM_INTEROP_THREADS": "many"})
