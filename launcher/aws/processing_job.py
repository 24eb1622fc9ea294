"""A Processing job in SageMaker: the image's prepare.

    job = ProcessingJob.submit(request, region="us-east-1")
    job.show()

SageMaker's upload adds to a prefix and deletes nothing: records of an earlier run would stay beside the new ones, of
another split. So a run that writes where another has written replaces it as a whole.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from typing import Any

from launcher.aws.errors import DeniedError, NotFoundError, is_transient, translating_aws_errors
from launcher.aws.following import Event, follow, print_events
from launcher.aws.log_tail import LogTail
from launcher.aws.session import Session, aws
from launcher.aws.submission import create, reattach_command
from launcher.errors import AwsError, JobFailedError, JobStoppedError

LOG_GROUP = "/aws/sagemaker/ProcessingJobs"

_WRITTEN_BY_PREPARE = re.compile(
    r"(train|validation|test)/(part-[^/]*\.tfrecord|manifest-[^/]*\.json|texts-[^/]*\.u64)"
)
"""Below the output's prefix; nothing else there is touched."""
_KEYS_PER_CALL = 1000
"""DeleteObjects takes no more."""


class ProcessingJob:
    """One Processing job, by name and region."""

    def __init__(self, name: str, region: str, arn: str, *, session: Session | None = None) -> None:
        self.name = name
        self.region = region
        self._session = (session or aws()).for_region(region)
        self.arn = arn
        self.last_seen: dict[str, Any] | None = None
        """What SageMaker said of the job last, if it was asked."""
        self.remark = ""
        """What there is to say about what was in the output's prefix."""
        self._transitions: list[dict[str, Any]] = []

    @classmethod
    def submit(cls, request: dict[str, Any], region: str, *, session: Session | None = None) -> ProcessingJob:
        """Create the job, and remove what earlier runs of prepare have left where it writes.

        Raises AwsError if SageMaker refuses the request; then nothing was removed. If S3 refuses the removal, the job
        is stopped: its records would come to stand beside those of another split.
        """
        session = (session or aws()).for_region(region)
        output = request["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
        earlier: list[str] = []
        remark = ""
        try:
            earlier = _records_below(output, session)
        except DeniedError:
            remark = (
                f"{output} may not be listed: if an earlier run has written there, its records stay, and training "
                "refuses the mixture. Then name a prefix of this run's own (processing.s3_output with {job_name})"
            )
        job = cls(request["ProcessingJobName"], region, create("processing", request, session), session=session)
        if earlier:
            job._replace(output, earlier)
            remark = f"removed {len(earlier)} object(s) of earlier runs below {output}: this run replaces them"
        job.remark = remark
        return job

    def describe(self) -> dict[str, Any]:
        """Return DescribeProcessingJob's answer."""
        with translating_aws_errors(f"describe {self.name}"):
            self.last_seen = self._describe()
        return self.last_seen

    @property
    def reattach_command(self) -> str:
        """The command that shows the job."""
        return reattach_command("processing", self.name, self._session)

    def follow(
        self, *, timeout: float | None = None, poll_interval: float = 10.0, waiting: bool = False
    ) -> Iterator[Event]:
        """Yield statuses and log lines as they come, until the job has ended; with `waiting`, PendingStatus between."""
        tail = LogTail(LOG_GROUP, self.name, self._session)
        return follow(
            self.name,
            self.reattach_command,
            self._look,
            tail,
            timeout=timeout,
            poll_interval=poll_interval,
            waiting=waiting,
        )

    def show(self, *, timeout: float | None = None, poll_interval: float = 10.0) -> None:
        """Print statuses and log lines until the job has ended; raise JobFailedError, JobStoppedError on a bad end."""
        print_events(self.follow(timeout=timeout, poll_interval=poll_interval), several_hosts=False)
        raise_for_status(self.last_seen or self.describe())

    def _replace(self, output: str, keys: list[str]) -> None:
        try:
            _delete(output, keys, self._session)
        except AwsError as error:
            with translating_aws_errors(f"stop {self.name}"):
                self._session.client("sagemaker").stop_processing_job(ProcessingJobName=self.name)
            raise AwsError(
                f"{error}. {self.name} is stopped, as its records would mix with those. Remove them, or name a prefix "
                "of this run's own (processing.s3_output with {job_name})"
            ) from None

    def _describe(self) -> dict[str, Any]:
        description: dict[str, Any] = self._session.client("sagemaker").describe_processing_job(
            ProcessingJobName=self.name
        )
        assert description["ProcessingJobStatus"]  # or AnswerError
        return description

    def _look(self) -> dict[str, Any] | None:
        """Describe the job, with the history of its status, which SageMaker keeps for training jobs only."""
        with translating_aws_errors(f"follow {self.name}"):
            try:
                self.last_seen = description = self._describe()
            except Exception as error:
                if is_transient(error):
                    return None
                raise
        status = description["ProcessingJobStatus"]
        if not self._transitions or self._transitions[-1]["Status"] != status:
            now = dt.datetime.now(dt.UTC)
            self._transitions.append({"Status": status, "StartTime": now, "StatusMessage": ""})
        return description | {"SecondaryStatusTransitions": self._transitions}


def _records_below(output: str, session: Session) -> list[str]:
    """Return the keys of what prepare has written below an S3 prefix."""
    bucket, prefix = _bucket_and_prefix(output)
    try:
        with translating_aws_errors(f"list {output}"):
            pages = session.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            keys = [found["Key"] for page in pages for found in page.get("Contents", [])]
    except NotFoundError:
        return []
    return [key for key in keys if _WRITTEN_BY_PREPARE.fullmatch(key.removeprefix(prefix))]


def _delete(output: str, keys: list[str], session: Session) -> None:
    bucket, _ = _bucket_and_prefix(output)
    for start in range(0, len(keys), _KEYS_PER_CALL):
        objects = [{"Key": key} for key in keys[start : start + _KEYS_PER_CALL]]
        with translating_aws_errors(f"remove what earlier runs left below {output}"):
            answer = session.client("s3").delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
        if errors := answer.get("Errors"):
            raise AwsError(f"cannot remove s3://{bucket}/{errors[0].get('Key')}: {errors[0].get('Message')}")


def _bucket_and_prefix(uri: str) -> tuple[str, str]:
    """Split an S3 URI; a prefix that is not empty ends in a slash, as the names below it follow one."""
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    return bucket, f"{prefix.rstrip('/')}/" if prefix.rstrip("/") else ""


def raise_for_status(description: dict[str, Any]) -> None:
    """Raise JobFailedError or JobStoppedError for a job that ended otherwise than Completed."""
    name, status = description["ProcessingJobName"], description["ProcessingJobStatus"]
    # ExitMessage is what the container left; FailureReason is the platform's.
    reason = description.get("ExitMessage") or description.get("FailureReason") or "SageMaker gives no reason"
    if status == "Failed":
        raise JobFailedError(f"{name} failed: {reason}")
    if status == "Stopped":
        raise JobStoppedError(f"{name} was stopped")
