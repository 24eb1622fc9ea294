"""Reads a profile from SageMaker's files, whoever wrote them: the platform, smdebug or this image.

    profile = Profile(Path("profiler-output"))
    profile.refresh()                              # again, as long as the job writes
    node = profile.nodes["algo-1"]
    node.readings["cpu"], node.steps["TRAIN"]

A file is read once, and on from where its reading ended if it has grown. What is damaged is left out.
"""

from __future__ import annotations

import json
import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from observability.profiler.layout import MICROSECONDS, SYSTEM, TIMELINE, TIMELINE_SUFFIX
from observability.profiler.readings import Readings
from observability.profiler.timeline import FIRST, STEP, Step

log = logging.getLogger(__name__)

_PROCESS = re.compile(r"\d+_(?:\d+-)?(?P<node>.+)" + re.escape(TIMELINE_SUFFIX))


@dataclass
class Node:
    """One host's profile."""

    readings: Readings = field(default_factory=Readings)
    steps: dict[str, list[Step]] = field(default_factory=lambda: defaultdict(list))
    """Mode -> its steps, in time's order."""


class Profile:
    """The profile in one or more folders; several are read as if they were one."""

    def __init__(self, *folders: Path) -> None:
        self.folders = folders
        self.nodes: dict[str, Node] = defaultdict(Node)
        self._read_bytes: dict[Path, int] = {}
        self._damaged: set[Path] = set()

    def refresh(self) -> None:
        """Read what is new."""
        for folder in self.folders:
            for path in sorted((folder / SYSTEM).glob("*/*.json")):
                self._guard(path, self._read_system_metrics)
            for path in sorted((folder / TIMELINE).glob(f"*/*{TIMELINE_SUFFIX}")):
                if path not in self._read_bytes:
                    self._read_bytes[path] = 0
                    self._guard(path, self._read_timeline)
        for node in self.nodes.values():
            node.readings.end_row()

    def _guard(self, path: Path, read: Callable[[Path], None]) -> None:
        """Read a file; leave out what cannot be read, and say so once."""
        try:
            read(path)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            if path not in self._damaged:
                self._damaged.add(path)
                log.warning("profiler: %s is damaged, and left out: %s: %s", path, type(error).__name__, error)

    def _read_system_metrics(self, path: Path) -> None:
        if path.stat().st_size == self._read_bytes.setdefault(path, 0):
            return
        with path.open("rb") as file:
            file.seek(self._read_bytes[path])
            for line in file:
                if not line.endswith(b"\n"):  # its rest is still to come
                    break
                self._read_bytes[path] += len(line)
                event = json.loads(line)
                self.nodes[str(event["NodeId"])].readings.add(event)

    def _read_timeline(self, path: Path) -> None:
        match = _PROCESS.fullmatch(path.name)
        if match is None:
            return
        node = self.nodes[match["node"]]
        for step in timeline_steps(json.loads(path.read_text(encoding="utf-8"))):
            node.steps[step.mode].append(step)


def timeline_steps(events: list[Mapping[str, Any]]) -> Iterator[Step]:
    """Yield the steps among a timeline's trace events."""
    start = 0.0
    for event in events:
        arguments = event.get("args") or {}
        if "start_time_since_epoch_in_micros" in arguments:
            start = float(arguments["start_time_since_epoch_in_micros"])
        name = str(event.get("name"))
        if event.get("ph") == "X" and name.startswith(STEP):
            number = int(arguments["step_num"])
            yield Step(
                mode=name.removeprefix(STEP),
                number=number,
                start=(start + float(event["ts"])) / MICROSECONDS,
                seconds=float(event["dur"]) / MICROSECONDS,
                first=bool(arguments.get(FIRST, number == 0)),
            )


@cache
def profile_of(folder: Path) -> Profile:
    """Return the profile in a folder, one object for all who ask: each file is read once."""
    return Profile(folder)
