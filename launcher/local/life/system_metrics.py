"""The profiler's system metrics while a job runs, written by the platform, as on SageMaker: not by the container.

metrics = SystemMetrics(containers, interval=0.5, folder=observed / "profiler", mirror=mirror)
metrics.start(); metrics.finish()
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from launcher.local.contract.system_metrics import file_name, metric_lines
from launcher.local.disks.synchronization import Mirror
from launcher.local.engine.container import Container

_SEND_EVERY = 5.0
"""Seconds between two looks at what has to go to S3."""


class SystemMetrics:
    """Reads the containers' cgroups, again and again, in a thread of its own."""

    def __init__(self, containers: Sequence[Container], interval: float, folder: Path, mirror: Mirror) -> None:
        self._containers = containers
        self._interval = interval
        self._folder = folder
        self._mirror = mirror
        self._before: dict[str, dict[str, Any]] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="system metrics", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def finish(self) -> None:
        """End; everything that was read is in S3."""
        self._ended.set()
        self._thread.join()
        self._mirror.synchronize()

    def _run(self) -> None:
        sent = time.monotonic()
        while not self._ended.wait(self._interval):
            for container in self._containers:
                self._read(container)
            if time.monotonic() - sent > _SEND_EVERY:
                self._mirror.synchronize()
                sent = time.monotonic()

    def _read(self, container: Container) -> None:
        after = container.statistics()
        before = self._before.get(container.host)
        self._before[container.host] = after
        lines = metric_lines(before, after, container.host) if before and after else []
        if lines:
            path = self._folder / file_name(container.host, lines[0]["Timestamp"])
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(line) + "\n" for line in lines)
