"""What the local SageMaker asks of models, endpoint configurations and transform jobs beyond AWS's model. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from local_sagemaker.api.validators.channels import wrong_s3_uri
from local_sagemaker.api.validators.shapes import not_here
from local_sagemaker.api.validators.training import repeated
from local_sagemaker.errors import invalid

Request = dict[str, Any]

_ONE = "has one container behind an endpoint, and for a transform job"

_LARGEST_PAYLOADS = 100
"""MB of a transform job's requests at a time."""

_CONFIG = {
    "AsyncInferenceConfig": ("has no asynchronous inference",),
    "ExplainerConfig": ("has no Clarify",),
    "ShadowProductionVariants": ("has no shadow variants",),
    "CrossRegionTrafficConfig": ("has no other regions",),
    "DataCaptureConfig.EnableCapture": ("captures no data",),
    "ProductionVariants.*.AcceleratorType": ("has no Elastic Inference",),
    "ProductionVariants.*.CapacityReservationConfig": ("has no reserved capacity",),
    "ProductionVariants.*.CoreDumpConfig": ("has no core dumps",),
    "ProductionVariants.*.InstancePools": ("has no pools of instances",),
    "ProductionVariants.*.ManagedInstanceScaling": ("does not scale",),
    "ProductionVariants.*.InitialInstanceCount": (_ONE, "1"),
}

_MODEL = {
    "Mode": ("has no endpoints of several models", "SingleModel"),
    "ModelPackageName": ("has no model packages",),
    "InferenceSpecificationName": ("has no model packages",),
    "AdditionalModelDataSources": ("takes one archive or prefix",),
}

_TRANSFORM = {
    "TransformInput.DataSource.S3DataSource.S3DataType": ("has no such transform jobs", "S3Prefix", "ManifestFile"),
    "TransformInput.SplitType": ("splits lines", "None", "Line"),
    "TransformResources.InstanceCount": (_ONE, "1"),
    "DataCaptureConfig": ("captures no data",),
    "ExperimentConfig": ("has no trial components of transform jobs",),
    "DataProcessing.JoinSource": ("writes the container's answers alone", "None"),
    "DataProcessing.InputFilter": ("filters nothing", "$"),
    "DataProcessing.OutputFilter": ("filters nothing", "$"),
}


def refuse_endpoint_config(request: Request) -> None:
    """Raise ApiError for the first thing in CreateEndpointConfig's request that is wrong, or that is not here."""
    for refusal in (*not_here(request, _CONFIG), *_variants(request["ProductionVariants"])):
        raise invalid(refusal)


def refuse_transform_job(request: Request) -> None:
    """Raise ApiError for the first thing in CreateTransformJob's request that is wrong, or that is not here."""
    for refusal in not_here(request, _TRANSFORM):
        raise invalid(refusal)
    # The documentation of MaxPayloadInMB.
    payload, at_once = request.get("MaxPayloadInMB", 6), request.get("MaxConcurrentTransforms", 0)
    if max(1, at_once) * payload > _LARGEST_PAYLOADS:
        raise invalid(
            f"MaxPayloadInMB {payload}, times MaxConcurrentTransforms, must not exceed {_LARGEST_PAYLOADS} MB"
        )
    source = request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]
    for where, uri in (("TransformInput", source), ("TransformOutput", request["TransformOutput"]["S3OutputPath"])):
        wrong = wrong_s3_uri(uri)
        if wrong is not None:
            raise invalid(f"Invalid S3 URI '{uri}' in {where}: {wrong}")


def refuse_model(model: Request) -> None:
    """Raise ApiError for a model that no single container can serve here."""
    for refusal in _model(model):
        raise invalid(f"The model {model['ModelName']} cannot be served: {refusal}")


def _variants(variants: list[Request]) -> Iterator[str]:
    twice = repeated(variant["VariantName"] for variant in variants)
    if twice:
        yield f"Variant names must be unique in ProductionVariants: {twice}"
    if len(variants) > 1:
        yield f"{len(variants)} ProductionVariants are not available: the local SageMaker {_ONE}"
    variant = variants[0]
    name, given = variant["VariantName"], [field in variant for field in ("InstanceType", "InitialInstanceCount")]
    if "ModelName" not in variant:
        yield f"ModelName must be specified for variant {name}: the local SageMaker has no inference components"
    if "ServerlessConfig" in variant and any(given):
        yield f"Variant {name} has ServerlessConfig: InstanceType and InitialInstanceCount must not be specified"
    memory = variant.get("ServerlessConfig", {}).get("MemorySizeInMB", 1024)
    if memory % 1024:
        yield f"MemorySizeInMB {memory} of variant {name} must be a multiple of 1024"
    if "ServerlessConfig" not in variant and not all(given):
        yield f"InstanceType and InitialInstanceCount, or ServerlessConfig, must be specified for variant {name}"


def _model(model: Request) -> Iterator[str]:
    if len(model.get("Containers", [0])) != 1:
        yield "an inference pipeline of several containers is not available"
    container = model.get("PrimaryContainer") or model["Containers"][0]
    yield from not_here(container, _MODEL)
    if not container.get("Image"):
        yield "its container has no Image"
    source = container.get("ModelDataSource", {}).get("S3DataSource")
    if source and "ModelDataUrl" in container:
        yield "ModelDataUrl and ModelDataSource must not both be specified"
    uri = source["S3Uri"] if source else container.get("ModelDataUrl")
    wrong = None if uri is None else wrong_s3_uri(uri)
    if wrong is not None:
        yield f"invalid S3 URI '{uri}': {wrong}"
