"""A Processing job in SageMaker: the image's prepare.

job = ProcessingJob.submit(request, region="us-east-1")
job.show()
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

from launcher.aws.following import Event, follow, print_events
from launcher.aws.log_tail import LogTail
from launcher.aws.session import client, explained, is_transient
from launcher.aws.submission import create, way_back
from launcher.errors import JobFailedError, JobStoppedError

LOG_GROUP = "/aws/sagemaker/ProcessingJobs"


class ProcessingJob:
    """One Processing job, by name and region."""

    def __init__(self, name: str, region: str, arn: str) -> None:
        self.name = name
        self.region = region
        self.arn = arn
        self.last_seen: dict[str, Any] | None = None
        """What SageMaker said of the job last, if it was asked."""
        self._transitions: list[dict[str, Any]] = []

    @classmethod
    def submit(cls, request: dict[str, Any], region: str) -> ProcessingJob:
        """Create the job; raise AwsError if SageMaker refuses the request."""
        return cls(request["ProcessingJobName"], region, create("processing", request, region))

    def describe(self) -> dict[str, Any]:
        """Return DescribeProcessingJob's answer."""
        with explained(f"describe {self.name}"):
            self.last_seen = self._describe()
        return self.last_seen

    @property
    def way_back(self) -> str:
        """The command that shows the job."""
        return way_back("processing", self.name, self.region)

    def follow(
        self, *, timeout: float | None = None, poll_interval: float = 10.0, waiting: bool = False
    ) -> Iterator[Event]:
        """Yield statuses and log lines as they come, until the job has ended; with `waiting`, Waiting between."""
        tail = LogTail(LOG_GROUP, self.name, self.region)
        return follow(
            self.name,
            self.way_back,
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

    def _describe(self) -> dict[str, Any]:
        description: dict[str, Any] = client("sagemaker", self.region).describe_processing_job(
            ProcessingJobName=self.name
        )
        assert description["ProcessingJobStatus"]  # or AnswerError
        return description

    def _look(self) -> dict[str, Any] | None:
        """Describe the job, with the history of its status, which SageMaker keeps for training jobs only."""
        with explained(f"follow {self.name}"):
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


def raise_for_status(description: dict[str, Any]) -> None:
    """Raise JobFailedError or JobStoppedError for a job that ended otherwise than Completed."""
    name, status = description["ProcessingJobName"], description["ProcessingJobStatus"]
    # ExitMessage is what the container left; FailureReason is the platform's.
    reason = description.get("ExitMessage") or description.get("FailureReason") or "SageMaker gives no reason"
    if status == "Failed":
        raise JobFailedError(f"{name} failed: {reason}")
    if status == "Stopped":
        raise JobStoppedError(f"{name} was stopped")
