"""Writes profiles as SageMaker's platform and smdebug write them, without this project's writers.

folder = write_profile(tmp_path, readings=[{"cpu": [90, 95]}] * 1200, steps=[0.3] * 200)
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

START = 1_600_000_020
"""Seconds since 1970: 2020-09-13 12:27 UTC, a whole minute."""
HOUR = "2020091312"

NAMES = {
    "cpu": ("cpu", "cpu{}", "CPUUtilization"),
    "io_wait": ("cpu", "cpu{}", "I/OWaitPercentage"),
    "gpu": ("gpu", "gpu{}", "GPUUtilization"),
    "gpu_memory": ("gpu", "gpu{}", "GPUMemoryUtilization"),
}

Reading = Mapping[str, Sequence[float]]
"""A key of NAMES -> a value for each core or GPU; `memory` -> one value."""


def write_profile(
    folder: Path,
    readings: Sequence[Reading] = (),
    steps: Sequence[float] = (),
    *,
    node: str = "algo-1",
    interval: float = 0.5,
    first_step_at: float = 10.0,
    mode: str = "TRAIN",
) -> Path:
    """Write readings an interval apart, and steps of these seconds one after the other."""
    minutes: dict[int, list[str]] = {}
    for number, reading in enumerate(readings):
        now = START + number * interval
        # The platform reads each kind by itself, milliseconds apart.
        written = minutes.setdefault(int(now // 60) * 60, [])
        written += [
            json.dumps(event | {"NodeId": node, "Timestamp": now + 0.001 * at}) for at, event in events(reading)
        ]
    for minute, lines in minutes.items():
        path = folder / "system" / "incremental" / HOUR / f"{minute}.{node}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines))
    if steps:
        write_steps(folder, steps, node=node, start=START + first_step_at, mode=mode)
    return folder


def events(reading: Reading) -> Iterable[tuple[int, dict[str, Any]]]:
    for at, (key, values) in enumerate(reading.items()):
        for number, value in enumerate(values):
            kind, name, dimension = NAMES.get(key, ("memory", "MemoryUsedPercent", ""))
            yield at, {"Type": kind, "Name": name.format(number), "Dimension": dimension, "Value": value}


def write_steps(folder: Path, steps: Sequence[float], *, node: str, start: float, mode: str) -> None:
    base = int(start * 1e6)
    rows: list[dict[str, Any]] = [
        {"name": "process_name", "ph": "M", "pid": 0, "args": {"start_time_since_epoch_in_micros": base}},
        {"name": "process_name", "ph": "M", "pid": 1, "args": {"name": f"Step:ModeKeys.{mode}"}},
    ]
    at = 0
    for number, seconds in enumerate(steps):
        arguments = {"pid": 7, "step_num": str(number)}
        duration = int(seconds * 1e6)
        rows.append(
            {"name": f"Step:ModeKeys.{mode}", "pid": 1, "ph": "X", "ts": at, "dur": duration, "args": arguments}
        )
        at += duration + 1000
    path = folder / "framework" / "pevents" / HOUR / f"{base + at}_7-{node}_pythontimeline.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows))
