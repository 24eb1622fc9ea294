"""What a container uses, in the lines of SageMaker's profiler: from two readings of its cgroup by the engine.

    metric_lines(before, after, "algo-1")
    # [{"Type": "cpu", "Name": "cpu0", "Dimension": "CPUUtilization", "Value": 97.4, "NodeId": "algo-1", ...}]

The engine's statistics (Docker's GET /containers/ID/stats) are the same for control groups of version 1 and 2, but that
version 2 has no usage by core: there each core is given the mean of all.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterable
from typing import Any

Statistics = dict[str, Any]


def metric_lines(before: Statistics, after: Statistics, node: str) -> list[dict[str, Any]]:
    """Return the lines of the time between two readings; none where the container was not running."""
    if not all(reading.get("cpu_stats", {}).get("system_cpu_usage") for reading in (before, after)):
        return []
    timestamp = _time(after)
    seconds = max(timestamp - _time(before), 1e-3)
    values = [*_cores(before, after, seconds), *_memory(after), *_devices(before, after, seconds)]
    values += _network(before, after, seconds)
    return [
        {
            "Type": kind,
            "Name": name,
            "Dimension": dimension,
            "Value": round(value, 2),
            "NodeId": node,
            "Timestamp": timestamp,
        }
        for kind, name, dimension, value in values
    ]


def utilization(before: Statistics, after: Statistics, disk: float) -> dict[str, float]:
    """Return CloudWatch's per cent of a host between two readings; a core is 100, `disk` is a share."""
    if not all(reading.get("cpu_stats", {}).get("system_cpu_usage") for reading in (before, after)):
        return {}
    seconds = max(_time(after) - _time(before), 1e-3)
    cores = after["cpu_stats"]["cpu_usage"]["total_usage"] - before["cpu_stats"]["cpu_usage"]["total_usage"]
    memory = {name: value for _, name, _, value in _memory(after)}
    return {
        "CPUUtilization": max(cores, 0) / 1e9 / seconds * 100,
        **({"MemoryUtilization": memory["MemoryUsedPercent"]} if memory else {}),
        "DiskUtilization": _percent(disk),
    }


def file_name(node: str, now: float) -> str:
    """Return where lines go below profiler-output: system/incremental/<hour>/<minute>.<node>.json."""
    hour = time.strftime("%Y%m%d%H", time.gmtime(now))
    return f"system/incremental/{hour}/{int(now // 60) * 60}.{node}.json"


Value = tuple[str, str, str, float]


def _cores(before: Statistics, after: Statistics, seconds: float) -> list[Value]:
    early, late = before["cpu_stats"]["cpu_usage"], after["cpu_stats"]["cpu_usage"]
    number = after["cpu_stats"].get("online_cpus") or len(late.get("percpu_usage") or ()) or 1
    mean = _percent((late["total_usage"] - early["total_usage"]) / 1e9 / seconds / number)
    shares = [mean] * number
    if len(late.get("percpu_usage") or ()) >= number <= len(early.get("percpu_usage") or ()):
        pairs = zip(early["percpu_usage"], late["percpu_usage"], strict=False)
        shares = [_percent((last - first) / 1e9 / seconds) for first, last in pairs][:number]
    cores = [("cpu", f"cpu{core}", "CPUUtilization", share) for core, share in enumerate(shares)]
    return [*cores, ("cpu", "container", "ContainerCPUUtilization", mean)]


def _memory(after: Statistics) -> list[Value]:
    memory = after.get("memory_stats", {})
    if not memory.get("limit"):
        return []
    files = memory.get("stats", {})
    used = memory["usage"] - files.get("total_inactive_file", files.get("inactive_file", 0))
    return [
        ("memory", "MemoryUsedPercent", "", _percent(used / memory["limit"])),
        ("memory", "ContainerMemoryUsedInBytes", "", used),
    ]


def _devices(before: Statistics, after: Statistics, seconds: float) -> list[Value]:
    def rate(field: str, *kinds: str) -> float:
        early, late = (_sum(reading.get("blkio_stats", {}).get(field), kinds) for reading in (before, after))
        return max(late - early, 0) / seconds

    return [
        ("i/o", "IOPS", "", rate("io_serviced_recursive", "read", "write")),
        ("i/o", "ReadThroughputInBytesPerSecond", "", rate("io_service_bytes_recursive", "read")),
        ("i/o", "WriteThroughputInBytesPerSecond", "", rate("io_service_bytes_recursive", "write")),
    ]


def _network(before: Statistics, after: Statistics, seconds: float) -> list[Value]:
    def rate(field: str) -> float:
        early, late = (
            sum(interface[field] for interface in reading.get("networks", {}).values()) for reading in (before, after)
        )
        return float(max(late - early, 0)) / seconds

    return [
        ("network", "ReceiveBytesPerSecond", "Algorithm", rate("rx_bytes")),
        ("network", "TransmitBytesPerSecond", "Algorithm", rate("tx_bytes")),
    ]


def _sum(entries: Iterable[dict[str, Any]] | None, kinds: tuple[str, ...]) -> int:
    return sum(entry["value"] for entry in entries or () if entry["op"].lower() in kinds)


def _percent(share: float) -> float:
    return min(max(share, 0.0), 1.0) * 100


def _time(reading: Statistics) -> float:
    """Return when the engine read: `2026-11-24T22:18:24.182934323Z`, to the microsecond."""
    seconds, _, fraction = reading["read"].rstrip("Z").partition(".")
    moment = dt.datetime.fromisoformat(seconds).replace(tzinfo=dt.UTC)
    return moment.timestamp() + float(f"0.{fraction[:6] or 0}")
