"""Endpoints and their configurations, sagemaker-runtime, which invokes them, and transform jobs."""

from __future__ import annotations

import time
from typing import Any

from local_sagemaker.api.handlers.resources import MODEL, HostingResource, JobResource
from local_sagemaker.api.handlers.tags import forget_tags
from local_sagemaker.api.request_context import Document, RequestContext
from local_sagemaker.api.validators.hosting import refuse_endpoint_config, refuse_model, refuse_transform_job
from local_sagemaker.errors import ApiError, invalid, not_found
from local_sagemaker.runner.hosting import ENDPOINT
from local_sagemaker.runner.model_server import NoAnswerError
from local_sagemaker.runner.transform_job import TRANSFORM
from local_sagemaker.state import ACCOUNT

_CONFIG = HostingResource(
    "endpoint-config", "EndpointConfig", "EndpointConfigs", "EndpointConfigName", words="endpoint configuration"
)
_ENDPOINT = HostingResource(ENDPOINT, "Endpoint", "Endpoints", "EndpointName", words="endpoint")

describe_endpoint_config, list_endpoint_configs = _CONFIG.describe, _CONFIG.list
delete_endpoint_config = _CONFIG.delete
describe_endpoint, list_endpoints = _ENDPOINT.describe, _ENDPOINT.list


def create_endpoint_config(context: RequestContext, request: Document) -> Document:
    """CreateEndpointConfig."""
    refuse_endpoint_config(request)
    for variant in request["ProductionVariants"]:
        MODEL.describe(context, variant)
    return _CONFIG.create(context, request)


def create_endpoint(context: RequestContext, request: Document) -> Document:
    """CreateEndpoint: Creating, until its container answers."""
    config = _CONFIG.describe(context, request)
    if "DeploymentConfig" in request:
        raise invalid("DeploymentConfig is not available: the local SageMaker replaces no endpoint step by step")
    variant = config["ProductionVariants"][0]
    model = MODEL.describe(context, variant)
    refuse_model(model)
    now = time.time()
    created = _ENDPOINT.create(
        context,
        {field: request[field] for field in ("EndpointName", "EndpointConfigName", "Tags") if field in request}
        | {
            "EndpointStatus": "Creating",
            "LastModifiedTime": now,
            "ProductionVariants": [_summary(variant, model, now)],
            "Variant": variant,
            "Model": model,
        },
    )
    if context.running is not None:
        context.running.hosting.start(created["EndpointArn"])
    return created


def delete_endpoint(context: RequestContext, request: Document) -> Document:
    """DeleteEndpoint."""
    endpoint = _ENDPOINT.describe(context, request)
    arn = endpoint["EndpointArn"]
    if endpoint["EndpointStatus"] == "Deleting":
        raise invalid(f'Cannot update in-progress endpoint "{arn}".')
    if context.running is not None:
        context.running.hosting.delete(arn)
    else:
        context.records.delete(ENDPOINT, arn)
        forget_tags(context, arn)
    return {}


class _TransformJobs(JobResource):
    def _not_found(self, arn: str) -> ApiError:  # noqa: ARG002 - the service names none
        return not_found()


_TRANSFORM = _TransformJobs(
    TRANSFORM,
    "TransformJob",
    "TransformJobSummaries",
    "TransformJobName",
    words="transform job",
    runs=lambda running: running.transforms,
)

describe_transform_job, list_transform_jobs = _TRANSFORM.describe, _TRANSFORM.list
stop_transform_job = _TRANSFORM.stop


def create_transform_job(context: RequestContext, request: Document) -> Document:
    """CreateTransformJob."""
    refuse_transform_job(request)
    model = MODEL.describe(context, request)
    refuse_model(model)
    return _TRANSFORM.begin(context, request, Model=model)


def list_inference_components(_context: RequestContext, _request: Document) -> Document:
    """ListInferenceComponents: there are none; SDK v3 asks before it deletes an endpoint."""
    return {"InferenceComponents": []}


def invoke_endpoint(context: RequestContext, request: Document) -> Document:
    """InvokeEndpoint: the container's answer; one that is no success is a ModelError."""
    name = request["EndpointName"]
    endpoint = _in_service(context, name)
    variant = endpoint["Variant"]["VariantName"]
    if request.get("TargetVariant", variant) != variant:
        raise ApiError("ValidationError", f"Variant {request['TargetVariant']} of endpoint {name} not found.")
    for field in ("TargetModel", "TargetContainerHostname", "InferenceComponentName", "EnableExplanations"):
        if field in request:
            raise ApiError("ValidationError", f"{field} is not available: endpoint {name} has one model.")
    headers = {
        "Content-Type": request.get("ContentType"),
        "Accept": request.get("Accept"),
        "X-Amzn-SageMaker-Custom-Attributes": request.get("CustomAttributes"),
        "X-Amzn-SageMaker-Inference-Id": request.get("InferenceId"),
    }
    try:
        assert context.running is not None
        reply = context.running.hosting.invoke(
            endpoint["EndpointArn"],
            _bytes(request.get("Body", b"")),
            {header: value for header, value in headers.items() if value is not None},
        )
    except (NoAnswerError, KeyError) as error:
        raise _model_error(context, endpoint, 0, f"Your invocation failed: {error}") from None
    if not 200 <= reply.status < 300:
        raise _model_error(context, endpoint, reply.status, reply.body.decode("utf-8", "replace"))
    answer: Document = {"Body": reply.body, "InvokedProductionVariant": variant}
    for field, header in (("ContentType", "content-type"), ("CustomAttributes", "x-amzn-sagemaker-custom-attributes")):
        if header in reply.headers:
            answer[field] = reply.headers[header]
    return answer


def invoke_endpoint_async(context: RequestContext, request: Document) -> Document:
    """Refuse InvokeEndpointAsync and InvokeEndpointWithResponseStream."""
    name = _in_service(context, request["EndpointName"])["EndpointName"]
    raise ApiError("ValidationError", f"Endpoint {name} answers InvokeEndpoint only: nothing else is available here.")


invoke_endpoint_with_response_stream = invoke_endpoint_async


def _in_service(context: RequestContext, name: str) -> Document:
    """Return an endpoint that takes requests; raise ApiError."""
    endpoint = context.records.get(ENDPOINT, context.arn(ENDPOINT, name.lower()))
    if endpoint is None or context.running is None:
        raise ApiError("ValidationError", f"Endpoint {name} of account {ACCOUNT} not found.")
    if endpoint["EndpointStatus"] != "InService":
        raise ApiError("ValidationError", f"Endpoint {name} is {endpoint['EndpointStatus']}: it takes no requests.")
    return endpoint


def _summary(variant: Document, model: Document, now: float) -> Document:
    """Return what DescribeEndpoint says of a variant."""
    container = model.get("PrimaryContainer") or model["Containers"][0]
    image = {"SpecifiedImage": container["Image"], "ResolvedImage": container["Image"], "ResolutionTime": now}
    summary: Document = {"VariantName": variant["VariantName"], "DeployedImages": [image]}
    weight = variant.get("InitialVariantWeight", 1.0)
    summary |= {"CurrentWeight": weight, "DesiredWeight": weight}
    if "ServerlessConfig" in variant:
        serverless = variant["ServerlessConfig"]
        return summary | {"CurrentServerlessConfig": serverless, "DesiredServerlessConfig": serverless}
    return summary | {"CurrentInstanceCount": 1, "DesiredInstanceCount": 1}


def _model_error(context: RequestContext, endpoint: Document, status: int, message: str) -> ApiError:
    """Return the error of a container that has answered with another code than 200, or not at all (0)."""
    group = f"/aws/sagemaker/Endpoints/{endpoint['EndpointName']}"
    kind = "client" if 400 <= status < 500 else "server"
    return ApiError(
        "ModelError",
        f'Received {kind} error ({status}) from primary with message "{message}". '
        f"See {group} in account {ACCOUNT} for more information.",
        424,
        OriginalStatusCode=status,
        OriginalMessage=message,
        LogStreamArn=f"arn:aws:logs:{context.region}:{ACCOUNT}:log-group:{group}",
    )


def _bytes(body: Any) -> bytes:  # noqa: ANN401 - a blob as the protocol's parser has it
    return body.encode() if isinstance(body, str) else bytes(body)
