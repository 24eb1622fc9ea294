"""Operations on training jobs."""

from __future__ import annotations

from launcher.local.api.account import Account, Document
from launcher.local.api.answers.training import description, summary
from launcher.local.api.errors import ApiError, invalid
from launcher.local.api.names import job_arn
from launcher.local.api.operations import experiments
from launcher.local.api.operations.tags import forget_tags
from launcher.local.api.paging import page_of, within
from launcher.local.api.rules import training as training_rules
from launcher.local.api.rules.data import refuse_empty_channels
from launcher.local.jobs import JobEndedError, JobNotEndedError, NameTakenError


def create_training_job(account: Account, request: Document) -> Document:
    """CreateTrainingJob."""
    training_rules.refuse_contradictions(request)
    refuse_empty_channels(request, account.objects, account.region)
    experiments.refuse_unknown(account, request.get("ExperimentConfig", {}))
    name = request["TrainingJobName"]
    try:
        job = account.jobs.create("training", request, account.region)
    except NameTakenError:
        raise ApiError(
            "ResourceInUse",
            "Training job names must be unique within an AWS account and region, and a training job with this name "
            f"already exists ({account.arn('training-job', name)})",
        ) from None
    experiments.join(account, job)
    return {"TrainingJobArn": job_arn(job)}


def describe_training_job(account: Account, request: Document) -> Document:
    """DescribeTrainingJob."""
    return description(account.job("training", request["TrainingJobName"]))


def list_training_jobs(account: Account, request: Document) -> Document:
    """ListTrainingJobs."""
    field = {"Name": "TrainingJobName", "Status": "TrainingJobStatus"}.get(request.get("SortBy", ""), "CreationTime")
    rows = [
        row
        for row in map(summary, account.all_jobs("training"))
        if request.get("NameContains", "") in row["TrainingJobName"]
        and request.get("StatusEquals") in (None, row["TrainingJobStatus"])
        and request.get("WarmPoolStatusEquals") in (None, row.get("WarmPoolStatus", {}).get("Status"))
        and "TrainingPlanArnEquals" not in request  # no job here has a plan
        and within(request, row, CreationTime="CreationTime", LastModifiedTime="LastModifiedTime")
    ]
    page = page_of(
        rows,
        request,
        key=lambda row: row[field],
        name=lambda row: row["TrainingJobName"],
        descending=request.get("SortOrder") == "Descending",
    )
    return page.answer("TrainingJobSummaries")


def stop_training_job(account: Account, request: Document) -> Document:
    """StopTrainingJob; a job that is stopping already is stopped once."""
    job = account.job("training", request["TrainingJobName"])
    try:
        account.jobs.stop("training", job.name)
    except JobEndedError:
        raise _in_status(account.job("training", job.name).status) from None
    return {}


def update_training_job(account: Account, request: Document) -> Document:
    """UpdateTrainingJob: Profiler while the job runs, the warm pool's time, remote debugging."""
    job = account.job("training", request["TrainingJobName"])
    if job.has_ended:
        raise _in_status(job.status)
    now = job.current_request
    if "RemoteDebugConfig" in request and now.get("EnableNetworkIsolation"):
        raise invalid("EnableRemoteDebug is not supported when EnableNetworkIsolation is set to true")
    changed: Document = {
        field: request[field] for field in ("ProfilerRuleConfigurations", "RemoteDebugConfig") if field in request
    }
    for field in ("ProfilerConfig", "ResourceConfig"):
        if field in request:
            changed[field] = now.get(field, {}) | request[field]
    training_rules.refuse_contradictions(now | changed)
    return {"TrainingJobArn": job_arn(account.jobs.update("training", job.name, changed))}


def delete_training_job(account: Account, request: Document) -> Document:
    """DeleteTrainingJob; what the job left in S3 stays."""
    name = request["TrainingJobName"]
    job = account.jobs.store.get("training", name)
    if job is None or job.region != account.region:
        raise ApiError("ResourceNotFound", f"Training job {account.arn('training-job', name)} does not exist.")
    try:
        account.jobs.delete("training", name)
    except JobNotEndedError:
        raise ApiError(
            "ResourceInUse", f"Training job {job_arn(job)} is in status {job.status} and cannot be deleted."
        ) from None
    forget_tags(account, job_arn(job))
    return {}


def _in_status(status: str) -> ApiError:
    return invalid(f"The request was rejected because the training job is in status {status}.")
