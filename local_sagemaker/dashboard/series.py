"""A job's log and metrics from its folder, piece by piece, so that a page that follows a job reads nothing twice.

new_lines(folder / "log", {"algo-1-1700000000": 1024})      # lines behind byte 1024, and the bytes to go on from
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local_sagemaker.docker_client.container_log import LogLine
from local_sagemaker.services.metrics import Value

_PIECE = 256 << 10
"""Bytes of a stream that are read at once; a page that opens a long log begins with its end."""

MOST_POINTS = 400
"""Points of a metric in a chart; a thousandth of its width is as good as none."""


def new_lines(folder: Path, positions: Mapping[str, int]) -> dict[str, Any]:
    """Return lines [time in seconds, host, text] of all streams in the order of time, and the new positions."""
    lines: list[tuple[LogLine, str]] = []
    after: dict[str, int] = {}
    skipped = False
    for path in sorted(folder.glob("*.jsonl")):
        start = positions.get(path.stem, -1)
        size = path.stat().st_size
        if start < 0 or start > size:
            start = max(0, size - _PIECE)
            skipped = skipped or start > 0
        read, after[path.stem] = _piece(path, start)
        host = "-".join(path.stem.split("-")[:2])
        lines += [(line, host) for line in read]
    lines.sort(key=lambda entry: entry[0].time)
    return {
        "lines": [[line.time / 1e9, host, line.text] for line, host in lines],
        "positions": after,
        "skipped": skipped,
    }


def charts(values: list[Value]) -> dict[str, list[list[float]]]:
    """Return the points [time, value] of each metric, at most MOST_POINTS; the last one is always there."""
    points: dict[str, list[list[float]]] = {}
    for value in values:
        points.setdefault(value.name, []).append([value.time, value.value])
    return {name: _thinned(series) for name, series in points.items()}


def _thinned(series: list[list[float]]) -> list[list[float]]:
    if len(series) <= MOST_POINTS:
        return series
    step = (len(series) - 1) / (MOST_POINTS - 1)
    return [series[round(number * step)] for number in range(MOST_POINTS)]


def _piece(path: Path, start: int) -> tuple[list[LogLine], int]:
    """Return the whole lines behind a byte, and the byte behind the last of them."""
    with path.open("rb") as file:
        file.seek(start)
        content = file.read(_PIECE)
        if b"\n" not in content:
            content += file.readline()  # a line may be longer than a piece
    end = content.rfind(b"\n") + 1
    lines = []
    for text in content[:end].splitlines():
        try:
            line = json.loads(text)
            lines.append(LogLine(line["t"], line["m"]))
        except (ValueError, KeyError, TypeError):
            continue  # the beginning of a piece may be the end of a line
    return lines, start + end
