"""Operations on training and Processing jobs: what both kinds have in common, then each kind's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from local_sagemaker.api.arns import component_arn, job_arn
from local_sagemaker.api.handlers import experiments
from local_sagemaker.api.handlers.tags import forget_tags
from local_sagemaker.api.paging import page_of, within
from local_sagemaker.api.request_context import Document, RequestContext
from local_sagemaker.api.serializers.jobs import (
    processing_description,
    processing_summary,
    training_description,
    training_summary,
)
from local_sagemaker.api.validators import processing as processing_validator
from local_sagemaker.api.validators import training as training_validator
from local_sagemaker.errors import ApiError, invalid
from local_sagemaker.job_service import NAME_FIELDS, JobEndedError, JobNotEndedError, NameTakenError
from local_sagemaker.job_state import Job, Kind
from local_sagemaker.services.s3_store import NoSuchObjectError, ObjectStore


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

    def job(self, context: RequestContext, request: Document) -> Job:
        """Return the job that a request names; raise ApiError."""
        return context.job(self.kind, request[NAME_FIELDS[self.kind]])

    def create(self, context: RequestContext, request: Document) -> Document:
        """Keep a job whose request is right, and make it part of its experiment."""
        experiments.refuse_unknown(context, request.get("ExperimentConfig", {}))
        try:
            job = context.jobs.create(self.kind, request, context.region, lambda job: experiments.join(context, job))
        except NameTakenError:
            arn = context.arn(f"{self.kind}-job", request[NAME_FIELDS[self.kind]])
            raise ApiError("ResourceInUse", f"{self.taken} ({arn})") from None
        return {f"{self.title}Arn": job_arn(job)}

    def list(self, context: RequestContext, request: Document) -> Document:
        """Return a page of summaries."""
        name, status = f"{self.title}Name", f"{self.title}Status"
        field = {"Name": name, "Status": status}.get(request.get("SortBy", ""), "CreationTime")
        rows = [
            row
            for row in map(self.summary, context.all_jobs(self.kind))
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

    def stop(self, context: RequestContext, request: Document) -> Document:
        """Let a job end; one that is stopping already is stopped once."""
        job = self.job(context, request)
        try:
            context.jobs.stop(self.kind, job.name, job.region)
        except JobEndedError:
            raise self.in_status(self.job(context, request).status) from None
        return {}

    def delete(self, context: RequestContext, request: Document) -> Document:
        """Forget a job that has ended; what it left in S3 stays."""
        name = request[NAME_FIELDS[self.kind]]
        job = context.jobs.store.get(self.kind, name, context.region)
        arn = context.arn(f"{self.kind}-job", name)
        if job is None:
            raise ApiError("ResourceNotFound", f"{self.text.capitalize()} {arn} does not exist.")
        try:
            context.jobs.delete(self.kind, name, context.region)
        except JobNotEndedError:
            refusal = f"{self.text.capitalize()} {arn} is in status {job.status} and cannot be deleted."
            raise ApiError("ResourceInUse", refusal) from None
        forget_tags(context, arn)
        context.records.forget_appended(component_arn(job))
        return {}

    def in_status(self, status: str) -> ApiError:
        """Return the refusal of what a job's status does not allow."""
        return invalid(f"The request was rejected because the {self.text} is in status {status}.")


TRAINING = JobKind(
    kind="training",
    title="TrainingJob",
    taken="Training job names must be unique within an AWS account and region, "
    "and a training job with this name already exists",
    summary=training_summary,
)

PROCESSING = JobKind(
    kind="processing",
    title="ProcessingJob",
    taken="Job name must be unique within an AWS account and region, and a job with this name already exists",
    summary=processing_summary,
)


list_training_jobs = TRAINING.list
stop_training_job = TRAINING.stop
delete_training_job = TRAINING.delete


def create_training_job(context: RequestContext, request: Document) -> Document:
    """CreateTrainingJob."""
    training_validator.refuse_contradictions(request)
    if context.account == "new":
        training_validator.refuse_debugger(request)
    refuse_empty_channels(request, context.objects, context.region)
    return TRAINING.create(context, request)


def describe_training_job(context: RequestContext, request: Document) -> Document:
    """DescribeTrainingJob."""
    return training_description(TRAINING.job(context, request))


def update_training_job(context: RequestContext, request: Document) -> Document:
    """UpdateTrainingJob: Profiler while the job runs, the warm pool's time, remote debugging."""
    job = TRAINING.job(context, request)
    if job.has_ended:
        raise TRAINING.in_status(job.status)
    if context.account == "new":
        training_validator.refuse_debugger(request)
    now = job.current_request
    if "RemoteDebugConfig" in request and now.get("EnableNetworkIsolation"):
        raise invalid("EnableRemoteDebug is not supported when EnableNetworkIsolation is set to true")
    replaced = ("ProfilerRuleConfigurations", "RemoteDebugConfig")
    changed: Document = {field: request[field] for field in replaced if field in request}
    for field in ("ProfilerConfig", "ResourceConfig"):
        if field in request:
            changed[field] = now.get(field, {}) | request[field]
    training_validator.refuse_contradictions(now | changed)
    return {"TrainingJobArn": job_arn(context.jobs.update("training", job.name, changed, job.region))}


list_processing_jobs = PROCESSING.list
stop_processing_job = PROCESSING.stop
delete_processing_job = PROCESSING.delete


def create_processing_job(context: RequestContext, request: Document) -> Document:
    """CreateProcessingJob."""
    processing_validator.refuse_contradictions(request)
    return PROCESSING.create(context, request)


def describe_processing_job(context: RequestContext, request: Document) -> Document:
    """DescribeProcessingJob."""
    return processing_description(PROCESSING.job(context, request))


def refuse_empty_channels(request: dict[str, Any], objects: ObjectStore, region: str) -> None:
    """Raise ApiError, in the service's words, for the first channel with nothing at its S3 URI."""
    for channel in request.get("InputDataConfig", []):
        source = channel["DataSource"]["S3DataSource"]
        bucket, _, key = source["S3Uri"].removeprefix("s3://").partition("/")
        if not _has_data(objects, bucket, key, is_prefix=source["S3DataType"] == "S3Prefix"):
            raise invalid(
                f'No S3 objects found under S3 URL "{source["S3Uri"]}" given in input data source. Please ensure that '
                f"the bucket exists in the selected region ({region}), that objects exist under that S3 prefix, and "
                f'that the role "{request["RoleArn"]}" has "s3:ListBucket" permissions on bucket "{bucket}".'
            )


def _has_data(objects: ObjectStore, bucket: str, key: str, *, is_prefix: bool) -> bool:
    try:
        return any(is_prefix or found.key == key for found in objects.list(bucket, key))
    except NoSuchObjectError:
        return False
