"""Hyperparameter tuning jobs; runner/tuning_job.py runs them."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from local_sagemaker.api.handlers.jobs import refuse_empty_channels
from local_sagemaker.api.handlers.resources import Resource
from local_sagemaker.api.handlers.tags import forget_tags
from local_sagemaker.api.paging import page_of
from local_sagemaker.api.request_context import Document, RequestContext
from local_sagemaker.api.validators import training as training_validator
from local_sagemaker.api.validators import tuning as tuning_validator
from local_sagemaker.errors import ApiError, invalid
from local_sagemaker.runner.tuning_job import OBJECTIVE, TUNING, best_trial, trial_request

_RUNS = ("InProgress", "Stopping")


class _TuningJobs(Resource):
    """Tuning jobs, with the service's words."""

    def every(self, context: RequestContext) -> dict[str, Document]:
        """Return all tuning jobs by ARN, with counters and limits."""
        return {arn: described(record) for arn, record in super().every(context).items()}

    def _not_found(self, arn: str) -> ApiError:
        return ApiError("ResourceNotFound", f"Hyperparameter tuning job {arn} does not exist.")

    def _exists(self, arn: str) -> str:
        return f"Hyperparameter tuning job names must be unique within an AWS account and region ({arn})"


_JOBS = _TuningJobs(
    TUNING,
    "HyperParameterTuningJob",
    "HyperParameterTuningJobSummaries",
    "HyperParameterTuningJobName",
    of_people=False,
)

list_hyper_parameter_tuning_jobs = _JOBS.list


def create_hyper_parameter_tuning_job(context: RequestContext, request: Document) -> Document:
    """CreateHyperParameterTuningJob: also its training jobs' request is checked before anything runs."""
    tuning_validator.refuse_contradictions(request)
    name, config = request["HyperParameterTuningJobName"], request["HyperParameterTuningJobConfig"]
    arn = context.arn(TUNING, name.lower())
    for parent in request.get("WarmStartConfig", {}).get("ParentHyperParameterTuningJobs", []):
        _JOBS.describe(context, parent)
    record: dict[str, Any] = {
        **request,
        "HyperParameterTuningJobArn": arn,
        "HyperParameterTuningJobStatus": "InProgress",
        "LastModifiedTime": time.time(),
        "Trials": [],
    }
    given = config["ParameterRanges"]
    record["HyperParameterTuningJobConfig"] = {"TrainingJobEarlyStoppingType": "Off"} | config
    definition = request["TrainingJobDefinition"]
    objective = config["HyperParameterTuningJobObjective"]["MetricName"]
    # The SDKs' `attach` takes it from there.
    static = definition.get("StaticHyperParameters", {}) | {OBJECTIVE: objective}
    record["TrainingJobDefinition"] = definition | {"StaticHyperParameters": static}
    for kind in ("Integer", "Continuous", "Categorical"):
        given.setdefault(f"{kind}ParameterRanges", [])
    trial = trial_request(record, f"{name}-001-00000000", {})
    training_validator.refuse_contradictions(trial)
    refuse_empty_channels(trial, context.objects, context.region)
    if context.records.get(TUNING, arn) is not None:
        raise ApiError("ResourceInUse", _JOBS._exists(arn))  # noqa: SLF001 - the kind's own words
    tags = {"Tags": record["Tags"]} if record.get("Tags") else {}
    created = _JOBS.create(context, record)
    context.records.change(TUNING, arn, lambda kept: kept | tags)  # its training jobs have them too
    if context.running is not None:
        context.running.tuner.start(arn)
    return created


def describe_hyper_parameter_tuning_job(context: RequestContext, request: Document) -> Document:
    """DescribeHyperParameterTuningJob."""
    return described(_JOBS.describe(context, request))


def stop_hyper_parameter_tuning_job(context: RequestContext, request: Document) -> Document:
    """StopHyperParameterTuningJob."""
    record = _JOBS.describe(context, request)
    status = record["HyperParameterTuningJobStatus"]
    if status not in _RUNS:
        raise invalid(f"The request was rejected because the hyperparameter tuning job is in status {status}.")
    if context.running is not None:
        context.running.tuner.stop(record["HyperParameterTuningJobArn"])
    return {}


def delete_hyper_parameter_tuning_job(context: RequestContext, request: Document) -> Document:
    """DeleteHyperParameterTuningJob; its training jobs stay."""
    record = _JOBS.describe(context, request)
    arn, status = record["HyperParameterTuningJobArn"], record["HyperParameterTuningJobStatus"]
    if status in _RUNS:
        raise ApiError("ResourceInUse", f"Hyperparameter tuning job {arn} is in status {status}; stop it first.")
    context.records.delete(TUNING, arn)
    forget_tags(context, arn)
    return {}


def list_training_jobs_for_hyper_parameter_tuning_job(context: RequestContext, request: Document) -> Document:
    """ListTrainingJobsForHyperParameterTuningJob; by FinalObjectiveMetricValue, those that have one."""
    sort_by = request.get("SortBy", "Name")
    trials = _JOBS.describe(context, request)["Trials"]

    def key(trial: Document) -> Any:  # noqa: ANN401 - JSON
        if sort_by == "FinalObjectiveMetricValue":
            return trial["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
        return trial[{"Name": "TrainingJobName", "Status": "TrainingJobStatus"}.get(sort_by, "CreationTime")]

    page = page_of(
        [
            trial
            for trial in trials
            if request.get("StatusEquals") in (None, trial["TrainingJobStatus"])
            and (sort_by != "FinalObjectiveMetricValue" or trial["ObjectiveStatus"] == "Succeeded")
        ],
        request,
        key=key,
        name=lambda trial: trial["TrainingJobName"],
        descending=request.get("SortOrder") == "Descending",
    )
    return page.answer("TrainingJobSummaries")


def described(record: Document) -> Document:
    """Return a record with counters and the best training job."""
    trials = record["Trials"]
    statuses = Counter(trial["TrainingJobStatus"] for trial in trials)
    objectives = Counter(trial["ObjectiveStatus"] for trial in trials)
    described = record | {
        "Strategy": record["HyperParameterTuningJobConfig"]["Strategy"],
        "ResourceLimits": record["HyperParameterTuningJobConfig"]["ResourceLimits"],
        "TrainingJobStatusCounters": {
            "Completed": statuses["Completed"],
            "InProgress": statuses["InProgress"] + statuses["Stopping"],
            "RetryableError": 0,
            "NonRetryableError": statuses["Failed"],
            "Stopped": statuses["Stopped"],
        },
        "ObjectiveStatusCounters": {status: objectives[status] for status in ("Succeeded", "Pending", "Failed")},
    }
    best = best_trial(record)
    if best is not None:
        described["BestTrainingJob"] = best
        if "WarmStartConfig" in record:
            described["OverallBestTrainingJob"] = best
    return described
