"""The containers' output, line by line: to CloudWatch Logs, and through the metric expressions into the document.

following = Following(life, containers, metrics)
following.start()           # each container's end comes as HostEnded, when its last line has been written
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence

from launcher.local.document import MetricSummary
from launcher.local.engine.container import Container
from launcher.local.files import StorageError
from launcher.local.life.job_life import JobLife
from launcher.local.life.messages import Broken, HostEnded
from launcher.local.services.logs import GROUPS, LogLine, LogStream

_MOST = 5_000
"""Lines that are written at once."""

_log = logging.getLogger(__name__)

Entry = tuple[str, LogLine | None]
"""A host's line; None: there are no more."""


class Following:
    """Follows the containers of one attempt. What comes while lines are being written is written with the next."""

    def __init__(
        self,
        life: JobLife,
        containers: Sequence[Container],
        epoch: int,
        metrics: Callable[[Sequence[LogLine], dict[str, MetricSummary]], dict[str, MetricSummary]] | None = None,
    ) -> None:
        self._life = life
        self._containers = containers
        self._metrics = metrics
        self._entries: queue.Queue[Entry] = queue.Queue(maxsize=10 * _MOST)
        group, region = GROUPS[life.kind], life.job.region
        self._streams = {
            container.host: LogStream(group, region, f"{life.name}/{container.host}-{epoch}", life.folder / "log")
            for container in containers
        }

    def start(self) -> None:
        """Begin to follow."""
        for container in self._containers:
            name = f"log of {self._life.name} {container.host}"
            threading.Thread(target=self._read, args=(container,), name=name, daemon=True).start()
        threading.Thread(target=self._write, name=f"log of {self._life.name}", daemon=True).start()

    def _read(self, container: Container) -> None:
        try:
            for line in container.lines(after=self._streams[container.host].last_time):
                self._entries.put((container.host, line))
        finally:
            self._entries.put((container.host, None))

    def _write(self) -> None:
        open_hosts, is_kept = set(self._streams), True
        while open_hosts:
            lines: dict[str, list[LogLine]] = defaultdict(list)
            ended = []
            for host, line in self._next_entries():
                if line is None:
                    ended.append(host)
                else:
                    lines[host].append(line)
            if is_kept:  # else what still comes is read and dropped, so that the containers' ends are seen
                is_kept = self._keep(lines)
            for host in ended:
                open_hosts.discard(host)
                self._life.send(HostEnded(host))

    def _keep(self, lines: dict[str, list[LogLine]]) -> bool:
        """Write lines and their metrics; if that cannot be, say so to the job."""
        try:
            for host, of_host in lines.items():
                self._streams[host].write(of_host)
            self._read_metrics([line for of_host in lines.values() for line in of_host])
        except StorageError as error:
            self._life.send(Broken(f"The log cannot be kept. {error}"))
        except Exception as error:  # noqa: BLE001 - a defect ends this job, and the server goes on
            _log.exception("the log of %s", self._life.name)
            self._life.send(Broken(f"The log cannot be kept: {error!r}"))
        else:
            return True
        return False

    def _next_entries(self) -> list[Entry]:
        entries = [self._entries.get()]
        while len(entries) < _MOST:
            try:
                entries.append(self._entries.get_nowait())
            except queue.Empty:
                break
        return entries

    def _read_metrics(self, lines: Sequence[LogLine]) -> None:
        if self._metrics is None or not lines:
            return
        changed = self._metrics(lines, self._life.job.metrics)
        if changed:
            self._life.change(lambda job: job.changed(metrics=job.metrics | changed))
