"""What the local SageMaker asks of models behind endpoints beyond AWS's model: one container, always there. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from local_sagemaker.api.validators.channels import wrong_s3_uri
from local_sagemaker.api.validators.training import repeated
from local_sagemaker.errors import invalid

Request = dict[str, Any]

_ONE = "the local SageMaker has one container behind an endpoint"

_NOT_OF_A_CONFIG = {
    "AsyncInferenceConfig": "asynchronous inference",
    "ExplainerConfig": "Clarify",
    "ShadowProductionVariants": "shadow variants",
    "CrossRegionTrafficConfig": "other regions",
}

_NOT_OF_A_VARIANT = {
    "AcceleratorType": "Elastic Inference",
    "CapacityReservationConfig": "reserved capacity",
    "CoreDumpConfig": "core dumps",
    "InstancePools": "pools of instances",
    "ManagedInstanceScaling": "scaling",
}


def refuse_endpoint_config(request: Request) -> None:
    """Raise ApiError for the first thing in CreateEndpointConfig's request that is wrong, or that is not here."""
    for refusal in _config(request):
        raise invalid(refusal)


def refuse_transform_job(request: Request) -> None:
    """Raise ApiError for the first thing in CreateTransformJob's request that is wrong, or that is not here."""
    for refusal in _transform(request):
        raise invalid(refusal)


def refuse_model(model: Request) -> None:
    """Raise ApiError for a model that no single container can serve here."""
    for refusal in _model(model):
        raise invalid(f"The model {model['ModelName']} cannot be served: {refusal}")


def _config(request: Request) -> Iterator[str]:
    for field, what in _NOT_OF_A_CONFIG.items():
        if request.get(field):
            yield f"{field} is not available: the local SageMaker has no {what}"
    if request.get("DataCaptureConfig", {}).get("EnableCapture"):
        yield "DataCaptureConfig.EnableCapture is not available: the local SageMaker captures no data"
    variants = request["ProductionVariants"]
    twice = repeated(variant["VariantName"] for variant in variants)
    if twice:
        yield f"Variant names must be unique in ProductionVariants: {twice}"
    if len(variants) > 1:
        yield f"{len(variants)} ProductionVariants are not available: {_ONE}"
    yield from _variant(variants[0])


def _variant(variant: Request) -> Iterator[str]:
    name = variant["VariantName"]
    for field, what in _NOT_OF_A_VARIANT.items():
        if variant.get(field):
            yield f"{field} of variant {name} is not available: the local SageMaker has no {what}"
    if "ModelName" not in variant:
        yield f"ModelName must be specified for variant {name}: the local SageMaker has no inference components"
    serverless, instances = "ServerlessConfig" in variant, variant.get("InitialInstanceCount")
    if serverless and ("InstanceType" in variant or instances is not None):
        yield f"Variant {name} has ServerlessConfig: InstanceType and InitialInstanceCount must not be specified"
    if not serverless and ("InstanceType" not in variant or instances is None):
        yield f"InstanceType and InitialInstanceCount, or ServerlessConfig, must be specified for variant {name}"
    if instances is not None and instances != 1:
        yield f"InitialInstanceCount {instances} of variant {name} is not available: {_ONE}"


def _model(model: Request) -> Iterator[str]:
    if len(model.get("Containers", [0])) != 1:
        yield "an inference pipeline of several containers is not available"
    container = model.get("PrimaryContainer") or model["Containers"][0]
    if container.get("Mode", "SingleModel") != "SingleModel":
        yield f"Mode {container['Mode']} is not available"
    for field in ("ModelPackageName", "InferenceSpecificationName", "AdditionalModelDataSources"):
        if container.get(field):
            yield f"{field} is not available"
    if not container.get("Image"):
        yield "its container has no Image"
    source = container.get("ModelDataSource", {}).get("S3DataSource")
    if source and "ModelDataUrl" in container:
        yield "ModelDataUrl and ModelDataSource must not both be specified"
    uri = source["S3Uri"] if source else container.get("ModelDataUrl")
    wrong = None if uri is None else wrong_s3_uri(uri)
    if wrong is not None:
        yield f"invalid S3 URI '{uri}': {wrong}"


def _transform(request: Request) -> Iterator[str]:
    source, output = request["TransformInput"]["DataSource"]["S3DataSource"], request["TransformOutput"]
    for where, uri in (("TransformInput", source["S3Uri"]), ("TransformOutput", output["S3OutputPath"])):
        wrong = wrong_s3_uri(uri)
        if wrong is not None:
            yield f"Invalid S3 URI '{uri}' in {where}: {wrong}"
    kind, split = source["S3DataType"], request["TransformInput"].get("SplitType", "None")
    if kind not in ("S3Prefix", "ManifestFile"):
        yield f"S3DataType {kind} is not supported by transform jobs"
    if split not in ("None", "Line"):
        yield f"SplitType {split} is not available: the local SageMaker splits lines"
    if request["TransformResources"]["InstanceCount"] != 1:
        yield "TransformResources.InstanceCount must be 1: the local SageMaker has one container for a transform job"
    if request.get("DataCaptureConfig"):
        yield "DataCaptureConfig is not available: the local SageMaker captures no data"
    if request.get("ExperimentConfig"):
        yield "ExperimentConfig is not available: a transform job is no trial component here"
    yield from _data_processing(request.get("DataProcessing", {}))


def _data_processing(processing: Request) -> Iterator[str]:
    if processing.get("JoinSource", "None") != "None":
        yield "DataProcessing.JoinSource is not available: the output has the container's answers alone"
    for field in ("InputFilter", "OutputFilter"):
        if processing.get(field, "$") != "$":
            yield f"DataProcessing.{field} is not available: the local SageMaker filters nothing"
