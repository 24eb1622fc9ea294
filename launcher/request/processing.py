"""CreateProcessingJob's request for the image's prepare: raw reviews in S3 -> the three channels in S3.

request = build_processing_request(job)
"""

from __future__ import annotations

from typing import Any

from launcher.checks.findings import Findings
from launcher.checks.offline import add_violations
from launcher.errors import JobFileError, Problem
from launcher.job_file.schema import Job
from launcher.request.fields import present, texts
from launcher.request.placeholders import fill
from launcher.request.training import new_job_name

INPUT = "/opt/ml/processing/input"
OUTPUT = "/opt/ml/processing/output"
"""Where prepare looks when it is given no --input and --output."""


def build_processing_request(job: Job, job_name: str | None = None) -> dict[str, Any]:
    """Return the request; raise JobFileError with everything that is wrong with it."""
    findings = Findings(job)
    if job.processing is None:
        findings.error("processing", "is missing: a table with s3_input, the prefix of the raw reviews")
        raise JobFileError(findings.problems())
    name = job_name or new_job_name(f"{job.base_job_name}-prepare")
    request = fill(_request(job, name), job, name)
    add_violations("CreateProcessingJob", request, job, findings)
    if findings.problems():
        raise JobFileError(findings.problems())
    return request


def processing_problems(job: Job, job_name: str | None = None) -> list[Problem]:
    """Return what is wrong with a job's request, without the request."""
    try:
        build_processing_request(job, job_name)
    except JobFileError as error:
        return list(error.problems)
    return []


def _request(job: Job, name: str) -> dict[str, Any]:
    assert job.processing is not None
    processing, networking = job.processing, job.networking
    request: dict[str, Any] = {
        "ProcessingJobName": name,
        "RoleArn": job.role,
        "AppSpecification": {
            "ImageUri": job.training_image,
            "ContainerArguments": ["prepare", *processing.arguments],
        },
        "ProcessingInputs": [
            {
                "InputName": "reviews",
                "S3Input": {
                    "S3Uri": processing.s3_input,
                    "LocalPath": INPUT,
                    "S3DataType": "S3Prefix",
                    "S3InputMode": "File",
                    "S3DataDistributionType": processing.s3_data_distribution_type,
                },
            }
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": "channels",
                    "S3Output": {"S3Uri": processing.s3_output, "LocalPath": OUTPUT, "S3UploadMode": "EndOfJob"},
                }
            ],
            **present(KmsKeyId=processing.kms_key_id or job.output_data_config.kms_key_id),
        },
        "ProcessingResources": {
            "ClusterConfig": present(
                InstanceType=processing.instance_type,
                InstanceCount=processing.instance_count,
                VolumeSizeInGB=processing.volume_size_in_gb,
                VolumeKmsKeyId=processing.volume_kms_key_id or job.compute.volume_kms_key_id,
            )
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": processing.max_runtime_in_seconds},
    }
    network = {
        "EnableNetworkIsolation": networking.enable_network_isolation,
        "EnableInterContainerTrafficEncryption": networking.enable_inter_container_traffic_encryption,
        "VpcConfig": {"SecurityGroupIds": networking.security_group_ids, "Subnets": networking.subnets}
        if networking.subnets
        else None,
    }
    if network := {field: value for field, value in network.items() if value is not None}:
        request["NetworkConfig"] = network
    if processing.environment:
        request["Environment"] = texts(processing.environment)
    if job.tags:
        request["Tags"] = [{"Key": key, "Value": value} for key, value in job.tags.items()]
    return request
