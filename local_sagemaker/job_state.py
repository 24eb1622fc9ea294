"""A job as one document: what was asked for, and what has become of it so far.

    job = Job(kind="training", name="star-rating-1", region="us-east-1", request=request, creation_time=time.time())
    job = job.entered("Downloading", "Downloading input data", time.time())

Pure and frozen: the runner makes new ones of it, job_repository.py writes them, the API answers from them. Times are
seconds since 1970, as in SageMaker's JSON.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from local_sagemaker.state import ACCOUNT, job_key

Kind = Literal["training", "processing"]
Status = Literal["InProgress", "Stopping", "Completed", "Failed", "Stopped"]

ENDED: tuple[Status, ...] = ("Completed", "Failed", "Stopped")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Transition(_Frozen):
    """A secondary status, and from when to when it held."""

    status: str
    message: str
    start_time: float
    end_time: float | None = None


class MetricSummary(_Frozen):
    """What a metric's values come to; a trial component and FinalMetricDataList show it."""

    count: int = 0
    last: float = math.nan
    last_time: float = 0.0
    minimum: float = math.inf
    maximum: float = -math.inf
    mean: float = 0.0
    squares: float = 0.0
    """Sum of squared distances from the mean (Welford)."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    def followed_by(self, value: float, time: float) -> MetricSummary:
        """Return the summary with one more value."""
        count, distance = self.count + 1, value - self.mean
        mean = self.mean + distance / count
        return MetricSummary(
            count=count,
            last=value,
            last_time=time,
            minimum=min(self.minimum, value),
            maximum=max(self.maximum, value),
            mean=mean,
            squares=self.squares + distance * (value - mean),
        )

    @property
    def standard_deviation(self) -> float:
        """Of the values as a population."""
        return math.sqrt(self.squares / self.count) if self.count else math.nan


RuleVerdict = Literal["InProgress", "NoIssuesFound", "IssuesFound", "Error", "Stopping", "Stopped"]


class RuleStatus(_Frozen):
    """What a Debugger or profiler rule says at the moment."""

    kind: Literal["debugger", "profiler"]
    name: str
    status: RuleVerdict = "InProgress"
    details: str | None = None
    last_modified_time: float


class Outcome(_Frozen):
    """How a job is going to end, once its results are in S3."""

    status: Status
    secondary_status: str
    message: str
    failure_reason: str | None = None


class Job(_Frozen):
    """A training or processing job."""

    kind: Kind
    name: str
    region: str
    request: dict[str, Any]
    """As it came, word for word."""
    changes: dict[str, Any] = {}
    """Fields that UpdateTrainingJob has set since; they stand above the request's."""
    creation_time: float
    last_modified_time: float = 0.0

    status: Status = "InProgress"
    secondary_status: str = "Starting"
    transitions: tuple[Transition, ...] = ()
    failure_reason: str | None = None
    exit_message: str | None = None
    """Of a processing job: what it left in /opt/ml/output/message."""
    stop_requested: bool = False
    outcome: Outcome | None = None
    """Set when the containers have ended; a server that is started anew goes on from here."""

    hosts: tuple[str, ...] = ()
    """algo-1, ... of the attempt that runs or ran last."""
    attempt: int = 0
    """Counts interruptions and retries; 0 is the first."""
    retries: int = 0
    """How often RetryStrategy has started it again."""
    running_since: float | None = None
    """When this attempt's hosts were there; None while there are none."""
    image_id: str | None = None
    """The image's content, sha256:..., as the engine has it."""
    start_time: float | None = None
    """When the first host was there."""
    end_time: float | None = None
    training_seconds: float = 0.0
    """Of all attempts; without waiting for capacity in between."""
    billable_seconds: float = 0.0

    metrics: dict[str, MetricSummary] = {}
    rules: tuple[RuleStatus, ...] = ()
    model_uri: str | None = None
    output_uri: str | None = None

    @property
    def has_ended(self) -> bool:
        """Whether nothing changes any more."""
        return self.status in ENDED

    @property
    def current_request(self) -> dict[str, Any]:
        """The request with what UpdateTrainingJob has changed of it."""
        return self.request | self.changes

    def entered(self, secondary_status: str, message: str, time: float, **changes: object) -> Job:
        """Return the job in a secondary status, with other changes that come with it; one it is in has a new message.

        A change of `end_time` makes it the last status, which ends as it begins.
        """
        *before, last = self.transitions or (None,)
        if last is not None and last.status == secondary_status:
            entered = last.model_copy(update={"message": message})
        else:
            before += [] if last is None else [last.model_copy(update={"end_time": time})]
            entered = Transition(
                status=secondary_status,
                message=message,
                start_time=time,
                end_time=time if "end_time" in changes else None,
            )
        return self.changed(secondary_status=secondary_status, transitions=(*before, entered), **changes)

    def time_until(self, now: float) -> dict[str, object]:
        """Return the changes that end the running of this attempt: its time is added to what was there."""
        if self.running_since is None:
            return {}
        seconds = max(0.0, now - self.running_since)
        return {
            "running_since": None,
            "training_seconds": self.training_seconds + seconds,
            "billable_seconds": self.billable_seconds + seconds,
        }

    @property
    def key(self) -> str:
        """What tells it from every other job of its kind, in any region."""
        return job_key(self.name, self.region)

    @property
    def arn(self) -> str:
        """Its ARN."""
        return f"arn:aws:sagemaker:{self.region}:{ACCOUNT}:{self.kind}-job/{self.name}"

    def changed(self, **changes: object) -> Job:
        """Return the job with other values; they are held against the document's types."""
        return Job.model_validate({**dict(self), **changes})
