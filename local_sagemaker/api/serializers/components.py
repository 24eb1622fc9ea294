"""The trial component that SageMaker makes of each job: parameters, artifacts and metrics for Experiments. Pure.

component(job)     # DescribeTrialComponent's answer; Search adds `Parents` and tags
"""

from __future__ import annotations

import math
from typing import Any

from local_sagemaker.api.arns import component_arn, component_name, job_arn
from local_sagemaker.api.serializers.jobs import omit_none
from local_sagemaker.job_state import Job, MetricSummary

Answer = dict[str, Any]

_SOURCES = {"training": "SageMakerTrainingJob", "processing": "SageMakerProcessingJob"}
_NOBODY: Answer = {}
"""CreatedBy and LastModifiedBy name Studio's users; here is none."""


def component(job: Job) -> Answer:
    """Return DescribeTrialComponent's answer for a job."""
    return omit_none(
        TrialComponentName=component_name(job),
        TrialComponentArn=component_arn(job),
        DisplayName=_display_name(job),
        Source={"SourceArn": job_arn(job), "SourceType": _SOURCES[job.kind]},
        Status={"PrimaryStatus": job.status, "Message": _status_message(job)},
        StartTime=job.start_time,
        EndTime=job.end_time,
        CreationTime=job.creation_time,
        CreatedBy=_NOBODY,
        LastModifiedTime=job.last_modified_time or job.creation_time,
        LastModifiedBy=_NOBODY,
        Parameters=_training_parameters(job) if job.kind == "training" else _processing_parameters(job),
        InputArtifacts=_inputs(job),
        OutputArtifacts=_outputs(job),
        Metrics=[metric_summary(name, metric, job_arn(job)) for name, metric in job.metrics.items() if metric.count],
    )


def component_summary(full: Answer) -> Answer:
    """Return what ListTrialComponents says of a component."""
    fields = (
        "TrialComponentName",
        "TrialComponentArn",
        "DisplayName",
        "Status",
        "StartTime",
        "EndTime",
        "CreationTime",
        "CreatedBy",
        "LastModifiedTime",
        "LastModifiedBy",
    )
    source = {"TrialComponentSource": full["Source"]} if "Source" in full else {}
    return {name: full[name] for name in fields if name in full} | source


def datasets(job: Job) -> dict[str, Answer]:
    """Return the S3 sources of a job by channel or input: {"Value": URI, "MediaType": content type}."""
    if job.kind == "processing":
        inputs = job.current_request.get("ProcessingInputs", [])
        return {given["InputName"]: {"Value": given["S3Input"]["S3Uri"]} for given in inputs}
    return {
        channel["ChannelName"]: omit_none(
            Value=channel["DataSource"]["S3DataSource"]["S3Uri"], MediaType=channel.get("ContentType")
        )
        for channel in job.current_request.get("InputDataConfig", [])
    }


def image(job: Job) -> str:
    """Return the image that a job runs, as its request names it."""
    request = job.current_request
    if job.kind == "processing":
        return str(request["AppSpecification"]["ImageUri"])
    return str(request["AlgorithmSpecification"]["TrainingImage"])


def written(job: Job) -> dict[str, str]:
    """Return what a completed Processing job has written, by output."""
    if job.kind == "training" or job.status != "Completed":
        return {}
    outputs = job.current_request.get("ProcessingOutputConfig", {}).get("Outputs", [])
    return {output["OutputName"]: output["S3Output"]["S3Uri"] for output in outputs}


def _display_name(job: Job) -> str:
    config = job.current_request.get("ExperimentConfig", {})
    return str(config.get("TrialComponentDisplayName") or component_name(job))


def _status_message(job: Job) -> str:
    return (
        f"Status: {job.status}, secondary status: {job.secondary_status}, failure reason: {job.failure_reason or ''}."
    )[:1024]


def _training_parameters(job: Job) -> dict[str, Answer]:
    resources = job.current_request["ResourceConfig"]
    given = {
        "SageMaker.InstanceType": resources.get("InstanceType"),
        "SageMaker.InstanceCount": resources.get("InstanceCount"),
        "SageMaker.VolumeSizeInGB": resources.get("VolumeSizeInGB"),
    }
    hyperparameters = job.current_request.get("HyperParameters", {})
    return {name: _parameter(value) for name, value in (given | hyperparameters).items() if value is not None}


def _processing_parameters(job: Job) -> dict[str, Answer]:
    request = job.current_request
    cluster, application = request["ProcessingResources"]["ClusterConfig"], request["AppSpecification"]
    given: dict[str, object] = {
        "SageMaker.InstanceType": cluster.get("InstanceType"),
        "SageMaker.InstanceCount": cluster.get("InstanceCount"),
        "SageMaker.VolumeSizeInGB": cluster.get("VolumeSizeInGB"),
        "SageMaker.ContainerArguments": " ".join(application.get("ContainerArguments", [])) or None,
        "SageMaker.ContainerEntrypoint": " ".join(application.get("ContainerEntrypoint", [])) or None,
    }
    return {name: _parameter(value) for name, value in given.items() if value is not None}


def _parameter(value: object) -> Answer:
    """Return a number as one, so that components can be sorted and compared by it; JSON has no NaN and no infinity."""
    try:
        number = float(str(value))
    except ValueError:
        number = math.nan
    return {"NumberValue": number} if math.isfinite(number) else {"StringValue": str(value)[:2500]}


def _inputs(job: Job) -> dict[str, Answer]:
    return {"SageMaker.ImageUri": {"Value": image(job)}} | datasets(job)


def _outputs(job: Job) -> dict[str, Answer]:
    if job.kind == "processing":
        return {name: {"Value": uri} for name, uri in written(job).items()}
    request = job.current_request
    places = {
        "SageMaker.ModelArtifact": job.model_uri,
        "SageMaker.DebugHookOutput": request.get("DebugHookConfig", {}).get("S3OutputPath"),
        "SageMaker.CheckpointOutput": request.get("CheckpointConfig", {}).get("S3Uri"),
    }
    return {name: {"Value": uri} for name, uri in places.items() if uri}


def metric_summary(name: str, metric: MetricSummary, source_arn: str) -> Answer:
    """Return what a trial component says of a metric; what is no number is left out."""
    numbers = {
        "Max": metric.maximum,
        "Min": metric.minimum,
        "Last": metric.last,
        "Count": metric.count,
        "Avg": metric.mean,
        "StdDev": metric.standard_deviation,
    }
    finite = {statistic: value for statistic, value in numbers.items() if math.isfinite(value)}
    return {"MetricName": name, "SourceArn": source_arn, "TimeStamp": metric.last_time} | finite
