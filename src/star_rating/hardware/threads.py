"""How many threads TensorFlow gets: one per physical core that the container may use; chosen before it is loaded.

    threads = choose(os.environ)     # sets TF_NUM_INTRAOP_THREADS and TF_NUM_INTEROP_THREADS

By itself TensorFlow counts the logical CPUs that it may be scheduled on. That is twice the number of cores where a core
has two hardware threads (ml.c5.9xlarge: 36 on 18 cores), which share the one unit that multiplies; and a CPU quota
(`docker run --cpus 2`) does not change it: on a host of 64 cores 64 threads would share the time of two. Either
variable, set by the user, stays as it is.
"""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Collection, MutableMapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from star_rating.failures import ConfigurationError
from star_rating.hardware import cgroup

log = logging.getLogger(__name__)

INTRA_OP = "TF_NUM_INTRAOP_THREADS"
INTER_OP = "TF_NUM_INTEROP_THREADS"

SYSTEM = Path("/sys/devices/system")
"""Where the kernel describes processors and memory: Documentation/admin-guide/cputopology.rst."""


@dataclass(frozen=True)
class Topology:
    """The processors that this process may be scheduled on."""

    cores: int
    """Physical ones."""
    hardware_threads: int
    """Logical CPUs: more than cores with simultaneous multithreading (Intel's Hyper-Threading)."""
    numa_nodes: int
    """Memories that are nearer to some of the cores than to the others."""

    def __str__(self) -> str:
        """Describe them for the log."""
        described = f"{self.cores} physical core{'s' if self.cores > 1 else ''}"
        if self.hardware_threads > self.cores:
            described += f" with {self.hardware_threads} hardware threads"
        return described + (f" on {self.numa_nodes} NUMA nodes" if self.numa_nodes > 1 else "")


@dataclass(frozen=True)
class Threads:
    """What TensorFlow's pools are made with."""

    cores: int
    """That this process may use at a time."""
    intra_op: int
    """Threads that share one operation, such as a matrix product."""
    inter_op: int
    """Operations that run at a time."""
    hardware_threads: int
    numa_nodes: int = 1
    most: int = 0
    """Of intra_op, where it is not settled: one per logical CPU (calibration.py); intra_op where it is."""
    reason: str = field(default="", compare=False)
    """In words, for the log."""

    def __post_init__(self) -> None:
        """Without another choice, what there is."""
        object.__setattr__(self, "most", self.most or self.intra_op)

    def record(self) -> dict[str, int | str]:
        """Return what run.json keeps."""
        return asdict(self)


def read_topology(schedulable: Collection[int] | None = None, system: Path = SYSTEM) -> Topology:
    """Return the topology of the CPUs numbered `schedulable`, by default those of this process's affinity and cpuset.

    A CPU of which the kernel says nothing (gVisor, some sandboxes) counts as a core of its own.
    """
    cpus = os.sched_getaffinity(0) if schedulable is None else set(schedulable)
    cores = {_siblings(cpu, system) & cpus for cpu in cpus}
    nodes = [_numbers(_read(folder / "cpulist")) for folder in sorted((system / "node").glob("node[0-9]*"))]
    return Topology(len(cores), len(cpus), max(1, sum(bool(node & cpus) for node in nodes)))


def available_cores(kernel: cgroup.Kernel = cgroup.KERNEL, topology: Topology | None = None) -> int:
    """Return how many cores this process may use at a time: physical ones, and a part of a CPU quota's as one."""
    return _within_quota((topology or read_topology()).cores, kernel)


def choose(
    environ: MutableMapping[str, str], kernel: cgroup.Kernel = cgroup.KERNEL, topology: Topology | None = None
) -> Threads:
    """Set in `environ` what the user has not set; raise ConfigurationError for what is not a number of threads.

    One thread per physical core, in both pools: TensorFlow's and Intel's guides for oneDNN advise it. Where cores have
    hardware threads and the user has set nothing, `most` says that there is another choice (calibration.py).
    """
    topology = topology or read_topology()
    cores = available_cores(kernel, topology)
    logical = _within_quota(topology.hardware_threads, kernel)
    intra_op, inter_op = _wanted(environ, INTRA_OP), _wanted(environ, INTER_OP)
    if intra_op:
        reason = f"as {INTRA_OP} asks, on"
    elif cores < topology.cores:
        reason = f"as the container's CPU quota leaves {cores} of"
    else:
        reason = "one for each of"
    threads = Threads(
        cores,
        intra_op or cores,
        inter_op or cores,
        topology.hardware_threads,
        topology.numa_nodes,
        most=intra_op or (cores if inter_op else logical),
        reason=f"{reason} {topology}",
    )
    environ[INTRA_OP], environ[INTER_OP] = str(threads.intra_op), str(threads.inter_op)
    log.info("TensorFlow computes in %d threads, %s", threads.intra_op, threads.reason)
    return threads


def _within_quota(cpus: int, kernel: cgroup.Kernel) -> int:
    quota = cgroup.quota_cores(kernel)
    return cpus if quota is None else min(cpus, math.ceil(quota))


def _siblings(cpu: int, system: Path) -> frozenset[int]:
    """Return the logical CPUs of the core of `cpu`; only itself where the kernel does not say."""
    folder = system / "cpu" / f"cpu{cpu}" / "topology"
    siblings = _numbers(_read(folder / "core_cpus_list") or _read(folder / "thread_siblings_list"))  # Linux before 5.3
    return siblings if cpu in siblings else frozenset({cpu})


def _numbers(text: str) -> frozenset[int]:
    """Return the numbers of one of the kernel's lists, such as "0-3,8"; nothing for what is none."""
    numbers: set[int] = set()
    for part in filter(None, text.split(",")):
        if not re.fullmatch(r"\d+(-\d+)?", part):
            return frozenset()
        first, _, last = part.partition("-")
        numbers.update(range(int(first), int(last or first) + 1))
    return frozenset(numbers)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeError):
        return ""


def _wanted(environ: MutableMapping[str, str], name: str) -> int:
    text = environ.get(name, "").strip()
    if text and not text.isdecimal():
        raise ConfigurationError(
            f"The environment variable {name} is {text!r}: write a number of threads, or leave it out."
        )
    return int(text or 0)
