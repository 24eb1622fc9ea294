"""The profiler's system metrics while a job runs, written by the platform, as on SageMaker: not by the container.

    metrics = SystemMetrics(containers, interval=0.5, folder=observed / "profiler", mirror=mirror)
    metrics.start(); metrics.finish()

The engine reads a container's cgroup once a second at most, whatever shorter interval the request has.
"""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from local_sagemaker.container_contract.system_metrics import file_name, metric_lines, utilization
from local_sagemaker.docker_client.container import Container
from local_sagemaker.runner.job_runner import JobRunner
from local_sagemaker.services import metrics
from local_sagemaker.state_files import StorageError
from local_sagemaker.volumes.synchronization import Mirror, Synchronizer

_FIRST_INTERVAL, _INTERVAL = 1.0, 10.0
"""Seconds; SageMaker's is a minute, for which jobs here are too short."""


class SystemMetrics:
    """Reads the containers' cgroups, again and again, each in a thread of its own."""

    def __init__(self, containers: Sequence[Container], interval: float, folder: Path, mirror: Mirror) -> None:
        self._interval = interval
        self._folder = folder
        self._synchronizer = Synchronizer([mirror])
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._follow, args=(container,), name="system metrics", daemon=True)
            for container in containers
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()
        self._synchronizer.start()

    def finish(self) -> None:
        """End; everything that was read is in S3."""
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self._synchronizer.finish()

    def _follow(self, container: Container) -> None:
        before: dict[str, Any] = {}
        while not self._ended.wait(self._interval):
            after = container.statistics()
            lines = metric_lines(before, after, container.host)
            before = after
            if lines:
                path = self._folder / file_name(container.host, lines[0]["Timestamp"])
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("a", encoding="utf-8") as file:
                    file.writelines(json.dumps(line) + "\n" for line in lines)


class HostMetrics:
    """What CloudWatch says of a job's hosts while it runs: utilization of cores, memory and disk."""

    def __init__(self, runner: JobRunner, containers: Sequence[Container]) -> None:
        self._runner = runner
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._follow, args=(container,), name="host metrics", daemon=True)
            for container in containers
        ]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()  # an engine that does not answer holds up nothing but its thread

    def _follow(self, container: Container) -> None:
        job, path = self._runner.job, self._runner.folder / "host_metrics.jsonl"
        before, interval = container.statistics(), _FIRST_INTERVAL
        while not self._ended.wait(interval):
            after, interval = container.statistics(), _INTERVAL
            disk = shutil.disk_usage(self._runner.folder)
            values = [
                metrics.Value(name, value, time.time())
                for name, value in utilization(before, after, disk.used / disk.total).items()
            ]
            before = after
            if values:
                try:
                    metrics.keep_host_metrics(values, job.kind, f"{job.name}/{container.host}", job.region, path)
                except StorageError:
                    return  # the job itself says that the disk is full
