"""What SageMaker does for a Processing job: config files, inputs, outputs. Pure.

files = processing_files(request, arn, host, hosts)     # below /opt/ml/config
"""

from __future__ import annotations

from typing import Any

from local_sagemaker.container_contract.hosts import Host, hosts_of, resource_config

Request = dict[str, Any]


def processing_hosts(request: Request) -> tuple[Host, ...]:
    """Return the hosts of a CreateProcessingJob request."""
    return hosts_of(request["ProcessingResources"]["ClusterConfig"])


def processing_files(request: Request, arn: str, host: Host, hosts: tuple[Host, ...]) -> dict[str, dict[str, Any]]:
    """Return file name -> content of /opt/ml/config."""
    known = ("ProcessingInputs", "ProcessingOutputConfig", "AppSpecification", "Environment", "StoppingCondition")
    config = {
        "ProcessingJobArn": arn,
        "ProcessingJobName": request["ProcessingJobName"],
        "ProcessingResources": request["ProcessingResources"],
        "RoleArn": request["RoleArn"],
    }
    return {
        "processingjobconfig.json": config | {name: request[name] for name in known if name in request},
        "resourceconfig.json": {
            name: value
            for name, value in resource_config(host, hosts, "eth0").items()
            if name in ("current_host", "hosts", "network_interface_name")
        },
    }


def as_channel(processing_input: Request) -> Request:
    """Return a ProcessingInput in the shape of a training job's channel, so that both are downloaded alike."""
    s3 = processing_input["S3Input"]
    return {
        "ChannelName": processing_input["InputName"],
        "DataSource": {
            "S3DataSource": {
                "S3Uri": s3["S3Uri"],
                "S3DataType": s3["S3DataType"],
                "S3DataDistributionType": s3.get("S3DataDistributionType", "FullyReplicated"),
            }
        },
    }


def default_local_path(processing_input: Request) -> str:
    """Return where an input is in the container if the request does not say."""
    return f"/opt/ml/processing/input/{processing_input['InputName']}"
