"""What the page shows of a job: its document as small JSON. Pure.

row(job)        # a line of the list
detail(job)     # everything but log, metrics and files

tuning_row(record), tuning_detail(record)   # likewise of a tuning job; its training jobs are jobs like any other
"""

from __future__ import annotations

from typing import Any

from local_sagemaker.api.serializers.components import datasets, image, written
from local_sagemaker.api.serializers.jobs import processing_description, training_description
from local_sagemaker.container_contract.paths import join
from local_sagemaker.container_contract.rule_configurations import rules_of
from local_sagemaker.job_state import Job
from local_sagemaker.runner.tuning_job import best_trial, objective_of
from local_sagemaker.state import job_key

View = dict[str, Any]


def row(job: Job) -> View:
    """Return a job in a line: names, status, times, what the last value of each metric is."""
    return {
        "kind": job.kind,
        "name": job.name,
        "key": job.key,
        "region": job.region,
        "status": job.status,
        "secondary": job.secondary_status,
        "created": job.creation_time,
        "ended": job.end_time,
        "issues": sum(rule.status == "IssuesFound" for rule in job.rules),
        "metrics": {name: metric.last for name, metric in job.metrics.items() if metric.count},
    }


def detail(job: Job) -> View:
    """Return a job in full. Of environment variables only the names: a value may be a secret."""
    request = job.current_request
    describe = training_description if job.kind == "training" else processing_description
    return row(job) | {
        "message": job.transitions[-1].message if job.transitions else "",
        "failure": job.failure_reason,
        "exit_message": job.exit_message,
        "transitions": [
            {
                "status": transition.status,
                "message": transition.message,
                "start": transition.start_time,
                "end": transition.end_time,
            }
            for transition in job.transitions
        ],
        "rules": [
            {"name": rule.name, "kind": rule.kind, "status": rule.status, "details": rule.details} for rule in job.rules
        ],
        "can_stop": not job.has_ended and not job.stop_requested,
        "can_interrupt": bool(request.get("EnableManagedSpotTraining")) and job.secondary_status == "Training",
        "facts": _facts(job),
        "hyperparameters": request.get("HyperParameters", {}),
        "description": describe(_without_values(job)),
    }


def tuning_row(record: View) -> View:
    """Return a tuning job in a line: as a job's, with the best objective as its metric."""
    best = best_trial(record)
    return {
        "kind": "tuning",
        "name": record["HyperParameterTuningJobName"],
        "key": _tuning_key(record),
        "region": record["HyperParameterTuningJobArn"].split(":")[3],
        "status": record["HyperParameterTuningJobStatus"],
        "secondary": "Tuning",
        "created": record["CreationTime"],
        "ended": record.get("HyperParameterTuningEndTime"),
        "issues": 0,
        "metrics": {} if best is None else {_objective(record)["MetricName"]: objective_of(best)},
    }


def tuning_detail(record: View) -> View:
    """Return a tuning job with its training jobs in the order in which they began."""
    best = best_trial(record)
    return tuning_row(record) | {
        "failure": record.get("FailureReason"),
        "objective": {"name": _objective(record)["MetricName"], "type": _objective(record)["Type"]},
        "strategy": record["HyperParameterTuningJobConfig"]["Strategy"],
        "of": record["HyperParameterTuningJobConfig"]["ResourceLimits"].get("MaxNumberOfTrainingJobs"),
        "trials": [
            {
                "name": trial["TrainingJobName"],
                "key": job_key(trial["TrainingJobName"], trial["TrainingJobArn"].split(":")[3]),
                "status": trial["TrainingJobStatus"],
                "objective": objective_of(trial),
                "best": trial is best,
                "values": trial["TunedHyperParameters"],
            }
            for trial in record["Trials"]
        ],
    }


def _tuning_key(record: View) -> str:
    return job_key(record["HyperParameterTuningJobName"], record["HyperParameterTuningJobArn"].split(":")[3])


def _objective(record: View) -> View:
    objective: View = record["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]
    return objective


def places(job: Job) -> list[tuple[str, str]]:
    """Return label and S3 URI of everything that a job leaves: an object, or a prefix that ends with a slash."""
    if job.kind == "processing":
        return [(name, uri.rstrip("/") + "/") for name, uri in written(job).items()]
    request = job.current_request
    found = [("model", job.model_uri), ("output", job.output_uri), ("checkpoints", _uri(request, "CheckpointConfig"))]
    for label, field, folder in (
        ("tensors", "DebugHookConfig", "debug-output"),
        ("TensorBoard", "TensorBoardOutputConfig", "tensorboard-output"),
        ("profile", "ProfilerConfig", "profiler-output"),
    ):
        uri = _uri(request, field)
        found.append((label, join(uri, job.name, folder) if uri else None))
    found += [(f"rule {rule.name}", rule.output_uri) for rule in rules_of(request)]
    return [(label, uri if uri.endswith(".tar.gz") else uri.rstrip("/") + "/") for label, uri in found if uri]


def _uri(request: View, field: str) -> str | None:
    config = request.get(field, {})
    uri: str | None = config.get("S3Uri") or config.get("S3OutputPath")
    return uri


def _facts(job: Job) -> dict[str, Any]:
    request = job.current_request
    resources = request.get("ResourceConfig") or request.get("ProcessingResources", {}).get("ClusterConfig", {})
    facts = {
        "image": image(job),
        "instances": f"{resources.get('InstanceCount', '')} x {resources.get('InstanceType', 'instance groups')}",
        "hosts": ", ".join(job.hosts),
        "spot": "yes" if request.get("EnableManagedSpotTraining") else None,
        "interruptions and retries": job.attempt or None,
        "seconds of training": round(job.training_seconds) or None,
        "seconds to pay for": round(job.billable_seconds) or None,
        "environment": ", ".join(request.get("Environment", {})),
        "role": request.get("RoleArn"),
    }
    inputs = {f"input {name}": source["Value"] for name, source in datasets(job).items()}
    return {name: value for name, value in (facts | inputs).items() if value}


def _without_values(job: Job) -> Job:
    if "Environment" not in job.current_request:
        return job
    hidden = dict.fromkeys(job.current_request["Environment"], "(hidden)")
    return job.changed(changes=job.changes | {"Environment": hidden})
