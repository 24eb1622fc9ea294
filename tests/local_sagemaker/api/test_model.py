"""What moto answers for the operations that clients of a job use, held against AWS's model and against real answers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.response import StreamingBody

from launcher.request.shapes import shape_violations
from local_sagemaker.docker_client.container_log import LogLine
from local_sagemaker.services.logs import LogStream
from local_sagemaker.services.metrics import Value, publish
from tests.helpers.local_server import BUCKET, ROLE, ApiServer, serving

GROUP = "/aws/sagemaker/TrainingJobs"
SPAN = {"StartTime": dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "EndTime": dt.datetime(2026, 1, 2, tzinfo=dt.UTC)}
AT = SPAN["StartTime"].timestamp()
METRIC = {"Namespace": GROUP, "MetricName": "loss", "Dimensions": [{"Name": "TrainingJobName", "Value": "job"}]}
DATA_QUERY = {"Id": "m", "MetricStat": {"Metric": METRIC, "Period": 60, "Stat": "Average"}}
LAYER = "sha256:" + "0" * 64
OBJECT = {"Bucket": BUCKET, "Key": "a/b c+é"}

QUESTIONS: list[tuple[str, str, dict[str, Any]]] = [
    ("s3", "create_bucket", {"Bucket": "another-bucket"}),
    ("s3", "list_buckets", {}),
    ("s3", "head_bucket", {"Bucket": BUCKET}),
    ("s3", "get_bucket_location", {"Bucket": BUCKET}),
    ("s3", "put_object", OBJECT | {"Body": b"text", "Metadata": {"a": "b"}, "ContentType": "text/plain"}),
    ("s3", "head_object", OBJECT),
    ("s3", "get_object", OBJECT | {"Range": "bytes=1-2"}),
    ("s3", "get_object_attributes", OBJECT | {"ObjectAttributes": ["ETag", "ObjectSize"]}),
    ("s3", "copy_object", {"Bucket": BUCKET, "Key": "copy", "CopySource": OBJECT}),
    ("s3", "list_objects_v2", {"Bucket": BUCKET, "Prefix": "a/", "Delimiter": "/", "EncodingType": "url"}),
    ("s3", "list_objects", {"Bucket": BUCKET, "MaxKeys": 1}),
    ("s3", "create_multipart_upload", OBJECT),
    ("s3", "list_multipart_uploads", {"Bucket": BUCKET}),
    ("s3", "delete_objects", {"Bucket": BUCKET, "Delete": {"Objects": [{"Key": "copy"}, {"Key": "none"}]}}),
    ("s3", "delete_object", OBJECT),
    ("sts", "get_caller_identity", {}),
    ("sts", "assume_role", {"RoleArn": ROLE, "RoleSessionName": "session"}),
    ("iam", "get_role", {"RoleName": "Exec"}),
    ("iam", "simulate_principal_policy", {"PolicySourceArn": ROLE, "ActionNames": ["s3:GetObject", "iam:PassRole"]}),
    ("ecr", "create_repository", {"repositoryName": "trainer"}),
    ("ecr", "describe_repositories", {"repositoryNames": ["trainer"]}),
    ("ecr", "describe_images", {"repositoryName": "trainer"}),
    ("ecr", "list_images", {"repositoryName": "trainer"}),
    ("ecr", "batch_get_image", {"repositoryName": "trainer", "imageIds": [{"imageTag": "none"}]}),
    ("ecr", "batch_check_layer_availability", {"repositoryName": "trainer", "layerDigests": [LAYER]}),
    ("ecr", "get_authorization_token", {}),
    ("logs", "describe_log_groups", {"logGroupNamePrefix": "/aws/sagemaker"}),
    ("logs", "describe_log_streams", {"logGroupName": GROUP, "logStreamNamePrefix": "job/"}),
    ("logs", "describe_log_streams", {"logGroupName": GROUP, "orderBy": "LastEventTime", "descending": True}),
    ("logs", "filter_log_events", {"logGroupName": GROUP, "logStreamNamePrefix": "job/"}),
    ("logs", "get_log_events", {"logGroupName": GROUP, "logStreamName": "job/algo-1-9"}),
    ("cloudwatch", "list_metrics", {"Namespace": GROUP}),
    ("cloudwatch", "get_metric_data", {"MetricDataQueries": [DATA_QUERY], **SPAN}),
    ("cloudwatch", "get_metric_statistics", {**METRIC, "Period": 60, "Statistics": ["Sum"], **SPAN}),
    ("cloudwatch", "put_metric_data", {"Namespace": "mine", "MetricData": [{"MetricName": "x", "Value": 1.0}]}),
    ("cloudwatch", "describe_alarms", {}),
    ("service-quotas", "list_service_quotas", {"ServiceCode": "sagemaker"}),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    folder = tmp_path_factory.mktemp("state")
    with serving(folder) as api:
        LogStream(GROUP, "us-east-1", "job/algo-1-9", folder / "log").write([LogLine(int(AT * 1e9), "loss=0.5")])
        publish([Value("loss", 0.5, AT)], "job", "us-east-1")
        client(api, "ecr").create_repository(repositoryName="trainer")
        client(api, "s3").put_object(**OBJECT, Body=b"text")
        yield api


def client(server: ApiServer, service: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=server.address,
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )


_OF_BOTO3 = ("ResponseMetadata", "AssumeRolePolicyDocument")
"""What it adds, and a text that it has read already."""


def as_sent(value: Any) -> Any:
    """Return a parsed answer with its times as numbers, without what boto3 adds."""
    if isinstance(value, dict):
        return {name: as_sent(inner) for name, inner in value.items() if name not in _OF_BOTO3 and inner is not None}
    if isinstance(value, list):
        return [as_sent(inner) for inner in value]
    if isinstance(value, StreamingBody):
        with value:
            return value.read()
    return value.timestamp() if isinstance(value, dt.datetime) else value


@pytest.mark.parametrize(("service", "operation", "wanted"), QUESTIONS, ids=lambda value: value or "")
def test_an_answer_has_the_shape_that_aws_s_model_gives(
    server: ApiServer, service: str, operation: str, wanted: dict[str, Any]
) -> None:
    asked = client(server, service)
    if operation in ("create_repository", "create_bucket"):
        wanted = {name: f"{value}-2" for name, value in wanted.items()}
    answered = as_sent(getattr(asked, operation)(**wanted))
    shape = asked.meta.service_model.operation_model(asked.meta.method_to_api_mapping[operation]).output_shape
    found = shape_violations(shape, answered) if shape else []
    against = [violation for violation in found if violation.kind != "minimum"]  # of a request; an answer may be empty
    assert [(violation.path, violation.message) for violation in against] == []
    assert answered or shape is None or operation.startswith(("head_", "put_", "delete_", "get_bucket"))


def test_answers_have_the_fields_of_real_ones(server: ApiServer) -> None:
    """Fields of answers in the examples of AWS's API reference and CLI reference."""
    assert set(as_sent(client(server, "sts").get_caller_identity())) == {"UserId", "Account", "Arn"}
    # Moto is one for the process: other files' jobs have streams, too.
    found = client(server, "logs").describe_log_streams(logGroupName=GROUP, logStreamNamePrefix="job/algo-1-9")
    (stream,) = found["logStreams"]
    assert {
        *("logStreamName", "creationTime", "firstEventTimestamp", "lastEventTimestamp", "lastIngestionTime"),
        *("uploadSequenceToken", "arn", "storedBytes"),
    } == set(stream)
    assert (stream["firstEventTimestamp"], stream["lastEventTimestamp"]) == (AT * 1000, AT * 1000)
    (event,) = client(server, "logs").filter_log_events(logGroupName=GROUP, logStreamNames=["job/algo-1-9"])["events"]
    assert set(event) == {"logStreamName", "timestamp", "message", "ingestionTime", "eventId"}
    assert len(event["eventId"]) == 56
    tail = client(server, "logs").get_log_events(logGroupName=GROUP, logStreamName="job/algo-1-9")
    assert set(as_sent(tail)) == {"events", "nextForwardToken", "nextBackwardToken"}
    assert (tail["nextForwardToken"][:2], tail["nextBackwardToken"][:2]) == ("f/", "b/")
    (result,) = client(server, "cloudwatch").get_metric_data(MetricDataQueries=[DATA_QUERY], **SPAN)[
        "MetricDataResults"
    ]
    assert set(result) == {"Id", "Label", "Timestamps", "Values", "StatusCode"}
    (repository,) = client(server, "ecr").describe_repositories(repositoryNames=["trainer"])["repositories"]
    assert {"repositoryArn", "registryId", "repositoryName", "repositoryUri", "createdAt"} <= set(repository)
    (token,) = client(server, "ecr").get_authorization_token()["authorizationData"]
    assert set(token) >= {"authorizationToken", "expiresAt", "proxyEndpoint"}
    assert token["expiresAt"] > dt.datetime.now(dt.UTC)


SERVICES = ("sagemaker", "sagemaker-runtime", "sagemaker-metrics", "logs", "cloudwatch", "ecr")


@pytest.mark.parametrize("service", SERVICES)
def test_every_pattern_of_a_model_is_one_that_values_can_be_held_against(service: str) -> None:
    model = ServiceModel(Loader().load_service_model(service, "service-2"), service)
    shapes = [model.shape_for(name) for name in model.shape_names]
    patterns = [shape for shape in shapes if shape.type_name == "string" and "pattern" in shape.metadata]
    assert len([shape_violations(shape, "x") for shape in patterns]) == len(patterns)


@pytest.mark.parametrize(
    ("service", "name", "right", "wrong"),
    [
        ("sagemaker", "EntityDescription", "Größe, 3 €!", "a\x00"),
        ("sagemaker", "Group", "grüppe-1", "two words"),
        ("sagemaker", "Catalog", "AwsDataCatalog \U0001f600", "a\x01"),
        ("sagemaker", "CustomerMetadataKey", "owner/1", "a;b"),
        ("sagemaker-runtime", "CustomAttributesHeader", "trace=1", "é"),
        ("sagemaker-runtime", "InferenceId", "id 1", " id"),
    ],
)
def test_patterns_in_java_s_words_are_read(service: str, name: str, right: str, wrong: str) -> None:
    shape = ServiceModel(Loader().load_service_model(service, "service-2"), service).shape_for(name)
    assert shape_violations(shape, right) == []
    assert [violation.kind for violation in shape_violations(shape, wrong)] == ["pattern"]
