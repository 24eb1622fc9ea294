"""What the machine and this container use, in SageMaker's system metrics: cores, memory, I/O, network.

    before = read()
    ...
    metrics(before, read())         # [Metric("cpu", "cpu0", "CPUUtilization", 97.4), ...]

The kernel counts from its start; a metric is what was counted between two readings. Cores and their waiting for I/O
are the machine's, as on SageMaker, where a job has the machine to itself. What the container used of the cores, memory
and devices that it may use comes from its control group, of version 1 or 2.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from star_rating.hardware import cgroup

CONTAINER_CPU = "ContainerCPUUtilization"
"""Our own dimension, of Type cpu: what the container used, in per cent of the cores that it may use."""
CONTAINER_MEMORY = "ContainerMemoryUsedInBytes"
"""Our own name, of Type memory: without pages of files."""
MEMORY = "MemoryUsedPercent"

_PROC = Path("/proc")


@dataclass(frozen=True)
class Metric:
    """One value, under the names of SageMaker's files."""

    type: str
    name: str
    dimension: str
    value: float


@dataclass(frozen=True)
class Core:
    """What one core has done, in ticks of the kernel's clock."""

    busy: int
    waiting: int
    """Idle, while a process waits for I/O."""
    total: int


@dataclass(frozen=True)
class Devices:
    """What was read and written."""

    operations: int
    read_bytes: int
    written_bytes: int


@dataclass(frozen=True)
class Counters:
    """What the kernel has counted at one moment."""

    clock: float
    """Seconds, of a clock that nobody sets."""
    cores: Mapping[str, Core]
    container_cpu: float | None
    """Seconds; None where no control group counts them."""
    allowed_cores: float
    memory_percent: float
    container_memory: int | None
    """Bytes."""
    devices: Devices | None
    received_bytes: int
    sent_bytes: int


def read(proc: Path = _PROC, kernel: cgroup.Kernel = cgroup.KERNEL) -> Counters:
    """Read the kernel's counters."""
    used, limit = cgroup.used_memory(kernel) or (None, 0)
    received, sent = _network(proc)
    affinity = os.sched_getaffinity(0)
    return Counters(
        clock=time.monotonic(),
        cores={name: core for name, core in _cores(proc) if int(name[3:]) in affinity},
        container_cpu=_container_cpu(kernel),
        allowed_cores=min(len(affinity), _quota_cores(kernel) or len(affinity)),
        memory_percent=_memory_percent(used, limit, kernel),
        container_memory=used,
        devices=_devices(proc, kernel),
        received_bytes=received,
        sent_bytes=sent,
    )


def metrics(before: Counters, after: Counters) -> list[Metric]:
    """Return the metrics of the time between two readings."""
    seconds = max(after.clock - before.clock, 1e-3)
    found = []
    for name, core in after.cores.items():
        if name in before.cores and (total := core.total - before.cores[name].total) > 0:
            busy, waiting = core.busy - before.cores[name].busy, core.waiting - before.cores[name].waiting
            found.append(Metric("cpu", name, "CPUUtilization", _percent(busy / total)))
            found.append(Metric("cpu", name, "I/OWaitPercentage", _percent(waiting / total)))
    if before.container_cpu is not None and after.container_cpu is not None:
        share = (after.container_cpu - before.container_cpu) / (seconds * after.allowed_cores)
        found.append(Metric("cpu", "container", CONTAINER_CPU, _percent(share)))
    found.append(Metric("memory", MEMORY, "", _percent(after.memory_percent / 100)))
    if after.container_memory is not None:
        found.append(Metric("memory", CONTAINER_MEMORY, "", after.container_memory))
    if before.devices and after.devices:
        found += [
            Metric("i/o", name, "", _rate(late - early, seconds))
            for name, early, late in (
                ("IOPS", before.devices.operations, after.devices.operations),
                ("ReadThroughputInBytesPerSecond", before.devices.read_bytes, after.devices.read_bytes),
                ("WriteThroughputInBytesPerSecond", before.devices.written_bytes, after.devices.written_bytes),
            )
        ]
    for name, early, late in (
        ("ReceiveBytesPerSecond", before.received_bytes, after.received_bytes),
        ("TransmitBytesPerSecond", before.sent_bytes, after.sent_bytes),
    ):
        found.append(Metric("network", name, "Algorithm", _rate(late - early, seconds)))
    return found


@cache
def _quota_cores(kernel: cgroup.Kernel) -> float | None:
    """Return the quota at the first reading: it takes longer to read than all else, and stays as it is."""
    return cgroup.quota_cores(kernel)


def _percent(share: float) -> float:
    """Return per cent; readings of different files are not of the same instant, hence the limits."""
    return round(min(max(share, 0.0), 1.0) * 100, 2)


def _rate(difference: float, seconds: float) -> float:
    return round(max(difference, 0.0) / seconds, 2)


def _cores(proc: Path) -> Iterator[tuple[str, Core]]:
    """Yield the machine's cores (Documentation/filesystems/proc.rst, 1.7: user nice system idle iowait irq ...)."""
    for line in _lines(proc / "stat"):
        name, *ticks = line.split()
        if name.startswith("cpu") and name != "cpu" and len(ticks) >= 8:
            # What follows the first eight, a guest's time, is part of user and nice.
            counted = [int(tick) for tick in ticks[:8]]
            idle, waiting = counted[3], counted[4]
            yield name, Core(sum(counted) - idle - waiting, waiting, sum(counted))


def _container_cpu(kernel: cgroup.Kernel) -> float | None:
    version_2 = dict(line.split(" ", 1) for line in cgroup.read("cpu", "cpu.stat", kernel).splitlines())
    if "usage_usec" in version_2:
        return int(version_2["usage_usec"]) / 1e6
    version_1 = cgroup.read("cpuacct", "cpuacct.usage", kernel)
    return int(version_1) / 1e9 if version_1.isdecimal() else None


def _memory_percent(used: int | None, limit: int, kernel: cgroup.Kernel) -> float:
    """Return what is taken of the machine's memory, or of the container's limit if more of that is."""
    total = cgroup.total_memory(kernel)
    machine = (total - cgroup.available_memory(kernel)) / total
    return 100 * (machine if used is None else max(machine, used / limit))


def _devices(proc: Path, kernel: cgroup.Kernel) -> Devices | None:
    """Return the block I/O of the control group, or of this process where more was counted for that.

    Version 1 does not count what the kernel writes later for a group, which is most of what is written.
    """
    group, own = _group_devices(kernel), _own_devices(proc)
    if group is None or own is None:
        return group or own
    read_bytes, written = max(group.read_bytes, own.read_bytes), max(group.written_bytes, own.written_bytes)
    return Devices(group.operations, read_bytes, written)


def _group_devices(kernel: cgroup.Kernel) -> Devices | None:
    version_2 = [
        dict(field.split("=", 1) for field in line.split()[1:] if "=" in field)
        for line in cgroup.read("io", "io.stat", kernel).splitlines()
    ]
    if version_2:
        operations, read_bytes, written = (
            sum(int(device.get(name, 0)) for device in version_2 for name in names)
            for names in (("rios", "wios"), ("rbytes",), ("wbytes",))
        )
        return Devices(operations, read_bytes, written)
    served = cgroup.read("blkio", "blkio.throttle.io_service_bytes", kernel)
    if not served:
        return None
    operations = _sum(cgroup.read("blkio", "blkio.throttle.io_serviced", kernel), "Read", "Write")
    return Devices(operations, _sum(served, "Read"), _sum(served, "Write"))


def _own_devices(proc: Path) -> Devices | None:
    own = dict(line.split(": ", 1) for line in _lines(proc / "self" / "io"))
    if {"syscr", "syscw", "read_bytes", "write_bytes"} <= own.keys():
        return Devices(int(own["syscr"]) + int(own["syscw"]), int(own["read_bytes"]), int(own["write_bytes"]))
    return None


def _sum(text: str, *kinds: str) -> int:
    """Add version 1's lines `<major>:<minor> <kind> <number>`."""
    fields = (line.split() for line in text.splitlines())
    return sum(int(field[2]) for field in fields if len(field) == 3 and field[1] in kinds)


def _network(proc: Path) -> tuple[int, int]:
    """Return the bytes that came in and went out through everything but the loopback: a container has its own."""
    received = sent = 0
    for line in _lines(proc / "net" / "dev")[2:]:
        name, _, counts = line.partition(":")
        if name.strip() != "lo":
            fields = counts.split()
            received, sent = received + int(fields[0]), sent + int(fields[8])
    return received, sent


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
