"""A training job in SageMaker: submit it or attach to it, then follow, read, stop.

    job = TrainingJob.attach("star-rating-2026-11-22-10-23-54-783", region="us-east-1")
    job.show()                              # phases and log until it ends, as the command line shows them
    job.metrics().dataframe()
    job.rules(); job.download("out")

Every method asks AWS afresh: a job can be attached to from any machine, at any time. As a cell's last line a job is its
status, its links and its metrics.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from launcher.aws import lineage, metrics
from launcher.aws.artifacts import Downloaded, download
from launcher.aws.errors import NotFoundError, RefusedError, call_with_retries, is_transient, translating_aws_errors
from launcher.aws.following import Event, follow, has_ended, print_events
from launcher.aws.images import image_digest
from launcher.aws.log_tail import LogLine, LogTail
from launcher.aws.notebook import Table, job_html
from launcher.aws.session import Session, aws
from launcher.aws.submission import create, reattach_command
from launcher.aws.summary import console_links, local_link, summary
from launcher.errors import AwsError, JobFailedError, JobStoppedError, LauncherError, UsageError
from launcher.request import host_count
from launcher.request.keys import toml_key_for

LOG_GROUP = "/aws/sagemaker/TrainingJobs"

_ARN = re.compile(r"arn:[\w-]+:sagemaker:(?P<region>[a-z0-9-]+):\d{12}:training-job/(?P<name>[A-Za-z0-9-]{1,63})")

_OPTIONAL = {
    "debugger": ("DebugHookConfig", "DebugRuleConfigurations"),
    "profiler": ("ProfilerConfig", "ProfilerRuleConfigurations"),
    "experiment": ("ExperimentConfig",),
}
"""What --without leaves out -> its fields of the request."""


class TrainingJob:
    """One training job, by name and region."""

    def __init__(self, name: str, region: str, arn: str | None = None, *, session: Session | None = None) -> None:
        self.name = name
        self.region = region
        self._session = (session or aws()).for_region(region)
        self._arn = arn
        self.last_seen: dict[str, Any] | None = None
        """What SageMaker said of the job last, if it was asked."""
        self._request: dict[str, Any] | None = None
        """What it was submitted with, if this object did."""

    def __repr__(self) -> str:
        seen = f", status={self.last_seen['TrainingJobStatus']!r}" if self.last_seen else ""
        return f"TrainingJob({self.name!r}, region={self.region!r}{seen})"

    def _repr_html_(self) -> str:
        try:
            description = self.describe()
        except AwsError as error:  # a cell that shows a job is not to fail for it
            return job_html(self.name, "unknown", {}, [("reason", error)])
        fields = summary(description, self.region)
        shown = [(field, value) for field, value in fields.items() if field not in ("job", "status")]
        return job_html(self.name, fields["status"], self.links(), shown)

    @classmethod
    def submit(cls, request: dict[str, Any], region: str, *, session: Session | None = None) -> TrainingJob:
        """Create the job and keep a record of it; raise AwsError if SageMaker refuses the request.

        From here on it runs and costs: nothing else is waited for. `record_image` adds the image's digest.
        """
        session = (session or aws()).for_region(region)
        try:
            arn = create("training", request, session)
        except RefusedError as error:
            raise RefusedError(f"{error}{_without_hint(str(error), request)}") from None
        # Without a record, say on a full disk, `latest` asks SageMaker; the job runs all the same.
        with suppress(OSError, LauncherError):
            session.records.write(request, region, arn)
        job = cls(request["TrainingJobName"], region, arn, session=session)
        job._request = request
        return job

    def record_image(self, image: str) -> None:
        """Put the image's digest into the job's record, as far as ECR tells it soon and the disk takes it."""
        with suppress(OSError, LauncherError):
            self._session.records.add_image(self.name, image_digest(image, self._session))

    @classmethod
    def attach(cls, job: str = "latest", region: str | None = None, *, session: Session | None = None) -> TrainingJob:
        """Return a job by name or ARN, or the latest one; raise NotFoundError if it is not in the region."""
        session = session or aws()
        name, region = find(job, region, session)
        training_job = cls(name, region, session=session)
        try:
            training_job.describe()
        except NotFoundError:
            jobs = session.cli_hint(f"list --region {region}")
            raise NotFoundError(f"there is no training job {name} in {region}: {jobs} shows what is there") from None
        return training_job

    @property
    def arn(self) -> str:
        """The job's ARN."""
        if self._arn is None:
            self._arn = str(self.describe()["TrainingJobArn"])
        return self._arn

    def describe(self) -> dict[str, Any]:
        """Return DescribeTrainingJob's answer."""
        with translating_aws_errors(f"describe {self.name}"):
            description: dict[str, Any] = call_with_retries(
                self._session.client("sagemaker").describe_training_job, TrainingJobName=self.name
            )
        return self._seen(description)

    def links(self) -> dict[str, str]:
        """Return the pages that show the job: AWS's console, or the local SageMaker's own."""
        dashboard = self._session.dashboard_url()
        if dashboard is not None:
            return {"page": local_link(dashboard, self.name, self.region)}
        return console_links(self.last_seen or self._request or self.describe(), self.region)

    def follow(
        self,
        *,
        logs: bool = True,
        timeout: float | None = None,
        poll_interval: float = 10.0,
        waiting: bool = False,
    ) -> Iterator[Event]:
        """Yield phases, log lines and rule verdicts as they come, until the job has ended.

        Every event prints as one line; with `waiting`, a PendingStatus comes if nothing is new. Raises
        WaitTimeoutError after `timeout` seconds; the job continues.
        """
        tail = LogTail(LOG_GROUP, self.name, self._session) if logs else None
        back = reattach_command("training", self.name, self._session)
        return follow(self.name, back, self._look, tail, timeout=timeout, poll_interval=poll_interval, waiting=waiting)

    def show(self, *, logs: bool = True, timeout: float | None = None, poll_interval: float = 10.0) -> TrainingJob:
        """Print phases, log and verdicts until the job has ended, and return the job, for the notebook to show.

        Raises JobFailedError and JobStoppedError on a bad end, WaitTimeoutError after `timeout` seconds. An interrupted
        cell leaves the job alone: it continues.
        """
        several_hosts = host_count(self.describe()["ResourceConfig"]) > 1
        print_events(self.follow(logs=logs, timeout=timeout, poll_interval=poll_interval), several_hosts=several_hosts)
        raise_for_status(self.last_seen or self.describe())
        return self

    def wait(self, *, timeout: float | None = None, poll_interval: float = 10.0) -> dict[str, Any]:
        """Wait until the job has ended and return its description; raise JobFailedError or JobStoppedError."""
        for _ in self.follow(logs=False, timeout=timeout, poll_interval=poll_interval):
            pass
        description = self.last_seen or self.describe()
        raise_for_status(description)
        return description

    def logs(self) -> Iterator[LogLine]:
        """Yield the lines that are there now, all hosts in time order."""
        return LogTail(LOG_GROUP, self.name, self._session).new_lines()

    def metrics(self) -> Table:
        """Return the exact final value of each metric, as {metric, value, time}."""
        return Table(metrics.final_values(self.describe()))

    def metric_series(self, period: int = 60) -> Table:
        """Return CloudWatch's time series of each metric, as {metric, time, value}; `period` in seconds."""
        return Table(metrics.time_series(self.describe(), self._session, period))

    def rules(self) -> Table:
        """Return the verdict of each rule: the service's, or, of an ended job without any, those of the image."""
        description = self.describe()
        statuses = metrics.rule_statuses(description)
        if not statuses and has_ended(description):
            statuses = metrics.rules_of_the_image(description, self._session)
        return Table(statuses)

    def experiment(self) -> Table:
        """Return the runs of the job's experiment, newest first."""
        return Table(lineage.experiment_runs(self.describe(), self._session))

    def lineage(self) -> Table:
        """Return what the job was made from and what it made."""
        return Table(lineage.associations(self.describe(), self._session))

    def download(self, folder: str | Path) -> Downloaded:
        """Fetch and unpack model and output into a folder; raise AwsError or UnsafeArchiveError."""
        return download(self.describe(), self._session, Path(folder))

    def stop(self) -> None:
        """Ask SageMaker to stop the job: SIGTERM, and two minutes to end in order."""
        with translating_aws_errors(f"stop {self.name}"):
            self._session.client("sagemaker").stop_training_job(TrainingJobName=self.name)

    def _seen(self, description: dict[str, Any]) -> dict[str, Any]:
        """Keep a description; raise AnswerError for one that does not even say what has become of the job."""
        assert description["TrainingJobStatus"]
        self.last_seen = description
        return description

    def _look(self) -> dict[str, Any] | None:
        """Describe the job; None if AWS is busy now, or the way to it is cut."""
        with translating_aws_errors(f"follow {self.name}"):
            try:
                return self._seen(self._session.client("sagemaker").describe_training_job(TrainingJobName=self.name))
            except Exception as error:
                if is_transient(error):
                    return None
                raise


def _without_hint(refusal: str, request: dict[str, Any]) -> str:
    """Return how to leave out what SageMaker refuses, by switch and by key: none of these may keep a job from running.

    A refusal names fields of the request, or it speaks of the feature, as `SageMaker Debugger is not available` does.
    """
    said = refusal.replace(request["TrainingJobName"], "").lower()
    sent = [(feature, field) for feature, fields in _OPTIONAL.items() for field in fields if field in request]
    refused = [(feature, field) for feature, field in sent if field.lower() in said]
    refused = refused or [(feature, field) for feature, field in sent if feature in said]
    if not refused:
        return ""
    switches = " ".join(f"--without {feature}" for feature in dict.fromkeys(feature for feature, _ in refused))
    keys = ", ".join(toml_key_for((field,), request) for _, field in refused)
    return f"; launch without it: {switches}, or take {keys} out of the job file"


def raise_for_status(description: dict[str, Any]) -> None:
    """Raise JobFailedError or JobStoppedError, with the reason, for a job that ended otherwise than Completed."""
    name, status = description["TrainingJobName"], description["TrainingJobStatus"]
    if status == "Failed":
        raise JobFailedError(f"{name} failed: {description.get('FailureReason', 'SageMaker gives no reason')}")
    if status == "Stopped":
        secondary = description.get("SecondaryStatus", "Stopped")
        why = {
            "MaxRuntimeExceeded": "ran longer than stopping_condition.max_runtime_in_seconds",
            "MaxWaitTimeExceeded": "waited longer than stopping_condition.max_wait_time_in_seconds",
        }.get(secondary, "was stopped")
        raise JobStoppedError(f"{name} {why}")


def list_jobs(
    session: Session, *, name_contains: str | None = None, status: str | None = None, limit: int = 20
) -> list[dict[str, Any]]:
    """Return the newest training jobs as {job, status, created, ended}."""
    wanted: dict[str, Any] = {"SortBy": "CreationTime", "SortOrder": "Descending"}
    if name_contains:
        wanted["NameContains"] = name_contains
    if status:
        wanted["StatusEquals"] = status
    with translating_aws_errors("list training jobs"):
        pages = (
            session.client("sagemaker")
            .get_paginator("list_training_jobs")
            .paginate(**wanted, PaginationConfig={"MaxItems": limit, "PageSize": min(limit, 100)})
        )
        return [
            {
                "job": summary["TrainingJobName"],
                "status": summary["TrainingJobStatus"],
                "created": summary["CreationTime"],
                "ended": summary.get("TrainingEndTime"),
            }
            for page in pages
            for summary in page["TrainingJobSummaries"]
        ]


def find(job: str, region: str | None, session: Session) -> tuple[str, str]:
    """Return name and region for a name, an ARN or `latest`; raise AwsError if there is none."""
    if job.startswith("arn:"):
        match = _ARN.fullmatch(job)
        if match is None:
            raise UsageError(f"{job} is no training job's ARN: arn:aws:sagemaker:REGION:ACCOUNT:training-job/NAME")
        return match["name"], match["region"]
    record = session.records.latest(region) if job == "latest" else session.records.find(job)
    if record is not None and region in (None, record.region):
        return record.job_name, record.region
    session = session.for_region(region)
    region = session.client("sagemaker").meta.region_name
    if job != "latest":
        return job, region
    newest = list_jobs(session, limit=1)
    if not newest:
        raise NotFoundError(f"there is no training job in {region}; submit one with {session.cli_hint('train')}")
    return newest[0]["job"], region
