"""Hyperparameter tuning jobs; runner/tuning_job.py runs them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from local_sagemaker.api.handlers.jobs import refuse_empty_channels
from local_sagemaker.api.handlers.resources import JobResource
from local_sagemaker.api.handlers.tags import forget_tags
from local_sagemaker.api.paging import page_of
from local_sagemaker.api.request_context import Document, RequestContext
from local_sagemaker.api.validators import training as training_validator
from local_sagemaker.api.validators import tuning as tuning_validator
from local_sagemaker.errors import ApiError
from local_sagemaker.runner.tuning_job import OBJECTIVE, TUNING, best_trial, objective_of, trial_request


class _TuningJobs(JobResource):
    def every(self, context: RequestContext) -> dict[str, Document]:
        """Return all tuning jobs by ARN, with counters and limits."""
        return {arn: described(record) for arn, record in super().every(context).items()}


_JOBS = _TuningJobs(
    TUNING,
    "HyperParameterTuningJob",
    "HyperParameterTuningJobSummaries",
    "HyperParameterTuningJobName",
    words="hyperparameter tuning job",
    runs=lambda running: running.tuner,
)

list_hyper_parameter_tuning_jobs, stop_hyper_parameter_tuning_job = _JOBS.list, _JOBS.stop


def create_hyper_parameter_tuning_job(context: RequestContext, request: Document) -> Document:
    """CreateHyperParameterTuningJob: also its training jobs' request is checked before anything runs."""
    tuning_validator.refuse_contradictions(request)
    name, config = request["HyperParameterTuningJobName"], request["HyperParameterTuningJobConfig"]
    arn = context.arn(TUNING, name.lower())
    for parent in request.get("WarmStartConfig", {}).get("ParentHyperParameterTuningJobs", []):
        _JOBS.describe(context, parent)
    definition = request["TrainingJobDefinition"]
    objective = config["HyperParameterTuningJobObjective"]["MetricName"]
    # The SDKs' `attach` takes it from there.
    static = definition.get("StaticHyperParameters", {}) | {OBJECTIVE: objective}
    empty: Document = {f"{kind}ParameterRanges": [] for kind in ("Integer", "Continuous", "Categorical")}
    record = request | {
        "HyperParameterTuningJobArn": arn,
        "HyperParameterTuningJobConfig": {"TrainingJobEarlyStoppingType": "Off"}
        | config
        | {"ParameterRanges": empty | config["ParameterRanges"]},
        "TrainingJobDefinition": definition | {"StaticHyperParameters": static},
    }
    trial = trial_request(record, f"{name}-001-00000000", {})
    training_validator.refuse_contradictions(trial)
    refuse_empty_channels(trial, context.objects, context.region)
    return _JOBS.begin(context, record, Trials=[], TrialTags=record.get("Tags", []))


def describe_hyper_parameter_tuning_job(context: RequestContext, request: Document) -> Document:
    """DescribeHyperParameterTuningJob."""
    return described(_JOBS.describe(context, request))


def delete_hyper_parameter_tuning_job(context: RequestContext, request: Document) -> Document:
    """DeleteHyperParameterTuningJob; its training jobs stay."""
    record = _JOBS.describe(context, request)
    arn, status = record["HyperParameterTuningJobArn"], record["HyperParameterTuningJobStatus"]
    if status in ("InProgress", "Stopping"):
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
            return objective_of(trial)
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
