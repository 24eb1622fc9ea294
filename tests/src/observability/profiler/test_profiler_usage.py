"""The system's metrics, from folders that look like the kernel's."""

from __future__ import annotations

from pathlib import Path

import pytest

from observability.profiler import usage
from observability.profiler.usage import Counters, Metric
from star_rating.hardware.cgroup import Kernel

VERSION_2 = {
    "cpu.stat": "usage_usec {cpu}\nuser_usec 1",
    "memory.max": "4000000000",
    "memory.current": "3000000000",
    "memory.stat": "anon 1\nfile 1000000000",
    "io.stat": "8:0 rbytes={io} wbytes=2000 rios=10 wios=20\n8:16 rbytes=1 wbytes=1 rios=1 wios=1",
}
VERSION_1 = {
    "cpuacct/cpuacct.usage": "{cpu}000",
    "memory/memory.limit_in_bytes": "4000000000",
    "memory/memory.usage_in_bytes": "3000000000",
    "memory/memory.stat": "total_cache 1000000000",
    "blkio/blkio.throttle.io_service_bytes": "8:0 Read {io}\n8:0 Write 2000\n8:0 Total 9\nTotal 9",
    "blkio/blkio.throttle.io_serviced": "8:0 Read 11\n8:0 Write 21\nTotal 32",
}
GROUPS = {
    2: "0::/",
    1: "5:memory:/\n4:blkio:/\n3:cpu,cpuacct:/\n1:name=systemd:/",
    0: "",
}
PROC = {
    "stat": "cpu  1 1 1 1 1 1 1 1 0 0\ncpu0 {busy} 0 0 100 40 0 0 0 0 0\ncpu1 0 0 0 {idle} 0 0 0 0 0 0\nintr 1 0 0",
    "net/dev": "Inter-| Receive\n face |bytes\n    lo: 9 0 0 0 0 0 0 0 9 0 0 0 0 0 0 0\n"
    "  eth0: {io} 1 0 0 0 0 0 0 500 1 0 0 0 0 0 0",
    "self/io": "rchar: 9\nsyscr: 1\nsyscw: 2\nread_bytes: {io}\nwrite_bytes: 7",
}


def machine(folder: Path, version: int, **counts: int) -> Counters:
    """Read a machine of two cores and 8 GB with these counts."""
    written = {0: {}, 1: VERSION_1, 2: VERSION_2}[version]
    for root, files in ((folder / "cgroup", written), (folder / "proc", PROC)):
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.format(**counts) + "\n")
    (folder / "groups").write_text(GROUPS[version])
    (folder / "meminfo").write_text("MemTotal: 8000000 kB\nMemAvailable: 6000000 kB\n")
    return usage.read(folder / "proc", Kernel(folder / "groups", folder / "cgroup", folder / "meminfo"))


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    clock = iter((100.0, 102.0))
    monkeypatch.setattr("time.monotonic", lambda: next(clock))


@pytest.mark.usefixtures("two_cores")
@pytest.mark.parametrize("version", [0, 1, 2])
def test_what_was_used_in_two_seconds(tmp_path: Path, version: int) -> None:
    before = machine(tmp_path, version, busy=0, idle=0, cpu=1_000_000, io=1000)
    after = machine(tmp_path, version, busy=60, idle=100, cpu=4_000_000, io=5000)
    found = {(metric.name, metric.dimension): metric for metric in usage.metrics(before, after)}
    assert found["cpu0", "CPUUtilization"] == Metric("cpu", "cpu0", "CPUUtilization", 100.0)
    assert found["cpu1", "CPUUtilization"].value == 0.0
    assert found["cpu0", "I/OWaitPercentage"].value == 0.0
    assert found["ReceiveBytesPerSecond", "Algorithm"] == Metric("network", "ReceiveBytesPerSecond", "Algorithm", 2000)
    assert found["TransmitBytesPerSecond", "Algorithm"].value == 0.0
    assert found["ReadThroughputInBytesPerSecond", ""].value == 2000.0
    assert found["WriteThroughputInBytesPerSecond", ""].value == 0.0
    if version:
        # Three seconds of processor time in two of the clock, with two cores.
        assert found["container", "ContainerCPUUtilization"].value == 75.0
        assert found["ContainerMemoryUsedInBytes", ""].value == 2_000_000_000
        assert found["MemoryUsedPercent", ""].value == 50.0
    else:
        assert ("container", "ContainerCPUUtilization") not in found
        assert found["MemoryUsedPercent", ""].value == 25.0


@pytest.mark.usefixtures("two_cores")
def test_what_the_kernel_writes_later_counts_for_the_process(tmp_path: Path) -> None:
    before = machine(tmp_path, 1, busy=0, idle=0, cpu=0, io=0)
    path = tmp_path / "proc" / "self" / "io"
    path.write_text(path.read_text().replace("write_bytes: 7", "write_bytes: 8000"))
    after = usage.read(tmp_path / "proc", Kernel(tmp_path / "groups", tmp_path / "cgroup", tmp_path / "meminfo"))
    values = {metric.name: metric.value for metric in usage.metrics(before, after)}
    assert values["WriteThroughputInBytesPerSecond"] == 3000.0


@pytest.mark.usefixtures("two_cores")
def test_waiting_for_io_is_not_busy(tmp_path: Path) -> None:
    before = machine(tmp_path, 2, busy=0, idle=0, cpu=0, io=0)
    path = tmp_path / "proc" / "stat"
    path.write_text(path.read_text().replace("cpu0 0 0 0 100 40", "cpu0 10 0 0 130 100"))
    after = usage.read(tmp_path / "proc", Kernel(tmp_path / "groups", tmp_path / "cgroup", tmp_path / "meminfo"))
    values = {metric.dimension: metric.value for metric in usage.metrics(before, after) if metric.name == "cpu0"}
    assert values == {"CPUUtilization": 10.0, "I/OWaitPercentage": 60.0}


def test_this_machine_is_read() -> None:
    counters = usage.read()
    found = usage.metrics(counters, usage.read())
    assert all(0 <= metric.value <= 100 for metric in found if metric.type == "cpu")
    assert {metric.type for metric in found} >= {"memory", "network"}
