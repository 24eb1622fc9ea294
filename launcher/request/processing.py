"""CreateProcessingJob's request for the image's prepare: raw reviews in S3 -> the three channels in S3.

request = build_processing_request(job)
"""

from __future__ import annotations

from typing import Any

from launcher.checks.findings import Findings
from launcher.errors import JobFileError
from launcher.job_file.schema import Job
from launcher.request.keys import key_of
from launcher.request.placeholders import fill
from launcher.request.shapes import violations
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
    for violation in violations("CreateProcessingJob", request):
        findings.error(key_of(violation.path, request), violation.message)
    if findings.problems():
        raise JobFileError(findings.problems())
    return request


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
            ]
        },
        "ProcessingResources": {
            "ClusterConfig": {
                "InstanceType": processing.instance_type,
                "InstanceCount": processing.instance_count,
                "VolumeSizeInGB": processing.volume_size_in_gb,
            }
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
    if job.tags:
        request["Tags"] = [{"Key": key, "Value": value} for key, value in job.tags.items()]
    return request
