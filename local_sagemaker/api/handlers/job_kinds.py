"""What the operations on training jobs and on Processing jobs have in common.

TRAINING.create(account, request)       # raises ApiError in the words of its kind
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from local_sagemaker.api.account import Account, Document
from local_sagemaker.api.handlers import experiments
from local_sagemaker.api.handlers.tags import forget_tags
from local_sagemaker.api.names import component_arn, job_arn
from local_sagemaker.api.paging import page_of, within
from local_sagemaker.api.serializers import processing, training
from local_sagemaker.document import Job, Kind
from local_sagemaker.errors import ApiError, invalid
from local_sagemaker.jobs import NAME_FIELDS, JobEndedError, JobNotEndedError, NameTakenError


@dataclass(frozen=True)
class JobKind:
    """A kind of job, as its operations name it."""

    kind: Kind
    title: str
    """TrainingJob, ProcessingJob: what its fields begin with."""
    taken: str
    """What is said of a name that there is already."""
    summary: Callable[[Job], Document]

    @property
    def text(self) -> str:
        """`training job`, for sentences."""
        return f"{self.kind} job"

    def job(self, account: Account, request: Document) -> Job:
        """Return the job that a request names; raise ApiError."""
        return account.job(self.kind, request[NAME_FIELDS[self.kind]])

    def create(self, account: Account, request: Document) -> Document:
        """Keep a job whose request is right, and make it part of its experiment."""
        experiments.refuse_unknown(account, request.get("ExperimentConfig", {}))
        try:
            job = account.jobs.create(self.kind, request, account.region, lambda job: experiments.join(account, job))
        except NameTakenError:
            arn = account.arn(f"{self.kind}-job", request[NAME_FIELDS[self.kind]])
            raise ApiError("ResourceInUse", f"{self.taken} ({arn})") from None
        return {f"{self.title}Arn": job_arn(job)}

    def list(self, account: Account, request: Document) -> Document:
        """Return a page of summaries."""
        name, status = f"{self.title}Name", f"{self.title}Status"
        field = {"Name": name, "Status": status}.get(request.get("SortBy", ""), "CreationTime")
        rows = [
            row
            for row in map(self.summary, account.all_jobs(self.kind))
            if request.get("NameContains", "") in row[name]
            and request.get("StatusEquals") in (None, row[status])
            and request.get("WarmPoolStatusEquals") in (None, row.get("WarmPoolStatus", {}).get("Status"))
            and "TrainingPlanArnEquals" not in request  # no job here has a plan
            and within(request, row, CreationTime="CreationTime", LastModifiedTime="LastModifiedTime")
        ]
        page = page_of(
            rows,
            request,
            key=lambda row: row[field],
            name=lambda row: row[name],
            descending=request.get("SortOrder") == "Descending",
        )
        return page.answer(f"{self.title}Summaries")

    def stop(self, account: Account, request: Document) -> Document:
        """Let a job end; one that is stopping already is stopped once."""
        job = self.job(account, request)
        try:
            account.jobs.stop(self.kind, job.name, job.region)
        except JobEndedError:
            raise self.in_status(self.job(account, request).status) from None
        return {}

    def delete(self, account: Account, request: Document) -> Document:
        """Forget a job that has ended; what it left in S3 stays."""
        name = request[NAME_FIELDS[self.kind]]
        job = account.jobs.store.get(self.kind, name, account.region)
        arn = account.arn(f"{self.kind}-job", name)
        if job is None:
            raise ApiError("ResourceNotFound", f"{self.text.capitalize()} {arn} does not exist.")
        try:
            account.jobs.delete(self.kind, name, account.region)
        except JobNotEndedError:
            refusal = f"{self.text.capitalize()} {arn} is in status {job.status} and cannot be deleted."
            raise ApiError("ResourceInUse", refusal) from None
        forget_tags(account, arn)
        account.records.forget_appended(component_arn(job))
        return {}

    def in_status(self, status: str) -> ApiError:
        """Return the refusal of what a job's status does not allow."""
        return invalid(f"The request was rejected because the {self.text} is in status {status}.")


TRAINING = JobKind(
    kind="training",
    title="TrainingJob",
    taken="Training job names must be unique within an AWS account and region, "
    "and a training job with this name already exists",
    summary=training.summary,
)

PROCESSING = JobKind(
    kind="processing",
    title="ProcessingJob",
    taken="Job name must be unique within an AWS account and region, and a job with this name already exists",
    summary=processing.summary,
)
