"""What Describe and List say of training and Processing jobs, from a job's state. Pure.

training_description(job)   # the whole of DescribeTrainingJob's answer
training_summary(job)       # an entry of TrainingJobSummaries
"""

from __future__ import annotations

import math
import struct
from typing import Any, Literal

from local_sagemaker.api.arns import job_arn, rule_job_arn
from local_sagemaker.job_state import Job

Answer = dict[str, Any]

_CHANNEL_DEFAULTS = {"CompressionType": "None", "RecordWrapperType": "None"}
_OUTPUT_DEFAULTS = {"KmsKeyId": "", "CompressionType": "GZIP"}
_PROFILER_DEFAULTS = {"ProfilingIntervalInMilliseconds": 500, "DisableProfiler": False}
_LARGEST_SINGLE = (2 - 2**-23) * 2.0**127
_SWITCHES = ("EnableNetworkIsolation", "EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining")


def training_description(job: Job) -> Answer:
    """Return DescribeTrainingJob's answer: the request with SageMaker's defaults, and what has become of the job."""
    answer = _request_with_defaults(job)
    answer |= {
        "TrainingJobArn": job_arn(job),
        "TrainingJobStatus": job.status,
        "SecondaryStatus": job.secondary_status,
        "CreationTime": job.creation_time,
        "LastModifiedTime": job.last_modified_time or job.creation_time,
        "TrainingStartTime": job.start_time,
        "TrainingEndTime": job.end_time,
        "FailureReason": job.failure_reason[:1024] if job.failure_reason else None,
        "SecondaryStatusTransitions": [
            omit_none(
                Status=transition.status,
                StartTime=transition.start_time,
                EndTime=transition.end_time,
                StatusMessage=transition.message,
            )
            for transition in job.transitions
        ],
        "ModelArtifacts": {"S3ModelArtifacts": job.model_uri} if job.model_uri else None,
        "FinalMetricDataList": [
            {"MetricName": name, "Value": single(metric.last), "Timestamp": int(metric.last_time)}
            for name, metric in job.metrics.items()
            if metric.count and math.isfinite(metric.last)  # CloudWatch, where they come from, takes no NaN
        ],
        "DebugRuleEvaluationStatuses": _rule_statuses(job, "debugger"),
        "ProfilerRuleEvaluationStatuses": _rule_statuses(job, "profiler"),
        "ProfilingStatus": "Disabled" if _profiler_is_off(job) else "Enabled",
        "WarmPoolStatus": _warm_pool(job),
    }
    if job.has_ended and job.start_time is not None:
        answer["TrainingTimeInSeconds"] = _seconds(job, job.training_seconds)
        answer["BillableTimeInSeconds"] = _seconds(job, job.billable_seconds)
    return omit_none(**answer)


def training_summary(job: Job) -> Answer:
    """Return what ListTrainingJobs says of a job."""
    return omit_none(
        TrainingJobName=job.name,
        TrainingJobArn=job_arn(job),
        CreationTime=job.creation_time,
        TrainingEndTime=job.end_time,
        LastModifiedTime=job.last_modified_time or job.creation_time,
        TrainingJobStatus=job.status,
        SecondaryStatus=job.secondary_status,
        WarmPoolStatus=_warm_pool(job),
    )


def omit_none(**fields: Any) -> Answer:  # noqa: ANN401 - JSON
    """Return the fields that have a value; an empty list is none."""
    return {name: value for name, value in fields.items() if value is not None and value != []}


def single(value: float) -> float:
    """Return a number as SageMaker's single precision has it, one beyond it as the largest that there is."""
    return float(struct.unpack("f", struct.pack("f", min(max(value, -_LARGEST_SINGLE), _LARGEST_SINGLE)))[0])


def _request_with_defaults(job: Job) -> Answer:
    request = {name: value for name, value in job.current_request.items() if name != "Tags"}
    request["StoppingCondition"] = {"MaxRuntimeInSeconds": 86_400} | request.get("StoppingCondition", {})
    request["OutputDataConfig"] = _OUTPUT_DEFAULTS | request["OutputDataConfig"]
    for switch in _SWITCHES:
        request.setdefault(switch, False)
    if "InputDataConfig" in request:
        request["InputDataConfig"] = [_channel(channel) for channel in request["InputDataConfig"]]
    algorithm = request["AlgorithmSpecification"]
    request["AlgorithmSpecification"] = {
        "EnableSageMakerMetricsTimeSeries": bool(algorithm.get("MetricDefinitions"))
    } | algorithm
    for field in ("DebugRuleConfigurations", "ProfilerRuleConfigurations"):
        if field in request:
            request[field] = [{"VolumeSizeInGB": 0} | rule for rule in request[field]]
    if "ProfilerConfig" in request and not _profiler_is_off(job):
        request["ProfilerConfig"] = _PROFILER_DEFAULTS | request["ProfilerConfig"]
    return request


def _channel(channel: Answer) -> Answer:
    source = channel["DataSource"].get("S3DataSource")
    if source is not None:
        source = {"S3DataDistributionType": "FullyReplicated"} | source
        channel = channel | {"DataSource": {"S3DataSource": source}}
    return _CHANNEL_DEFAULTS | channel


def _profiler_is_off(job: Job) -> bool:
    config = job.current_request.get("ProfilerConfig")
    return config is None or bool(config.get("DisableProfiler", False))


def _rule_statuses(job: Job, kind: Literal["debugger", "profiler"]) -> list[Answer]:
    """Return a status for each rule of the request: one that has not said anything yet is in progress."""
    field = "DebugRuleConfigurations" if kind == "debugger" else "ProfilerRuleConfigurations"
    told = {rule.name: rule for rule in job.rules if rule.kind == kind}
    statuses = []
    for name in (rule["RuleConfigurationName"] for rule in job.current_request.get(field, [])):
        rule = told.get(name)
        statuses.append(
            omit_none(
                RuleConfigurationName=name,
                RuleEvaluationJobArn=rule_job_arn(job, name),
                RuleEvaluationStatus=rule.status if rule else "InProgress",
                StatusDetails=rule.details[:1024] if rule and rule.details else None,
                LastModifiedTime=rule.last_modified_time if rule else job.creation_time,
            )
        )
    return statuses


def _warm_pool(job: Job) -> Answer | None:
    """Return the state of the warm pool that was asked for: this machine keeps none after a job."""
    if not job.current_request.get("ResourceConfig", {}).get("KeepAlivePeriodInSeconds"):
        return None
    if job.has_ended:
        return {"Status": "Terminated", "ResourceRetainedBillableTimeInSeconds": 0}
    return {"Status": "InUse"}


def _seconds(job: Job, spent: float) -> int:
    """Return the seconds from start to end without those between attempts.

    Both moments are cut to whole seconds first: in public answers of the service 18:51:41.811 to 19:02:53.172 is 672,
    and 10:23:50.796 to 10:27:03.971 is 193.
    """
    assert job.start_time is not None
    assert job.end_time is not None
    return max(0, int(job.end_time) - int(job.start_time) - round(job.end_time - job.start_time - spent))


def processing_description(job: Job) -> Answer:
    """Return DescribeProcessingJob's answer."""
    request = {name: value for name, value in job.current_request.items() if name != "Tags"}
    inputs = [_processing_input(given) for given in request.pop("ProcessingInputs", [])]
    return omit_none(
        **request,
        ProcessingInputs=inputs,
        ProcessingJobArn=job_arn(job),
        ProcessingJobStatus=job.status,
        CreationTime=job.creation_time,
        ProcessingStartTime=job.start_time,
        ProcessingEndTime=job.end_time,
        LastModifiedTime=job.last_modified_time or job.creation_time,
        FailureReason=job.failure_reason[:1024] if job.failure_reason else None,
        ExitMessage=job.exit_message[:1024] if job.exit_message else None,
    )


def processing_summary(job: Job) -> Answer:
    """Return what ListProcessingJobs says of a job."""
    return omit_none(
        ProcessingJobName=job.name,
        ProcessingJobArn=job_arn(job),
        CreationTime=job.creation_time,
        ProcessingEndTime=job.end_time,
        LastModifiedTime=job.last_modified_time or job.creation_time,
        ProcessingJobStatus=job.status,
        FailureReason=job.failure_reason[:1024] if job.failure_reason else None,
        ExitMessage=job.exit_message[:1024] if job.exit_message else None,
    )


def _processing_input(given: Answer) -> Answer:
    source = {"S3DataDistributionType": "FullyReplicated", "S3CompressionType": "None"} | given["S3Input"]
    return {"AppManaged": False} | given | {"S3Input": source}
