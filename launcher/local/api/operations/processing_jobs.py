"""Operations on Processing jobs."""

from __future__ import annotations

from launcher.local.api.account import Account, Document
from launcher.local.api.answers.processing import description, summary
from launcher.local.api.errors import ApiError, invalid
from launcher.local.api.names import job_arn
from launcher.local.api.operations import experiments
from launcher.local.api.operations.tags import forget_tags
from launcher.local.api.paging import page_of, within
from launcher.local.api.rules import processing as processing_rules
from launcher.local.jobs import JobEndedError, JobNotEndedError, NameTakenError


def create_processing_job(account: Account, request: Document) -> Document:
    """CreateProcessingJob."""
    processing_rules.refuse_contradictions(request)
    experiments.refuse_unknown(account, request.get("ExperimentConfig", {}))
    name = request["ProcessingJobName"]
    try:
        job = account.jobs.create("processing", request, account.region)
    except NameTakenError:
        raise ApiError(
            "ResourceInUse",
            "Job name must be unique within an AWS account and region, and a job with this name already exists "
            f"({account.arn('processing-job', name)})",
        ) from None
    experiments.join(account, job)
    return {"ProcessingJobArn": job_arn(job)}


def describe_processing_job(account: Account, request: Document) -> Document:
    """DescribeProcessingJob."""
    return description(account.job("processing", request["ProcessingJobName"]))


def list_processing_jobs(account: Account, request: Document) -> Document:
    """ListProcessingJobs."""
    field = {"Name": "ProcessingJobName", "Status": "ProcessingJobStatus"}.get(
        request.get("SortBy", ""), "CreationTime"
    )
    rows = [
        row
        for row in map(summary, account.all_jobs("processing"))
        if request.get("NameContains", "") in row["ProcessingJobName"]
        and request.get("StatusEquals") in (None, row["ProcessingJobStatus"])
        and within(request, row, CreationTime="CreationTime", LastModifiedTime="LastModifiedTime")
    ]
    page = page_of(
        rows,
        request,
        key=lambda row: row[field],
        name=lambda row: row["ProcessingJobName"],
        descending=request.get("SortOrder") == "Descending",
    )
    return page.answer("ProcessingJobSummaries")


def stop_processing_job(account: Account, request: Document) -> Document:
    """StopProcessingJob."""
    job = account.job("processing", request["ProcessingJobName"])
    try:
        account.jobs.stop("processing", job.name)
    except JobEndedError:
        status = account.job("processing", job.name).status
        raise invalid(f"The request was rejected because the processing job is in status {status}.") from None
    return {}


def delete_processing_job(account: Account, request: Document) -> Document:
    """DeleteProcessingJob; what the job left in S3 stays."""
    name = request["ProcessingJobName"]
    job = account.jobs.store.get("processing", name)
    if job is None or job.region != account.region:
        raise ApiError("ResourceNotFound", f"Processing job {account.arn('processing-job', name)} does not exist.")
    try:
        account.jobs.delete("processing", name)
    except JobNotEndedError:
        raise ApiError(
            "ResourceInUse", f"Processing job {job_arn(job)} is in status {job.status} and cannot be deleted."
        ) from None
    forget_tags(account, job_arn(job))
    return {}
