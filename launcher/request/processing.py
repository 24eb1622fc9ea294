"""CreateProcessingJob's request for the image's prepare: raw reviews in S3 -> the three channels in S3.

request = processing_request(job, "star-rating-prepare-1")
"""

from __future__ import annotations

from typing import Any

from launcher.job_file.schema import DEFAULT_PROCESSING_INSTANCE_TYPE, Job
from launcher.request import Request, omit_none, stringify
from launcher.request.placeholders import fill

INPUT = "/opt/ml/processing/input"
OUTPUT = "/opt/ml/processing/output"
"""Where prepare looks when it is given no --input and --output."""


def processing_request(job: Job, name: str) -> Request:
    """Return the request for a job of this name; raise JobFileError for a placeholder that has no value."""
    assert job.processing is not None
    processing, networking = job.processing, job.networking
    preferences = processing.instance_preferences
    has_own_counts = any(preference.instance_count for preference in preferences or [])
    request: dict[str, Any] = {
        "ProcessingJobName": name,
        "RoleArn": job.role,
        "AppSpecification": {
            "ImageUri": job.training_image,
            **omit_none(
                ContainerEntrypoint=processing.container_entrypoint,
                ContainerArguments=processing.arguments or None
                if processing.container_entrypoint
                else ["prepare", *processing.arguments],
            ),
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
            **omit_none(KmsKeyId=processing.kms_key_id or job.output_data_config.kms_key_id),
        },
        "ProcessingResources": {
            "ClusterConfig": omit_none(
                InstanceType=processing.instance_type or (None if preferences else DEFAULT_PROCESSING_INSTANCE_TYPE),
                InstanceCount=processing.instance_count or (None if has_own_counts else 1),
                VolumeSizeInGB=processing.volume_size_in_gb,
                VolumeKmsKeyId=processing.volume_kms_key_id or job.compute.volume_kms_key_id,
                InstancePreferences=preferences
                and [
                    omit_none(InstanceType=preference.instance_type, InstanceCount=preference.instance_count)
                    for preference in preferences
                ],
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
        request["Environment"] = stringify(processing.environment)
    if job.tags:
        request["Tags"] = [{"Key": key, "Value": value} for key, value in job.tags.items()]
    return fill(request, job, name)
