"""What DescribeProcessingJob and ListProcessingJobs say of a job's document. Pure."""

from __future__ import annotations

from typing import Any

from local_sagemaker.api.names import job_arn
from local_sagemaker.api.serializers.training import present
from local_sagemaker.document import Job

Answer = dict[str, Any]


def description(job: Job) -> Answer:
    """Return DescribeProcessingJob's answer."""
    request = {name: value for name, value in job.current_request.items() if name != "Tags"}
    inputs = [_input(given) for given in request.pop("ProcessingInputs", [])]
    return present(
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


def summary(job: Job) -> Answer:
    """Return what ListProcessingJobs says of a job."""
    return present(
        ProcessingJobName=job.name,
        ProcessingJobArn=job_arn(job),
        CreationTime=job.creation_time,
        ProcessingEndTime=job.end_time,
        LastModifiedTime=job.last_modified_time or job.creation_time,
        ProcessingJobStatus=job.status,
        FailureReason=job.failure_reason[:1024] if job.failure_reason else None,
        ExitMessage=job.exit_message[:1024] if job.exit_message else None,
    )


def _input(given: Answer) -> Answer:
    source = {"S3DataDistributionType": "FullyReplicated", "S3CompressionType": "None"} | given["S3Input"]
    return {"AppManaged": False} | given | {"S3Input": source}
