"""A training job's model behind an endpoint: requests of CreateModel, CreateEndpointConfig and CreateEndpoint; pure.

    requests = hosting_requests(description, "star-rating", Instances("ml.c7i.xlarge"))
    requests["CreateEndpoint"]      # {"EndpointName": "star-rating", "EndpointConfigName": "star-rating"}

The endpoint runs the image that trained the model: its `serve`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from launcher.data import hourly_price, prices_as_of, serverless_price
from launcher.errors import UsageError
from launcher.request import Request, omit_none
from launcher.request.shapes import violations

TRANSFORM_INSTANCE = "ml.c5.xlarge"

VARIANT = "AllTraffic"
"""Name that SageMaker's SDKs give an endpoint's only variant."""


@dataclass(frozen=True)
class Instances:
    """A real-time endpoint: one instance, billed while it is there."""

    instance_type: str = "ml.c7i.xlarge"

    def variant(self) -> Request:
        """Return the fields of ProductionVariant that say so."""
        return {"InstanceType": self.instance_type, "InitialInstanceCount": 1}

    def cost(self, region: str) -> str:
        """Return what it costs, as a sentence."""
        hourly = cost_per_hour(region, self.instance_type)
        return hourly if hourly.startswith("unknown") else f"{hourly}, until it is deleted"


@dataclass(frozen=True)
class Serverless:
    """A serverless endpoint: billed by the request."""

    memory_size_in_mb: int = 3072
    max_concurrency: int = 5

    def variant(self) -> Request:
        """Return the fields of ProductionVariant that say so."""
        return {"ServerlessConfig": {"MemorySizeInMB": self.memory_size_in_mb, "MaxConcurrency": self.max_concurrency}}

    def cost(self, region: str) -> str:
        """Return what it costs, as a sentence."""
        price = serverless_price(region)
        if price is None:
            return (
                f"unknown: no price for a GB-second in {region} (launcher/data/prices.json); nothing without requests"
            )
        second = price * self.memory_size_in_mb / 1024
        return (
            f"about ${second:.6f} per second of a request with {self.memory_size_in_mb} MB (${price:.6f} per GB-second "
            f"on {prices_as_of()}), and the bytes in and out; nothing without requests"
        )


def cost_per_hour(region: str, instance_type: str) -> str:
    """Return what an instance costs, as a sentence; a real-time or a transform one is listed as a training one is."""
    price = hourly_price(region, instance_type)
    if price is None:
        return f"unknown: no price for {instance_type} in {region} (launcher/data/prices.json)"
    return f"about ${price:.2f} per hour of {instance_type} (prices of training, {prices_as_of()})"


def hosting_requests(description: Mapping[str, Any], name: str, capacity: Instances | Serverless) -> dict[str, Request]:
    """Return operation -> request, in their order; raise UsageError for a job without a model, or a wrong value.

    `description` is DescribeTrainingJob's answer; `name` is that of model, configuration and endpoint.
    """
    artifact = description.get("ModelArtifacts", {}).get("S3ModelArtifacts")
    job = description["TrainingJobName"]
    if not artifact or description["TrainingJobStatus"] not in ("Completed", "Stopped"):
        raise UsageError(f"{job} is {description['TrainingJobStatus']} and has no model to deploy")
    if description["OutputDataConfig"].get("CompressionType") == "NONE":
        source = {"S3Uri": f"{artifact.rstrip('/')}/", "S3DataType": "S3Prefix", "CompressionType": "None"}
        data: Request = {"ModelDataSource": {"S3DataSource": source}}
    else:
        data = {"ModelDataUrl": artifact}
    tags = [{"Key": "training-job", "Value": job}]
    requests: dict[str, Request] = {
        "CreateModel": omit_none(
            ModelName=name,
            PrimaryContainer={"Image": description["AlgorithmSpecification"]["TrainingImage"], **data},
            ExecutionRoleArn=description["RoleArn"],
            VpcConfig=description.get("VpcConfig"),
            EnableNetworkIsolation=description.get("EnableNetworkIsolation"),
            Tags=tags,
        ),
        "CreateEndpointConfig": {
            "EndpointConfigName": name,
            "ProductionVariants": [{"VariantName": VARIANT, "ModelName": name, **capacity.variant()}],
            "Tags": tags,
        },
        "CreateEndpoint": {"EndpointName": name, "EndpointConfigName": name, "Tags": tags},
    }
    for operation, request in requests.items():
        for violation in violations(operation, request):
            raise UsageError(f"{violation.path[-1]} {violation.message}")
    return requests


def transform_requests(
    description: Mapping[str, Any], name: str, source: str, target: str, instance_type: str
) -> dict[str, Request]:
    """Return operation -> request of a batch transform job: CreateModel, CreateTransformJob; raise UsageError.

    Each object below `source` is a text file with a review per line; its predictions are JSON Lines.
    """
    model = hosting_requests(description, name, Instances(instance_type))["CreateModel"]
    requests: dict[str, Request] = {
        "CreateModel": model,
        "CreateTransformJob": {
            "TransformJobName": name,
            "ModelName": name,
            "BatchStrategy": "MultiRecord",
            "TransformInput": {
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": source}},
                "ContentType": "text/plain",
                "SplitType": "Line",
            },
            "TransformOutput": {
                "S3OutputPath": target,
                "Accept": "application/jsonlines",
                "AssembleWith": "Line",
            },
            "TransformResources": {"InstanceType": instance_type, "InstanceCount": 1},
            "Tags": model["Tags"],
        },
    }
    for violation in violations("CreateTransformJob", requests["CreateTransformJob"]):
        raise UsageError(f"{violation.path[-1]} {violation.message}")
    return requests
