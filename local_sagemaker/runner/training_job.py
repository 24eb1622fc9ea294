"""A training job from its creation to its end, as SageMaker's platform runs it.

    TrainingJobRunner(context, "star-rating-1", "us-east-1").run()

Starting -> Downloading -> Training -> Uploading -> Completed | Failed | Stopped. An interrupted spot job and one that
RetryStrategy starts again begin anew, with empty volumes and their checkpoints. When a server was killed, the next one
goes on where the job's state says that it was.
"""

from __future__ import annotations

import queue
import time
from dataclasses import replace
from typing import Any, ClassVar

from local_sagemaker.container_contract import outcome as outcomes
from local_sagemaker.container_contract.channels import ChannelError, NoObjectsError
from local_sagemaker.container_contract.paths import OutsideError, UnsafeKeyError, split
from local_sagemaker.docker_client.container import CannotStartError
from local_sagemaker.docker_client.container_request import Image
from local_sagemaker.docker_client.engine import ImageMissingError
from local_sagemaker.job_state import Job, Kind, Outcome
from local_sagemaker.runner.artifact_upload import UploadError, upload
from local_sagemaker.runner.attempt import Attempt
from local_sagemaker.runner.container_watch import AttemptResult, Limits, wait_for_containers
from local_sagemaker.runner.host_metrics import HostMetrics
from local_sagemaker.runner.job_runner import JobRunner, RuntimeContext, ShutdownError
from local_sagemaker.runner.log_follower import LogFollower
from local_sagemaker.runner.messages import Interrupt, LoseHost, Shutdown
from local_sagemaker.runner.provisioning import NoCapacityError, WaitTooLongError, job_image, wait_for_capacity
from local_sagemaker.runner.sidecars import Sidecars
from local_sagemaker.services.metrics import JobMetrics
from local_sagemaker.volumes.download import CancelledError, DownloadFailedError, Throttle

_DEFAULT_SECONDS = 24 * 3600
"""MaxRuntimeInSeconds of a request that names none."""


_STOPS = {"max-runtime": outcomes.MAX_RUNTIME, "max-wait": outcomes.MAX_WAIT}


class TrainingJobRunner(JobRunner):
    """Runs one training job."""

    kind: ClassVar[Kind] = "training"

    def __init__(self, context: RuntimeContext, name: str, region: str) -> None:
        super().__init__(context, name, region)
        self._sidecars = Sidecars(self)

    def execute(self) -> Outcome:
        """Attempt after attempt, until one of them decides how the job ends; then upload what it has made."""
        attempt = self._killed_servers_attempt()
        while True:
            job = self.job
            if job.outcome is not None:  # the server was killed while it uploaded
                attempt = attempt or Attempt(self, self._sidecars.observed)
                return self._upload(attempt, job.outcome)
            try:
                if attempt is None:
                    attempt = self._begin()
                result = self._run(attempt)
            except _EndedEarlyError as early:
                return early.outcome
            decided = self._decide(attempt, result)
            if decided is None:
                attempt = None
            else:
                self._remember(decided)

    def _begin(self) -> Attempt:
        """Get hosts with volumes that hold what the job reads, and containers that run; raise _EndedEarlyError."""
        request = self.job.current_request
        try:
            wait_for_capacity(self)
            self.enter("Starting", "Preparing the instances for training")
            self.begin_running(lambda job, now: job.entered("Downloading", "Downloading input data", now))
            attempt = Attempt(self, self._sidecars.observed)
            self.change(lambda job: job.changed(hosts=tuple(host.name for host in attempt.hosts)))
            attempt.prepare(self._throttle())
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
        self._sidecars.training_begins(attempt)
        self._expect_faults()
        return attempt

    def _run(self, attempt: Attempt) -> AttemptResult:
        """Follow the containers to their end."""
        job = self.job
        metrics = JobMetrics(
            job.request["AlgorithmSpecification"].get("MetricDefinitions", []),
            self.name,
            job.region,
            self.folder / "metrics.jsonl",
        )
        assert job.running_since is not None
        LogFollower(self, attempt.containers, int(job.running_since), metrics, adopted=attempt.is_adopted).start()
        try:
            with HostMetrics(self, attempt.containers):
                result = wait_for_containers(
                    attempt.containers, self.inbox, self._limits(job), attempt.write_config_files
                )
        finally:
            self._sidecars.attempt_ends()
        failure = attempt.finish(result.lost_host)
        return result if failure is None else replace(result, not_uploaded=failure)

    def _decide(self, attempt: Attempt, result: AttemptResult) -> Outcome | None:
        """Return how the job ends, or None if it begins anew."""
        job = self.job
        if result.reason == "interrupted" and not job.stop_requested:
            reclaimed = "Training job interrupted: the spot instances were reclaimed"
            self.enter("Interrupted", reclaimed, **job.time_until(time.time()))
            self._anew(job)
            return None
        if result.reason in ("lost", "gone") and not job.stop_requested:
            return self._retry(job, result)
        outcome = self._judge(attempt, result)
        if result.not_uploaded is not None and outcome.status != "Failed":
            return outcomes.failed("ClientError", f"Artifact upload failed:{result.not_uploaded}")
        return outcome

    def _judge(self, attempt: Attempt, result: AttemptResult) -> Outcome:
        """Return what the containers' ends, and who asked for them, make of the job."""
        if result.broken is not None and not self.job.stop_requested:
            return outcomes.failed("ClientError", result.broken)
        if result.reason != "exited":
            return _STOPS.get(result.reason, outcomes.STOPPED)
        if result.failed_host is None:
            return outcomes.COMPLETED
        exit_ = result.exits[result.failed_host]
        failure = attempt.failure(result.failed_host)
        return outcomes.of_exit(exit_.code, failure, was_out_of_memory=exit_.was_out_of_memory)

    def _remember(self, outcome: Outcome) -> None:
        """Keep how the job ends: a server that is started anew uploads, and runs nothing again."""
        self.change(lambda job: job.changed(outcome=outcome))

    def _retry(self, job: Job, result: AttemptResult) -> Outcome | None:
        """Begin a job anew whose hosts were lost, if RetryStrategy allows it once more."""
        what = f"The host {result.lost_host} was lost." if result.lost_host else "The containers have been removed."
        if job.retries >= job.request.get("RetryStrategy", {}).get("MaximumRetryAttempts", 0):
            return outcomes.failed(outcomes.INTERNAL_ERROR, what)
        spent = job.time_until(time.time())
        self.enter("Restarting", f"Training is started again: {what}", retries=job.retries + 1, **spent)
        self._anew(job)
        return None

    def _anew(self, job: Job) -> None:
        self.context.engine.remove_job(self.kind, job.key)
        self.change(lambda _: self.job.changed(attempt=job.attempt + 1))

    def _upload(self, attempt: Attempt, outcome: Outcome) -> Outcome:
        if not attempt.has_volumes:  # uploaded and wiped by a server that was killed before it could say so
            return outcome
        self.enter("Uploading", "Uploading generated training model")
        try:
            artifacts = upload(self, attempt, with_model=outcome.status != "Failed")
        except UploadError as error:
            outcome = outcomes.failed("ClientError", f"Artifact upload failed:{error}")
            artifacts = {}
        self.change(lambda job: job.changed(**artifacts))
        self._sidecars.training_ends()
        return outcome

    def _killed_servers_attempt(self) -> Attempt | None:
        """Return the attempt that a killed server has left; None if there is none, or nothing to go on with."""
        job = self.job
        statuses = [transition.status for transition in job.transitions]
        was_training = statuses[-1:] == ["Training"] or statuses[-2:] == ["Training", "Stopping"]
        if job.outcome is not None or not was_training or job.running_since is None:
            return None
        attempt = Attempt(self, self._sidecars.observed)
        if not attempt.adopt():
            decided = self._decide(attempt, AttemptResult("gone", {}))
            if decided is None:
                return None
            self._remember(decided)
            return attempt
        self._sidecars.training_begins(attempt)
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

    def _throttle(self) -> Throttle:
        fault = self.context.faults.take("download", self.name)
        if fault is None:
            return Throttle(self.cancelled)
        return Throttle(self.cancelled, fault.bytes_per_second, fault.fail_at)

    def _image(self, request: dict[str, Any]) -> Image:
        image = job_image(self, request["AlgorithmSpecification"]["TrainingImage"])
        self.change(lambda job: job.changed(image_id=image.id))
        return image

    def _expect_faults(self) -> None:
        if self.job.request.get("EnableManagedSpotTraining"):
            fault = self.context.faults.take("interrupt", self.name)
            if fault is not None:
                self.send(Interrupt(fault.moment()))
        fault = self.context.faults.take("lose-host", self.name)
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
        self._sidecars.wait()


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
