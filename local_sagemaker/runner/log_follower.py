"""The containers' output, line by line: to CloudWatch Logs, and through the metric expressions into the document.

    follower = LogFollower(runner, containers, epoch, metrics, adopted=False)
    follower.start()           # each container's end comes as HostEnded, when its last line has been written

A log is complete because it is read twice. While a container runs, the engine sends lines as they come; it may stop
early, and a server may be killed meanwhile. When the container has ended, its whole log is read once more: what is kept
has to be its beginning, and the rest is added. If it is not, the log is written anew.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import islice

from local_sagemaker.docker_client.container import PATIENCE, Container, ContainerGoneError, EngineGoneError
from local_sagemaker.docker_client.container_log import LogLine
from local_sagemaker.errors import EmulatorError
from local_sagemaker.runner.job_runner import JobRunner
from local_sagemaker.runner.messages import Broken, HostEnded
from local_sagemaker.services.logs import GROUPS, Kept, LogStream
from local_sagemaker.services.metrics import Found, JobMetrics

_log = logging.getLogger(__name__)

_MOST = 5_000
_MOST_CHARACTERS = 8_000_000
"""Of lines that are written at once."""

_BETWEEN_READINGS = 0.2
"""Seconds until a log that the engine has ended early is asked for again."""


class _Mark(Enum):
    ANEW = auto()
    """What is kept of the host's log is not its beginning: it comes once more, from the first line."""
    END = auto()


Entry = tuple[str, LogLine | _Mark]
"""A host's line, or what is to be done about its log."""


@dataclass
class LogReader:
    """Reads one container's log; a thread's work."""

    container: Container
    kept: Kept

    def entries(self) -> Iterator[LogLine | _Mark]:
        """Yield every line behind those that are kept, until the container has ended; raise ContainerGoneError."""
        give_up: float | None = None
        is_complete = False
        while not is_complete and (give_up is None or time.monotonic() < give_up):
            try:
                yield from self._live()
                if self.container.is_running:
                    give_up = None
                    time.sleep(_BETWEEN_READINGS)
                else:
                    self.container.exit()  # its log is complete only now
                    yield from self._rest()
                    is_complete = True
            except EngineGoneError:
                give_up = give_up or time.monotonic() + PATIENCE
                time.sleep(_BETWEEN_READINGS)

    def _live(self) -> Iterator[LogLine]:
        """Yield the lines behind those that are kept, as they come."""
        for line in islice(self.container.follow(), self.kept.lines, None):
            self.kept.add(line)
            yield line

    def _rest(self) -> Iterator[LogLine | _Mark]:
        """Yield what is missing of the whole log, or all of it, if what is kept is not its beginning."""
        begun = Kept()
        lines = self.container.log()
        for line in islice(lines, self.kept.lines):
            begun.add(line)
        if begun != self.kept:
            yield _Mark.ANEW
            self.kept, lines = Kept(), self.container.log()
        for line in lines:
            self.kept.add(line)
            yield line


class LogFollower:
    """Follows the containers of one attempt. What comes while lines are being written is written with the next."""

    def __init__(
        self,
        runner: JobRunner,
        containers: Sequence[Container],
        epoch: int,
        metrics: JobMetrics | None = None,
        *,
        adopted: bool,
    ) -> None:
        self._runner = runner
        self._containers = containers
        self._metrics = metrics
        self._entries: queue.Queue[Entry] = queue.Queue(maxsize=10 * _MOST)
        self._folder = runner.folder / "log"
        group, region = GROUPS[runner.kind], runner.job.region
        epochs = {container.host: epoch for container in containers}
        if adopted:
            epochs = {host: self._latest(host, epoch) for host in epochs}
        self._streams, self._kept = self._open(group, region, epochs)
        while not adopted and any(kept.lines for kept in self._kept.values()):  # of an attempt within the same second
            epochs = {host: number + 1 for host, number in epochs.items()}
            self._streams, self._kept = self._open(group, region, epochs)
        self._read_again = any(kept.lines for kept in self._kept.values())
        """Whether the metrics of what is kept are not certain to be: a server may have been killed in between."""

    def start(self) -> None:
        """Begin to follow."""
        for container in self._containers:
            name = f"log of {self._runner.name} {container.host}"
            threading.Thread(target=self._read, args=(container,), name=name, daemon=True).start()
        threading.Thread(target=self._write, name=f"log of {self._runner.name}", daemon=True).start()

    def _open(self, group: str, region: str, epochs: dict[str, int]) -> tuple[dict[str, LogStream], dict[str, Kept]]:
        """Return each host's stream, and what it has of the container's log."""
        streams = {
            host: LogStream(group, region, f"{self._runner.name}/{host}-{epoch}", self._folder)
            for host, epoch in epochs.items()
        }
        return streams, {host: stream.kept() for host, stream in streams.items()}

    def _latest(self, host: str, epoch: int) -> int:
        """Return the number of the stream that another server has begun for a host in this attempt."""
        found = [path.stem.rpartition("-")[2] for path in self._folder.glob(f"{host}-*.jsonl")]
        return max((int(number) for number in found if number.isdecimal() and int(number) >= epoch), default=epoch)

    def _read(self, container: Container) -> None:
        host = container.host
        try:
            for entry in LogReader(container, self._kept[host]).entries():
                self._entries.put((host, entry))
        except ContainerGoneError:
            pass  # whoever asks for its exit learns it
        except Exception:  # noqa: BLE001 - its end is waited for
            _log.exception("the log of %s %s", self._runner.name, host)
        finally:
            self._entries.put((host, _Mark.END))

    def _write(self) -> None:
        open_hosts, is_broken = set(self._streams), False
        while open_hosts:
            entries = self._next_entries()
            if not is_broken:
                try:
                    self._keep(entries)
                except Exception as error:  # noqa: BLE001 - ends this job
                    is_broken = True
                    self._break(error)
            for host in [host for host, entry in entries if entry is _Mark.END]:
                open_hosts.discard(host)
                self._runner.send(HostEnded(host))
        if self._metrics is not None:
            self._metrics.close()

    def _break(self, error: Exception) -> None:
        """End the job whose log cannot be kept: a full disk, say. What still comes is thrown away."""
        if isinstance(error, EmulatorError):
            reason = str(error)
        else:
            _log.exception("the log of %s", self._runner.name)
            reason = f"A defect of the local SageMaker, whose log has more: {error!r}"
        self._runner.send(Broken(f"The log cannot be kept. {reason}"))

    def _next_entries(self) -> list[Entry]:
        entries = [self._entries.get()]
        characters = 0
        while len(entries) < _MOST and characters < _MOST_CHARACTERS:
            try:
                entries.append(entry := self._entries.get_nowait())
            except queue.Empty:
                break
            characters += len(entry[1].text) if isinstance(entry[1], LogLine) else 0
        return entries

    def _keep(self, entries: Sequence[Entry]) -> None:
        """Write lines, and read the metrics in them; raise StorageError."""
        lines: dict[str, list[LogLine]] = defaultdict(list)
        for host, entry in entries:
            if isinstance(entry, LogLine):
                lines[host].append(entry)
            elif entry is _Mark.ANEW:
                lines[host].clear()
                self._streams[host].clear()
                self._read_again = True
        written = {host: of_host for host, of_host in lines.items() if of_host}
        for host, of_host in written.items():
            self._streams[host].write(of_host)
        if self._metrics is not None:
            self._read_metrics(self._metrics, written)

    def _read_metrics(self, metrics: JobMetrics, lines: dict[str, list[LogLine]]) -> None:
        if self._read_again:
            self._read_again = False
            found = metrics.read_again(sorted(self._folder.glob("*.jsonl")))
            self._runner.change(lambda job: job.changed(metrics=found.summaries))
            self._note(next(iter(self._streams)), found, [])
            return
        for host, of_host in lines.items():
            found = metrics.read(of_host, self._runner.job.metrics)
            if found.summaries:
                changed = found.summaries
                self._runner.change(lambda job, changed=changed: job.changed(metrics=job.metrics | changed))  # type: ignore[misc]
            self._note(host, found, of_host)

    def _note(self, host: str, found: Found, lines: Sequence[LogLine]) -> None:
        moment = lines[-1].time if lines else time.time_ns()
        notes = [LogLine(moment, f"[local SageMaker] {note}", is_note=True) for note in found.notes]
        if notes:
            self._streams[host].write(notes)
