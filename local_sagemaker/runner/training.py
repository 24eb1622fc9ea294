"""A training job from its creation to its end, as SageMaker's platform lives it.

    TrainingLife(world, "star-rating-1", "us-east-1").run()

Starting -> Downloading -> Training -> Uploading -> Completed | Failed | Stopped. An interrupted spot job and one that
RetryStrategy starts again begin anew, with empty disks and their checkpoints. A server that was killed finds the life
where the document says that it was.
"""

from __future__ import annotations

import queue
import time
from dataclasses import replace
from typing import Any, ClassVar

from local_sagemaker.container_contract import outcome as outcomes
from local_sagemaker.container_contract.channels import ChannelError, NoObjectsError
from local_sagemaker.container_contract.paths import OutsideError
from local_sagemaker.container_contract.s3_uri import UnsafeKeyError, split
from local_sagemaker.docker_client.container import CannotStartError
from local_sagemaker.docker_client.engine import ImageMissingError
from local_sagemaker.docker_client.request import Image
from local_sagemaker.document import Job, Kind, Outcome
from local_sagemaker.runner.attempt import Attempt
from local_sagemaker.runner.capacity import NoCapacityError, WaitTooLongError, wait_for_capacity
from local_sagemaker.runner.companions import Companions
from local_sagemaker.runner.following import Following
from local_sagemaker.runner.images import job_image
from local_sagemaker.runner.job_life import JobLife, ShutdownError
from local_sagemaker.runner.messages import Interrupt, LoseHost, Shutdown
from local_sagemaker.runner.system_metrics import HostMetrics
from local_sagemaker.runner.upload import UploadError, upload
from local_sagemaker.runner.watch import Ending, Limits, watch
from local_sagemaker.runner.world import World
from local_sagemaker.services.metrics import JobMetrics
from local_sagemaker.volumes.pace import CancelledError, DownloadFailedError, Pace

_DEFAULT_SECONDS = 24 * 3600
"""MaxRuntimeInSeconds of a request that names none."""


_STOPS = {"max-runtime": outcomes.MAX_RUNTIME, "max-wait": outcomes.MAX_WAIT}


class TrainingLife(JobLife):
    """One training job's life."""

    kind: ClassVar[Kind] = "training"

    def __init__(self, world: World, name: str, region: str) -> None:
        super().__init__(world, name, region)
        self._companions = Companions(self)

    def live(self) -> Outcome:
        """Attempt after attempt, until one of them decides how the job ends; then upload what it has made."""
        attempt = self._killed_servers_attempt()
        while True:
            job = self.job
            if job.outcome is not None:  # the server was killed while it uploaded
                attempt = attempt or Attempt(self, self._companions.observed)
                return self._upload(attempt, job.outcome)
            try:
                if attempt is None:
                    attempt = self._begin()
                ending = self._run(attempt)
            except _EndedEarlyError as early:
                return early.outcome
            decided = self._decide(attempt, ending)
            if decided is None:
                attempt = None
            else:
                self._remember(decided)

    def _begin(self) -> Attempt:
        """Get hosts with disks that hold what the job reads, and containers that run; raise _EndedEarlyError."""
        request = self.job.current_request
        try:
            wait_for_capacity(self)
            self.enter("Starting", "Preparing the instances for training")
            self.begin_running(lambda job, now: job.entered("Downloading", "Downloading input data", now))
            attempt = Attempt(self, self._companions.observed)
            self.change(lambda job: job.changed(hosts=tuple(host.name for host in attempt.hosts)))
            attempt.prepare(self._pace())
            self.enter("Downloading", "Downloading the training image")
            attempt.start(self._image(request))
        except (NoCapacityError, WaitTooLongError) as error:
            raise _EndedEarlyError(error.outcome) from None
        except CancelledError:
            raise self._cancelled() from None
        except NoObjectsError as error:
            region, role = self.job.region, request["RoleArn"]
            raise _EndedEarlyError(outcomes.no_objects(error.uri, region, role, split(error.uri)[0])) from None
        except DownloadFailedError as error:
            raise _EndedEarlyError(
                outcomes.failed("ClientError", f"Data download failed:Failed to download data. {error}")
            ) from None
        except (ChannelError, UnsafeKeyError, OutsideError) as error:
            raise _EndedEarlyError(outcomes.failed("ClientError", f"Data download failed:{error}")) from None
        except (ImageMissingError, CannotStartError) as error:
            raise _EndedEarlyError(_cannot_start(error)) from None
        self.enter("Training", "Training image download completed. Training in progress.")
        self._companions.training_begins(attempt)
        self._expect_faults()
        return attempt

    def _run(self, attempt: Attempt) -> Ending:
        """Follow the containers to their end."""
        job = self.job
        metrics = JobMetrics(
            job.request["AlgorithmSpecification"].get("MetricDefinitions", []),
            self.name,
            job.region,
            self.folder / "metrics.jsonl",
        )
        assert job.running_since is not None
        Following(self, attempt.containers, int(job.running_since), metrics, adopted=attempt.is_adopted).start()
        try:
            with HostMetrics(self, attempt.containers):
                ending = watch(attempt.containers, self.inbox, self._limits(job), attempt.write_config_files)
        finally:
            self._companions.attempt_ends()
        failure = attempt.finish(ending.lost_host)
        return ending if failure is None else replace(ending, not_uploaded=failure)

    def _decide(self, attempt: Attempt, ending: Ending) -> Outcome | None:
        """Return how the job ends, or None if it begins anew."""
        job = self.job
        if ending.reason == "interrupted" and not job.stop_requested:
            reclaimed = "Training job interrupted: the spot instances were reclaimed"
            self.enter("Interrupted", reclaimed, **job.time_until(time.time()))
            self._anew(job)
            return None
        if ending.reason in ("lost", "gone") and not job.stop_requested:
            return self._retry(job, ending)
        outcome = self._judge(attempt, ending)
        if ending.not_uploaded is not None and outcome.status != "Failed":
            return outcomes.failed("ClientError", f"Artifact upload failed:{ending.not_uploaded}")
        return outcome

    def _judge(self, attempt: Attempt, ending: Ending) -> Outcome:
        """Return what the containers' ends, and who asked for them, make of the job."""
        if ending.broken is not None and not self.job.stop_requested:
            return outcomes.failed("ClientError", ending.broken)
        if ending.reason != "exited":
            return _STOPS.get(ending.reason, outcomes.STOPPED)
        if ending.failed_host is None:
            return outcomes.COMPLETED
        exit_ = ending.exits[ending.failed_host]
        failure = attempt.failure(ending.failed_host)
        return outcomes.of_exit(exit_.code, failure, was_out_of_memory=exit_.was_out_of_memory)

    def _remember(self, outcome: Outcome) -> None:
        """Keep how the job ends: a server that is started anew uploads, and runs nothing again."""
        self.change(lambda job: job.changed(outcome=outcome))

    def _retry(self, job: Job, ending: Ending) -> Outcome | None:
        """Begin a job anew whose hosts were lost, if RetryStrategy allows it once more."""
        what = f"The host {ending.lost_host} was lost." if ending.lost_host else "The containers have been removed."
        if job.retries >= job.request.get("RetryStrategy", {}).get("MaximumRetryAttempts", 0):
            return outcomes.failed(outcomes.INTERNAL_ERROR, what)
        spent = job.time_until(time.time())
        self.enter("Restarting", f"Training is started again: {what}", retries=job.retries + 1, **spent)
        self._anew(job)
        return None

    def _anew(self, job: Job) -> None:
        self.world.engine.remove_job(self.kind, job.key)
        self.change(lambda _: self.job.changed(attempt=job.attempt + 1))

    def _upload(self, attempt: Attempt, outcome: Outcome) -> Outcome:
        if not attempt.has_disks:  # uploaded and wiped by a server that was killed before it could say so
            return outcome
        self.enter("Uploading", "Uploading generated training model")
        try:
            artifacts = upload(self, attempt, with_model=outcome.status != "Failed")
        except UploadError as error:
            outcome = outcomes.failed("ClientError", f"Artifact upload failed:{error}")
            artifacts = {}
        self.change(lambda job: job.changed(**artifacts))
        self._companions.training_ends()
        return outcome

    def _killed_servers_attempt(self) -> Attempt | None:
        """Return the attempt that a killed server has left; None if there is none, or nothing to go on with."""
        job = self.job
        statuses = [transition.status for transition in job.transitions]
        was_training = statuses[-1:] == ["Training"] or statuses[-2:] == ["Training", "Stopping"]
        if job.outcome is not None or not was_training or job.running_since is None:
            return None
        attempt = Attempt(self, self._companions.observed)
        if not attempt.adopt():
            decided = self._decide(attempt, Ending("gone", {}))
            if decided is None:
                return None
            self._remember(decided)
            return attempt
        self._companions.training_begins(attempt)
        return attempt

    def _limits(self, job: Job) -> Limits:
        condition = job.request.get("StoppingCondition", {})
        wait = condition.get("MaxWaitTimeInSeconds")
        return Limits(
            stop_seconds=self.stop_seconds(),
            run_seconds=condition.get("MaxRuntimeInSeconds", _DEFAULT_SECONDS)
            - job.training_seconds
            - self.running_seconds(),
            wait_seconds=None if wait is None else wait - self.age(),
        )

    def _pace(self) -> Pace:
        fault = self.world.faults.take("download", self.name)
        if fault is None:
            return Pace(self.cancelled)
        return Pace(self.cancelled, fault.bytes_per_second, fault.fail_at)

    def _image(self, request: dict[str, Any]) -> Image:
        image = job_image(self, request["AlgorithmSpecification"]["TrainingImage"])
        self.change(lambda job: job.changed(image_id=image.id))
        return image

    def _expect_faults(self) -> None:
        if self.job.request.get("EnableManagedSpotTraining"):
            fault = self.world.faults.take("interrupt", self.name)
            if fault is not None:
                self.send(Interrupt(fault.moment()))
        fault = self.world.faults.take("lose-host", self.name)
        if fault is not None:
            self.send(LoseHost(fault.host, fault.moment()))

    def _cancelled(self) -> Exception:
        """Return what ends a job that was told to before its containers ran."""
        while True:
            try:
                if isinstance(self.inbox.get_nowait(), Shutdown):
                    return ShutdownError()
            except queue.Empty:
                return _EndedEarlyError(outcomes.STOPPED)

    def _after_the_end(self) -> None:
        """Wait for the rules, which look at everything once more when the job has ended."""
        self._companions.wait()


class _EndedEarlyError(Exception):
    """The job ends before its containers run."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome


def _cannot_start(error: Exception) -> Outcome:
    if isinstance(error, ImageMissingError):
        return outcomes.failed("ClientError", str(error))
    return outcomes.failed(
        "AlgorithmError",
        "CannotStartContainerError. Please make sure the container can be run with 'docker run <image> train'. "
        f"{error}",
    )
