"""TensorFlow's threads follow the processor, the container and the user."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path

import pytest

from star_rating.failures import ConfigurationError
from star_rating.hardware import threads
from star_rating.hardware.cgroup import Kernel
from star_rating.hardware.threads import Threads, Topology, read_topology

EIGHT = Topology(cores=8, hardware_threads=16, numa_nodes=1)


def with_quota(folder: Path, microseconds: str) -> Kernel:
    (folder / "groups").write_text("0::/\n")
    (folder / "cpu.max").write_text(f"{microseconds} 100000\n")
    return Kernel(groups=folder / "groups", mount=folder)


def sysfs(
    folder: Path, cores: Iterable[str], nodes: Iterable[str] = (), name: str = "core_cpus_list", online: str = "0-1023"
) -> Path:
    """Write what Linux says of a processor: for each core its logical CPUs, for each NUMA node its own."""
    there = threads._numbers(online)
    for siblings in cores:
        cpus = threads._numbers(siblings) & there
        for cpu in cpus:
            topology = folder / "cpu" / f"cpu{cpu}" / "topology"
            topology.mkdir(parents=True)
            (topology / name).write_text(",".join(map(str, sorted(cpus))) + "\n")
    for number, cpulist in enumerate(nodes):
        node = folder / "node" / f"node{number}"
        node.mkdir(parents=True)
        (node / "cpulist").write_text(f"{cpulist}\n")
    return folder


# How the kernel numbers the CPUs of EC2's instances: first a thread of every core, then their siblings.
C5_9XLARGE = [f"{core},{core + 18}" for core in range(18)]
C5_18XLARGE = [f"{core},{core + 36}" for core in range(36)]
C5_18XLARGE_NODES = ["0-17,36-53", "18-35,54-71"]


@pytest.mark.parametrize(
    ("cores", "nodes", "schedulable", "expected"),
    [
        pytest.param(C5_9XLARGE, ["0-35"], range(36), Topology(18, 36, 1), id="ml.c5.9xlarge"),
        pytest.param(C5_18XLARGE, C5_18XLARGE_NODES, range(72), Topology(36, 72, 2), id="ml.c5.18xlarge"),
        pytest.param([f"{n},{n + 4}" for n in range(4)], ["0-7"], range(8), Topology(4, 8, 1), id="ml.c7i.2xlarge"),
        pytest.param([str(n) for n in range(8)], ["0-7"], range(8), Topology(8, 8, 1), id="AMD without SMT"),
        pytest.param(["0-1", "2-3"], [], range(4), Topology(2, 4, 1), id="neighbours are siblings, no NUMA"),
        pytest.param(C5_18XLARGE, C5_18XLARGE_NODES, range(18), Topology(18, 18, 1), id="taskset to one socket"),
        pytest.param(C5_9XLARGE, ["0-35"], [0, 18], Topology(1, 2, 1), id="cpuset of one core's threads"),
        pytest.param(C5_9XLARGE, ["0-35"], [0, 1, 2, 18], Topology(3, 4, 1), id="cpuset of a half core"),
        pytest.param([], [], range(6), Topology(6, 6, 1), id="a kernel without the files"),
    ],
)
def test_a_topology(
    tmp_path: Path, cores: list[str], nodes: list[str], schedulable: Collection[int], expected: Topology
) -> None:
    assert read_topology(schedulable, sysfs(tmp_path, cores, nodes)) == expected


def test_a_topology_of_an_old_kernel(tmp_path: Path) -> None:
    assert read_topology(range(36), sysfs(tmp_path, C5_9XLARGE, name="thread_siblings_list")) == Topology(18, 36, 1)


def test_cpus_that_are_offline_are_not_counted(tmp_path: Path) -> None:
    """As after `chcpu --disable 18-35`, which switches simultaneous multithreading off."""
    system = sysfs(tmp_path, C5_9XLARGE, ["0-17"], online="0-17")
    assert read_topology(range(18), system) == Topology(18, 18, 1)


@pytest.mark.parametrize("text", ["", "nonsense", "1-x", "-3", "0-"])
def test_what_is_no_list_of_cpus_makes_each_its_own_core(tmp_path: Path, text: str) -> None:
    for cpu in range(2):
        folder = tmp_path / "cpu" / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "core_cpus_list").write_text(text)
    assert read_topology(range(2), tmp_path).cores == 2


def test_this_machine_has_as_many_hardware_threads_as_are_schedulable() -> None:
    topology = read_topology()
    assert topology.hardware_threads == len(os.sched_getaffinity(0))
    assert 1 <= topology.cores <= topology.hardware_threads


def test_affinity_counts() -> None:
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(everywhere)})
    try:
        assert read_topology() == Topology(1, 1, 1)
    finally:
        os.sched_setaffinity(0, everywhere)


@pytest.mark.parametrize(
    ("quota", "cores", "most"),
    [
        ("100000", 1, 1),
        ("20000", 1, 1),
        ("100001", 2, 2),
        ("350000", 4, 4),
        ("1200000", 8, 12),
        ("max", 8, 16),
    ],
)
def test_a_quota_is_rounded_up_to_whole_cores(tmp_path: Path, quota: str, cores: int, most: int) -> None:
    environ: dict[str, str] = {}
    assert threads.choose(environ, with_quota(tmp_path, quota), EIGHT) == Threads(cores, cores, cores, 16, most=most)
    assert environ == {"TF_NUM_INTRAOP_THREADS": str(cores), "TF_NUM_INTEROP_THREADS": str(cores)}


def test_what_the_user_has_set_stays(tmp_path: Path) -> None:
    environ = {"TF_NUM_INTRAOP_THREADS": "7", "TF_NUM_INTEROP_THREADS": ""}
    chosen = threads.choose(environ, with_quota(tmp_path, "100000"), EIGHT)
    assert chosen == Threads(cores=1, intra_op=7, inter_op=1, hardware_threads=16, most=7)
    assert environ == {"TF_NUM_INTRAOP_THREADS": "7", "TF_NUM_INTEROP_THREADS": "1"}


@pytest.mark.parametrize(
    ("environ", "quota", "line"),
    [
        ({}, "max", "in 8 threads, one for each of 8 physical cores with 16 hardware threads"),
        ({}, "350000", "in 4 threads, as the container's CPU quota leaves 4 of 8 physical cores"),
        ({"TF_NUM_INTRAOP_THREADS": "3"}, "max", "in 3 threads, as TF_NUM_INTRAOP_THREADS asks, on 8"),
    ],
)
def test_the_log_has_what_was_chosen_and_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, environ: dict[str, str], quota: str, line: str
) -> None:
    with caplog.at_level("INFO"):
        threads.choose(environ, with_quota(tmp_path, quota), EIGHT)
    assert line in caplog.text


def test_a_value_that_is_no_number_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="TF_NUM_INTEROP_THREADS is 'many'"):
        threads.choose({"TF_NUM_INTEROP_THREADS": "many"})
