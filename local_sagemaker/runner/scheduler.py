"""Runs jobs: first come, first served, so many at a time, each in a thread of its own.

scheduler = Scheduler(context, jobs_at_once=2)
scheduler.recover()         # what a server that was killed has left
scheduler.start("training", "star-rating-1", "us-east-1")
scheduler.send("training", "star-rating-1", "us-east-1", Interrupt())
scheduler.close()           # running jobs fail, saying why
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from collections.abc import Set as AbstractSet

from docker.errors import DockerException

from local_sagemaker.errors import EmulatorError
from local_sagemaker.job_repository import Key
from local_sagemaker.job_service import NoSuchJobError
from local_sagemaker.job_state import Job, Kind
from local_sagemaker.runner.job_runner import JobRunner, RuntimeContext
from local_sagemaker.runner.messages import Message, Shutdown, Stop, Updated
from local_sagemaker.runner.processing_job import ProcessingJobRunner
from local_sagemaker.runner.rule_evaluation import KIND as KIND_OF_RULES
from local_sagemaker.runner.training_job import TrainingJobRunner
from local_sagemaker.services import logs, metrics

_RUNNERS: dict[Kind, type[JobRunner]] = {"training": TrainingJobRunner, "processing": ProcessingJobRunner}

_WITH_CONTAINERS = ("Training", "Stopping", "Uploading")
"""Secondary statuses in which a job may have containers that it goes on with."""

_SWEEP_SECONDS = 2.0
"""Between two looks whether an engine that was away is there again."""

_log = logging.getLogger(__name__)


class Scheduler:
    """All job runners; safe to use from any thread."""

    def __init__(
        self,
        context: RuntimeContext,
        jobs_at_once: int,
        keeps: Callable[[], AbstractSet[tuple[str, str]]] = frozenset,
    ) -> None:
        self._context = context
        self._keeps = keeps
        """Kind and key of what is on the engine and no job's: endpoints'."""
        self._jobs_at_once = jobs_at_once
        self._lock = threading.Lock()
        self._waiting: deque[Key] = deque()
        self._runners: dict[Key, tuple[JobRunner, threading.Thread]] = {}
        self._closed = threading.Event()
        self._sweeper: threading.Thread | None = None

    def recover(self) -> None:
        """Go on with every job that has not ended, and remove from the engine what no job can go on with."""
        kinds: tuple[Kind, ...] = ("training", "processing")
        jobs = sorted(
            (job for kind in kinds for job in self._context.jobs.list(kind)), key=lambda job: job.creation_time
        )
        open_jobs = [job for job in jobs if not job.has_ended or any(rule.status == "InProgress" for rule in job.rules)]
        resting = {(job.kind, job.key) for job in open_jobs if job.secondary_status not in _WITH_CONTAINERS}
        if jobs or self._context.jobs.store.has_lost_jobs:
            self._sweep(resting)
        # Those that have containers first: they run already.
        for job in sorted(open_jobs, key=lambda job: job.running_since is None):
            self.start(job.kind, job.name, job.region)

    def _sweep(self, also: AbstractSet[tuple[str, str]] = frozenset()) -> None:
        """Remove what no job on the engine belongs to; an engine that does not answer is asked again until it does."""
        try:
            self._remove_leftovers(also)
        except (EmulatorError, DockerException, OSError) as error:
            _log.warning("what earlier jobs have left on the engine stays until it answers: %s", error)
            with self._lock:
                if self._sweeper is None and not self._closed.is_set():
                    self._sweeper = threading.Thread(target=self._sweep_later, name="sweeper", daemon=True)
                    self._sweeper.start()

    def _sweep_later(self) -> None:
        while not self._closed.wait(_SWEEP_SECONDS):
            try:
                self._remove_leftovers(frozenset())
            except (EmulatorError, DockerException, OSError):
                continue
            with self._lock:
                self._sweeper = None
            return

    def _remove_leftovers(self, also: AbstractSet[tuple[str, str]]) -> None:
        found = self._context.engine.jobs_with_leftovers()
        kinds: tuple[Kind, ...] = ("training", "processing")
        jobs = [job for kind in kinds for job in self._context.jobs.list(kind)]  # behind the look: none is too new
        going_on: set[tuple[str, str]] = {(job.kind, job.key) for job in jobs if not job.has_ended}
        going_on -= also
        going_on |= {
            (KIND_OF_RULES, job.key)
            for job in jobs
            if not job.has_ended or any(rule.status == "InProgress" for rule in job.rules)
        }
        for kind, key in found - going_on - self._keeps():
            self._context.engine.remove_job(kind, key)

    def start(self, kind: Kind, name: str, region: str) -> None:
        """Run a job as soon as fewer than `jobs_at_once` run."""
        with self._lock:
            self._waiting.append((kind, name, region))
        self._dispatch()

    def stop(self, kind: Kind, name: str, region: str) -> None:
        """Tell a job that its document asks it to stop; one that waits ends without having begun."""
        key = (kind, name, region)
        if not self.send(*key, Stop()):
            with self._lock:
                if key in self._waiting:
                    self._waiting.remove(key)
                    self._begin(key)

    def update(self, kind: Kind, name: str, region: str) -> None:
        """Tell a job that its request has changed."""
        self.send(kind, name, region, Updated())

    def forget(self, job: Job) -> None:
        """Take a deleted job's log and metrics out of moto."""
        logs.forget(job.kind, job.region, job.name)
        metrics.forget(job.name, job.region)

    def send(self, kind: Kind, name: str, region: str, message: Message) -> bool:
        """Send a running job a message; False if it does not run."""
        with self._lock:
            entry = self._runners.get((kind, name, region))
        if entry is None:
            return False
        entry[0].send(message)
        return True

    def close(self) -> None:
        """End every runner: running jobs fail, waiting ones go on waiting for the next server."""
        with self._lock:
            self._closed.set()
            self._context.engine.stop_retrying()
            entries = list(self._runners.values())
        for runner, _ in entries:
            runner.send(Shutdown())
        for _, thread in entries:
            thread.join()
        if self._sweeper is not None:
            self._sweeper.join()

    def _dispatch(self) -> None:
        with self._lock:
            while self._waiting and len(self._runners) < self._jobs_at_once and not self._closed.is_set():
                self._begin(self._waiting.popleft())

    def _begin(self, key: Key) -> None:
        kind, name, region = key
        runner = _RUNNERS[kind](self._context, name, region)
        thread = threading.Thread(target=self._live, args=(key, runner), name=f"{kind} {name}", daemon=True)
        self._runners[key] = (runner, thread)
        thread.start()

    def _live(self, key: Key, runner: JobRunner) -> None:
        try:
            runner.run()
        except NoSuchJobError:
            _log.warning("the job %s was deleted while it ran", key[1])
        finally:
            with self._lock:
                self._runners.pop(key, None)
            self._dispatch()
            if runner.has_leftovers:
                self._sweep()
