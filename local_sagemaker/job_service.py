"""The jobs, as the API and the runner see them: the API calls `JobService`, and never starts a container itself.

jobs.create("training", request, region)        # queued; the scheduler starts it
jobs.get("training", "star-rating-1").status
jobs.changes(after=17, timeout=30)              # for the dashboard, which shows jobs as they change
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from local_sagemaker.errors import EmulatorError
from local_sagemaker.job_repository import JobRepository
from local_sagemaker.job_state import Job, Kind
from local_sagemaker.state import REGION

NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
"""SageMaker's own pattern; what does not match never becomes part of a path."""

NAME_FIELDS: dict[Kind, str] = {"training": "TrainingJobName", "processing": "ProcessingJobName"}

_REMEMBERED_CHANGES = 1000


class JobError(EmulatorError):
    """A job does not allow what was asked."""


class NameTakenError(JobError):
    """There is a job of this name."""


class NoSuchJobError(JobError):
    """There is no job of this name."""


class JobEndedError(JobError):
    """The job has ended: nothing to stop."""


class JobNotEndedError(JobError):
    """The job runs: it cannot be deleted."""


@dataclass(frozen=True)
class Change:
    """A job's document has changed, or has gone."""

    number: int
    kind: Kind
    name: str


@dataclass(frozen=True)
class Changes:
    """What has changed since a number; `last` is the number to ask with next."""

    last: int
    changes: tuple[Change, ...]


class JobScheduler(Protocol):
    """What runs jobs: the scheduler."""

    def start(self, kind: Kind, name: str, region: str) -> None:
        """Run a job as soon as there is capacity."""

    def stop(self, kind: Kind, name: str, region: str) -> None:
        """Let a job end that runs or waits; its document says `stop_requested`."""

    def update(self, kind: Kind, name: str, region: str) -> None:
        """Let a running job know that its request has changed."""

    def forget(self, job: Job) -> None:
        """Drop what is remembered of a job elsewhere: log and metrics."""


class JobService:
    """Every job of a state folder; safe to use from any thread."""

    def __init__(self, store: JobRepository) -> None:
        self.store = store
        self.scheduler: JobScheduler | None = None
        """Set once, by the server, before requests come."""
        self._changed = threading.Condition()
        self._number = 0
        self._changes: deque[Change] = deque(maxlen=_REMEMBERED_CHANGES)

    def create(
        self, kind: Kind, request: dict[str, Any], region: str, before_start: Callable[[Job], None] = lambda _: None
    ) -> Job:
        """Keep a new job and queue it; not if `before_start` raises. Raise NameTakenError, StorageError."""
        name = request[NAME_FIELDS[kind]]
        if not NAME.fullmatch(name):
            raise JobError(f"{name!r} is no job name")
        now = time.time()
        job = Job(kind=kind, name=name, region=region, request=request, creation_time=now, last_modified_time=now)
        job = job.entered("Starting", "Launching requested ML instances", now)
        if not self.store.add(job):
            raise NameTakenError(f"Job name must be unique: {name}")
        try:
            before_start(job)
        except BaseException:
            self.store.delete(kind, name, region)
            raise
        self._tell(kind, name)
        if self.scheduler is not None:
            self.scheduler.start(kind, name, region)
        return job

    def get(self, kind: Kind, name: str, region: str = REGION) -> Job:
        """Return a job as it is now; raise NoSuchJobError."""
        job = self.store.get(kind, name, region)
        if job is None:
            raise NoSuchJobError(f"there is no {kind} job {name}")
        return job

    def list(self, kind: Kind) -> list[Job]:
        """Return all jobs of a kind, oldest first."""
        return sorted(self.store.all(kind), key=lambda job: (job.creation_time, job.name))

    def change(self, kind: Kind, name: str, change: Callable[[Job], Job], region: str = REGION) -> Job:
        """Replace a job's document by what `change` makes of it; raise NoSuchJobError."""
        job = self.store.change(kind, name, lambda job: change(job).changed(last_modified_time=time.time()), region)
        if job is None:
            raise NoSuchJobError(f"there is no {kind} job {name}")
        self._tell(kind, name)
        return job

    def stop(self, kind: Kind, name: str, region: str = REGION) -> Job:
        """Let a job end; twice is once. Raise NoSuchJobError, JobEndedError."""

        def stopping(job: Job) -> Job:
            if job.has_ended:
                raise JobEndedError(f"{name} is in an end state: {job.status}")
            if job.stop_requested:
                return job
            message = f"Stopping the {kind} job"
            return job.entered("Stopping", message, time.time(), status="Stopping", stop_requested=True)

        job = self.change(kind, name, stopping, region)
        if self.scheduler is not None:
            self.scheduler.stop(kind, name, region)
        return job

    def update(self, kind: Kind, name: str, fields: dict[str, Any], region: str = REGION) -> Job:
        """Set fields of the request anew; raise NoSuchJobError."""
        job = self.change(kind, name, lambda job: job.changed(changes=job.changes | fields), region)
        if self.scheduler is not None:
            self.scheduler.update(kind, name, region)
        return job

    def delete(self, kind: Kind, name: str, region: str = REGION) -> None:
        """Forget an ended job, log and metrics; what it left in S3 stays. Raise NoSuchJobError, JobNotEndedError."""
        job = self.get(kind, name, region)
        if not job.has_ended:
            raise JobNotEndedError(f"{name} has not ended; stop it first")
        self.store.delete(kind, name, region)
        if self.scheduler is not None:
            self.scheduler.forget(job)
        self._tell(kind, name)

    def changes(self, after: int = 0, timeout: float = 0.0) -> Changes:
        """Return the changes with a number above `after`; wait for one, at most `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._number > after, timeout)
            return Changes(self._number, tuple(change for change in self._changes if change.number > after))

    def _tell(self, kind: Kind, name: str) -> None:
        with self._changed:
            self._number += 1
            self._changes.append(Change(self._number, kind, name))
            self._changed.notify_all()
