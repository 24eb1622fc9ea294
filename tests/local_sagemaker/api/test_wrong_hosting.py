"""Wrong requests about models, endpoints and transform jobs: AWS's codes, or what is not here by its name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.helpers.local_server import BUCKET, TRAINING, ApiServer, call, changed, serving
from tests.helpers.wrong_requests import VALIDATION, missing, refused

VARIANT = {"VariantName": "all", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
CONFIG = {"EndpointConfigName": "c", "ProductionVariants": [VARIANT]}

TRANSFORM: dict[str, Any] = {
    "TransformJobName": "t",
    "ModelName": "m",
    "TransformInput": {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/in/"}}},
    "TransformOutput": {"S3OutputPath": f"s3://{BUCKET}/out/"},
    "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
}


def serverless(memory: int, concurrency: int = 1) -> Any:
    config = {"MemorySizeInMB": memory, "MaxConcurrency": concurrency}
    variant = {"VariantName": "all", "ModelName": "m", "ServerlessConfig": config}
    return CONFIG | {"ProductionVariants": [variant]}


WRONG_HOSTING: dict[str, tuple[str, Any, str]] = {
    "no variants": ("CreateEndpointConfig", {"EndpointConfigName": "c"}, missing("productionVariants")),
    "an unknown model": ("CreateEndpointConfig", CONFIG, "Could not find model"),
    "two variants": (
        "CreateEndpointConfig",
        CONFIG | {"ProductionVariants": [VARIANT, VARIANT | {"VariantName": "b"}]},
        "2 ProductionVariants are not available",
    ),
    "a variant twice": (
        "CreateEndpointConfig",
        CONFIG | {"ProductionVariants": [VARIANT, VARIANT]},
        "Variant names must be unique in ProductionVariants: [all]",
    ),
    "two instances": (
        "CreateEndpointConfig",
        changed(CONFIG, {"ProductionVariants.0.InitialInstanceCount": 2}),
        "ProductionVariants.InitialInstanceCount 2 is not available",
    ),
    "no instances": (
        "CreateEndpointConfig",
        changed(CONFIG, {"ProductionVariants.0.InstanceType": None}),
        "InstanceType and InitialInstanceCount, or ServerlessConfig, must be specified for variant all",
    ),
    "serverless with instances": (
        "CreateEndpointConfig",
        changed(CONFIG, {"ProductionVariants.0.ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 1}}),
        "InstanceType and InitialInstanceCount must not be specified",
    ),
    "capture": (
        "CreateEndpointConfig",
        CONFIG
        | {
            "DataCaptureConfig": {
                "EnableCapture": True,
                "InitialSamplingPercentage": 1,
                "DestinationS3Uri": "s3://bucket/capture",
                "CaptureOptions": [{"CaptureMode": "Input"}],
            }
        },
        "DataCaptureConfig.EnableCapture is not available",
    ),
    "async": (
        "CreateEndpointConfig",
        CONFIG | {"AsyncInferenceConfig": {"OutputConfig": {"S3OutputPath": "s3://bucket/out"}}},
        "AsyncInferenceConfig is not available",
    ),
    "scaling": (
        "CreateEndpointConfig",
        changed(CONFIG, {"ProductionVariants.0.ManagedInstanceScaling": {"Status": "ENABLED"}}),
        "ProductionVariants.ManagedInstanceScaling is not available",
    ),
    "no configuration": (
        "CreateEndpoint",
        {"EndpointName": "e", "EndpointConfigName": "c"},
        'Could not find endpoint configuration "arn:aws:sagemaker:us-east-1:123456789012:endpoint-config/c".',
    ),
    "transform with no model": ("CreateTransformJob", TRANSFORM, "Could not find model"),
    "transform of another kind": (
        "CreateTransformJob",
        changed(TRANSFORM, {"TransformInput.SplitType": "RecordIO"}),
        "SplitType RecordIO is not available",
    ),
    "transform with two instances": (
        "CreateTransformJob",
        changed(TRANSFORM, {"TransformResources.InstanceCount": 2}),
        "TransformResources.InstanceCount 2 is not available",
    ),
    "transform that joins": (
        "CreateTransformJob",
        TRANSFORM | {"DataProcessing": {"JoinSource": "Input"}},
        "DataProcessing.JoinSource Input is not available",
    ),
    "transform that filters": (
        "CreateTransformJob",
        TRANSFORM | {"DataProcessing": {"InputFilter": "$[1:]"}},
        "DataProcessing.InputFilter $[1:] is not available",
    ),
    "transform of no bucket": (
        "CreateTransformJob",
        changed(TRANSFORM, {"TransformOutput.S3OutputPath": "s3://_/out"}),
        "Invalid S3 URI 's3://_/out' in TransformOutput",
    ),
    "describe no transform job": (
        "DescribeTransformJob",
        {"TransformJobName": "t"},
        "Requested resource not found.",
    ),
    "describe no endpoint": ("DescribeEndpoint", {"EndpointName": "e"}, 'Could not find endpoint "arn:'),
    "delete no endpoint": ("DeleteEndpoint", {"EndpointName": "e"}, 'Could not find endpoint "arn:'),
    "a name with an underscore": (
        "CreateEndpointConfig",
        CONFIG | {"EndpointConfigName": "a_b"},
        "'endpointConfigName' failed to satisfy constraint: Member must satisfy regular expression pattern",
    ),
    "an unknown instance type": (
        "CreateEndpointConfig",
        changed(CONFIG, {"ProductionVariants.0.InstanceType": "ml.t9.huge"}),
        "'productionVariants.1.member.instanceType' failed to satisfy constraint: Member must satisfy enum value set",
    ),
    "little memory": ("CreateEndpointConfig", serverless(512), "Member must have value greater than or equal to 1024"),
    "memory between two sizes": (
        "CreateEndpointConfig",
        serverless(1536),
        "MemorySizeInMB 1536 of variant all must be",
    ),
    "no concurrency": (
        "CreateEndpointConfig",
        serverless(1024, 0),
        "Member must have value greater than or equal to 1",
    ),
    "a model of nothing": (
        "CreateModel",
        {"ModelName": "m", "ExecutionRoleArn": TRAINING["RoleArn"]},
        "Exactly one of PrimaryContainer and Containers must be specified",
    ),
    "a large payload": (
        "CreateTransformJob",
        TRANSFORM | {"MaxPayloadInMB": 101},
        "MaxPayloadInMB 101, times MaxConcurrentTransforms, must not exceed 100 MB",
    ),
    "large payloads at once": (
        "CreateTransformJob",
        TRANSFORM | {"MaxPayloadInMB": 26, "MaxConcurrentTransforms": 4},
        "must not exceed 100 MB",
    ),
    "a negative payload": (
        "CreateTransformJob",
        TRANSFORM | {"MaxPayloadInMB": -1},
        "Member must have value greater than or equal to 0",
    ),
    "another strategy": (
        "CreateTransformJob",
        TRANSFORM | {"BatchStrategy": "All"},
        "Member must satisfy enum value set: [MultiRecord, SingleRecord]",
    ),
    "transform of nothing": ("CreateTransformJob", TRANSFORM | {"TransformInput": None}, missing("transformInput")),
    "stop no transform job": ("StopTransformJob", {"TransformJobName": "t"}, "Requested resource not found."),
    "list by an unknown status": (
        "ListTransformJobs",
        {"StatusEquals": "Done"},
        "'statusEquals' failed to satisfy constraint",
    ),
    "describe no model": ("DescribeModel", {"ModelName": "m"}, 'Could not find model "arn:'),
    "delete no model": ("DeleteModel", {"ModelName": "m"}, 'Could not find model "arn:'),
    "describe no configuration": (
        "DescribeEndpointConfig",
        {"EndpointConfigName": "c"},
        "Could not find endpoint configuration",
    ),
    "delete no configuration": ("DeleteEndpointConfig", {"EndpointConfigName": "e"}, "Could not find endpoint conf"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with serving(tmp_path_factory.mktemp("state")) as local:
        yield local


@pytest.mark.parametrize("name", WRONG_HOSTING)
def test_a_wrong_endpoint_is_refused(server: ApiServer, name: str) -> None:
    operation, request, sentence = WRONG_HOSTING[name]
    got, message = refused(server, operation, request)
    assert (got, sentence in message) == (VALIDATION, True), message


def test_names_are_used_once_and_what_is_not_here_is_named(tmp_path: Path) -> None:
    model = {"ModelName": "m", "PrimaryContainer": {"Image": "image"}, "ExecutionRoleArn": TRAINING["RoleArn"]}
    endpoint = {"EndpointName": "e", "EndpointConfigName": "c"}
    with serving(tmp_path) as local:
        for operation, request, code in (
            ("CreateModel", model, VALIDATION),
            ("CreateEndpointConfig", CONFIG, VALIDATION),
            ("CreateEndpoint", endpoint, VALIDATION),
            ("CreateTransformJob", TRANSFORM, "ResourceInUse"),
        ):
            assert call(local, operation, request)[0] == 200
            assert refused(local, operation, request)[0] == code
        assert "DeploymentConfig is not available" in refused(local, "CreateEndpoint", endpoint | DEPLOYMENT)[1]
        assert refused(local, "UpdateEndpoint", endpoint)[0] == "UnknownOperationException"
        runtime = boto3.client(
            "sagemaker-runtime",
            endpoint_url=local.address,
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )
        with pytest.raises(ClientError) as caught:
            runtime.invoke_endpoint(EndpointName="missing", Body=b"x")
        error = caught.value.response["Error"]
        assert error == {"Code": "ValidationError", "Message": "Endpoint missing of account 123456789012 not found."}


DEPLOYMENT = {
    "DeploymentConfig": {
        "BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}}
    }
}
