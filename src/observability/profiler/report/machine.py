"""The section on the machine: cores, memory, disk and network over the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from observability.profiler.readings import Readings, Values
from observability.profiler.report import charts
from observability.profiler.report.charts import Axis
from observability.profiler.report.contents import Contents, while_training
from observability.profiler.report.html import figure, section
from observability.profiler.report.words import byte_unit, duration, percent, size

Column = tuple[str, str, str]
"""A column of the readings, its style and its name."""

MUCH = 0.2
"""Share of the cores that others may use without a word."""
LEAST_TRAFFIC = 10_000
"""Bytes a second; a chart of less would be an empty one."""
PERCENT = Axis(0, 100, [(0, "0 %"), (50, "50 %"), (100, "100 %")])
CPU: Sequence[Column] = [("cpu", "second", "machine"), ("container_cpu", "train", "this container")]
TRAFFIC: Mapping[str, Sequence[Column]] = {
    "Disk": [("read", "train", "read"), ("written", "between", "written")],
    "Network": [("received", "train", "received"), ("sent", "between", "sent")],
}


@dataclass(frozen=True)
class Panel:
    """One chart."""

    title: str
    columns: Sequence[Column]
    axis: Axis


def machine(contents: Contents) -> str:
    """Return the charts; nothing for a profile without system metrics."""
    readings = contents.node.readings
    if len(readings) < 2:
        return ""
    x = charts.time_axis(contents.seconds)
    spans = [
        (step.start - contents.start, step.start + step.seconds - contents.start)
        for step in contents.node.steps["EVAL"]
    ]
    ground = charts.bands(joined(spans, contents.seconds / 200), x, "ground")
    figures = "".join(_figure(panel, x, ground, contents) for panel in panels(readings))
    note = f"Read {len(readings):,} times, every {duration(float(np.median(np.diff(readings.times))))}."
    if spans:
        note += " Tinted: validation."
    if others := used_by_others(contents):
        note += f" Others used {percent(others)} of the machine's cores while this job trained."
    return section("Use of the machine", note, f'<div class="pair">{figures}</div>')


def used_by_others(contents: Contents) -> float:
    """Return what others used of the cores while training ran; 0 if that is little, or not known."""
    if not (contents.node.readings.has("cpu") and contents.node.readings.has("container_cpu")):
        return 0.0
    machine_cpu, own = (while_training(contents, column).mean() / 100 for column in ("cpu", "container_cpu"))
    share = float(machine_cpu - own)
    return share if share > MUCH else 0.0


def panels(readings: Readings) -> Iterator[Panel]:
    """Yield the charts that have something to show."""
    cpu = [column for column in CPU if readings.has(column[0])]
    if cpu:
        yield Panel("CPU", cpu, PERCENT)
    if readings.has("container_memory"):
        axis = _byte_axis(readings["container_memory"])
        yield Panel("Memory", [("container_memory", "train", "this container")], axis)
    elif readings.has("memory"):
        yield Panel("Memory", [("memory", "train", "machine")], PERCENT)
    for title, columns in TRAFFIC.items():
        values = np.concatenate([readings[column] for column, *_ in columns])
        if values[np.isfinite(values)].max(initial=0.0) >= LEAST_TRAFFIC:
            yield Panel(title, columns, _byte_axis(values, "/s"))


def joined(spans: Sequence[tuple[float, float]], gap: float) -> list[tuple[float, float]]:
    """Return spans with those made one that lie no further apart than `gap`."""
    found: list[tuple[float, float]] = []
    for low, high in spans:
        if found and low - found[-1][1] <= gap:
            found[-1] = (found[-1][0], high)
        else:
            found.append((low, high))
    return found


def _figure(panel: Panel, x: Axis, ground: str, contents: Contents) -> str:
    readings = contents.node.readings
    times = readings.times - contents.start
    marks, words = charts.grid(panel.axis) + ground, []
    for column, style, name in panel.columns:
        values = readings[column]
        marks += charts.line(times, values, x, panel.axis, style, filled=style == "train")
        there = values[np.isfinite(values)]
        words.append(f"{name}: mean {_value(column, there.mean())}, most {_value(column, there.max())}")
    chart = charts.svg(panel.title.lower(), panel.title, f"{'; '.join(words)}.", marks)
    keys = [(style, name) for _, style, name in panel.columns]
    return figure(panel.title, keys, charts.framed(chart, x, panel.axis))


def _value(column: str, value: float) -> str:
    if column in ("cpu", "container_cpu", "memory"):
        return f"{value:.0f} %"
    return size(value) + ("" if column == "container_memory" else "/s")


def _byte_axis(values: Values, per: str = "") -> Axis:
    most = max(float(np.nanmax(values)), 1.0)
    unit, name = byte_unit(most)
    return charts.axis(0, most / unit, 3, f"{{:g}} {name}{per}").scaled(unit)
