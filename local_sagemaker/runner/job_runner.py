"""What the runners of training and of Processing jobs have in common: an inbox, a state, an end whatever happens."""

from __future__ import annotations

import errno
import logging
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from local_sagemaker.container_contract.outcome import INTERNAL_ERROR, LONGEST_REASON, STOPPED, failed
from local_sagemaker.docker_client.container import ContainerGoneError, EngineGoneError
from local_sagemaker.docker_client.container_log import LogLine
from local_sagemaker.docker_client.container_request import HostLimits
from local_sagemaker.docker_client.engine import Engine, EngineError
from local_sagemaker.fault_injection import FaultInjector
from local_sagemaker.job_service import JobService
from local_sagemaker.job_state import Job, Kind, Outcome
from local_sagemaker.runner.messages import Message, Shutdown, Stop
from local_sagemaker.services.logs import GROUPS, LogStream
from local_sagemaker.services.s3_store import ObjectStore
from local_sagemaker.state_files import FULL, StorageError, is_full, storage_error
from local_sagemaker.volumes import safe_files

_DISK = "No space left on device"

_log = logging.getLogger(__name__)

_MOST_NOTES = 100
"""Lines of the platform's own in a job's log; a container may leave a million FIFOs."""

_VOLUME_GB = 30
"""Of instance groups that name none."""


class ShutdownError(Exception):
    """The server ends while the job runs."""


@dataclass(frozen=True)
class RuntimeContext:
    """What every job runner works with: the services of one server."""

    jobs: JobService
    objects: ObjectStore
    engine: Engine
    faults: FaultInjector
    limits: HostLimits = field(default_factory=HostLimits)
    stop_seconds: float = 120.0
    """Between SIGTERM and SIGKILL."""


class JobRunner(ABC):
    """Runs one job: `run` is its thread, `send` may be called from any other."""

    kind: ClassVar[Kind]

    def __init__(self, context: RuntimeContext, name: str, region: str) -> None:
        self.context = context
        self.name = name
        self.region = region
        self.folder = context.jobs.store.folder(self.kind, name, region)
        self.inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self.cancelled = threading.Event()
        """Set when what happens before the containers run is not to go on."""
        self.shutting_down = threading.Event()
        """Set when the server ends."""
        self._noting = threading.Lock()
        self._notes = 0
        self.has_leftovers = False
        """Whether something of it is still on the engine."""
        self._began = time.monotonic()
        self._age = 0.0
        self._stopping_since: float | None = None
        self._running_from: float | None = None

    @property
    def job(self) -> Job:
        """The document as it is now."""
        return self.context.jobs.get(self.kind, self.name, self.region)

    def send(self, message: Message) -> None:
        """Tell the job something."""
        if isinstance(message, Shutdown):
            self.shutting_down.set()
        if isinstance(message, Stop | Shutdown):
            self.cancelled.set()
        self.inbox.put(message)

    def change(self, change: Callable[[Job], Job]) -> Job:
        """Change the document."""
        return self.context.jobs.change(self.kind, self.name, change, self.region)

    def enter(self, secondary_status: str, message: str, **changes: object) -> Job:
        """Enter a secondary status; a job that is being stopped keeps its primary one."""
        return self.change(lambda job: job.entered(secondary_status, message, time.time(), **changes))

    def selection(self, host: str) -> safe_files.Selection:
        """Return which of a host's files are sent: none larger than its volume; its log says what is left out."""
        request = self.job.request
        resources = request.get("ResourceConfig") or request.get("ProcessingResources", {}).get("ClusterConfig", {})
        return safe_files.Selection(
            int(resources.get("VolumeSizeInGB") or _VOLUME_GB) << 30,
            lambda path, reason: self.note(host, f"{safe_files.shown(path) or 'the folder'} {reason}: it is left out"),
        )

    def note(self, host: str, text: str) -> None:
        """Write a line of the platform's own into a host's log."""
        with self._noting:
            self._notes += 1
            if self._notes > _MOST_NOTES:
                return
            if self._notes == _MOST_NOTES:
                text = "there is more of this kind"
            _log.warning("%s job %s %s: %s", self.kind, self.name, host, text)
            streams = sorted((self.folder / "log").glob(f"{host}-*.jsonl"), key=lambda path: path.stat().st_mtime)
            name = streams[-1].stem if streams else f"{host}-{int(self.job.running_since or time.time())}"
            stream = LogStream(GROUPS[self.kind], self.region, f"{self.name}/{name}", self.folder / "log")
            stream.write([LogLine(time.time_ns(), f"[local SageMaker] {text}", is_note=True)])

    def begin_running(self, change: Callable[[Job, float], Job]) -> None:
        """Note that an attempt's hosts are there from now on, with another change of the document at that moment."""
        self._running_from, now = time.monotonic(), time.time()
        self.change(lambda job: change(job.changed(running_since=now, start_time=job.start_time or now), now))

    def age(self) -> float:
        """Return the seconds since the job's creation, whatever becomes of the wall clock meanwhile."""
        return self._age + time.monotonic() - self._began

    def running_seconds(self) -> float:
        """Return for how long this attempt's hosts have been there."""
        if self._running_from is not None:
            return time.monotonic() - self._running_from
        since = self.job.running_since  # they were there before this server was
        return 0.0 if since is None else max(0.0, time.time() - since)

    def stop_seconds(self) -> float:
        """Return the seconds between SIGTERM and SIGKILL; for a stop before this server was, what is left of them."""
        longest = self.context.stop_seconds
        if self._stopping_since is None:
            return longest
        return min(longest, max(0.0, self._stopping_since + longest - time.time()))

    def run(self) -> None:
        """Run the job to its end, and leave nothing on the engine and on the disk."""
        job = self.job
        self._age = max(0.0, time.time() - job.creation_time)
        self._stopping_since = next((t.start_time for t in reversed(job.transitions) if t.status == "Stopping"), None)
        if job.stop_requested:  # while it waited for its turn, or of a server that was killed
            self.send(Stop())
        if not job.has_ended:
            outcome = self._named_disk(self._outcome())
            self._clean_up()
            self._finish(outcome)
        try:
            self._after_the_end()
        except Exception:  # noqa: BLE001 - it has ended as it has
            _log.exception("after the end of the %s job %s", self.kind, self.name)

    @abstractmethod
    def execute(self) -> Outcome:
        """Run the job and bring its results to S3; return how it ends."""

    def _outcome(self) -> Outcome:
        try:
            return self.execute()
        except ShutdownError:
            return failed(INTERNAL_ERROR, "The local SageMaker was stopped while the job ran.")
        except (EngineError, EngineGoneError, ContainerGoneError) as error:
            return failed(INTERNAL_ERROR, str(error))
        except StorageError as error:
            return failed("ClientError", str(error))
        except Exception as error:  # noqa: BLE001 - a defect ends this job, and the server goes on
            if isinstance(error, OSError) and error.errno in FULL:
                return failed("ClientError", str(storage_error(self.folder, error)))
            _log.exception("%s job %s", self.kind, self.name)
            return failed(INTERNAL_ERROR, f"A defect of the local SageMaker, whose log has more: {error!r}")

    def _named_disk(self, outcome: Outcome) -> Outcome:
        """Return how the job ends; what failed on a full disk says so, whoever noticed it."""
        reason = outcome.failure_reason
        if reason is None or _DISK in reason or not is_full(self.folder):
            return outcome
        disk = str(storage_error(self.folder, OSError(errno.ENOSPC, "")))
        kept = reason[: LONGEST_REASON - len(disk) - 3]
        return outcome.model_copy(update={"failure_reason": f"{kept} ({disk})"})

    def _clean_up(self) -> None:
        try:
            self.context.engine.remove_job(self.kind, self.job.key)
        except Exception:  # noqa: BLE001
            _log.exception("what %s has left on the engine stays there for now", self.name)
            self.has_leftovers = True
        safe_files.wipe(self.folder / "hosts")

    def _finish(self, outcome: Outcome) -> None:
        now = time.time()
        job = self.job
        has_run = any(transition.status == "Training" for transition in job.transitions)
        # A stop that was accepted counts, whatever else went wrong before the job ran, or while its results were sent.
        if job.stop_requested and (outcome.status == "Completed" or not has_run):
            outcome = STOPPED
        self.change(
            lambda job: job.entered(
                outcome.secondary_status,
                outcome.message,
                now,
                status=outcome.status,
                failure_reason=outcome.failure_reason,
                end_time=now,
                **job.time_until(now),
            )
        )

    def _after_the_end(self) -> None:  # noqa: B027 - most have nothing to do there
        """Do what outlives the job itself."""
