"""Models behind endpoints: a real container of the image serves each."""

from __future__ import annotations

import contextlib
import gzip
import io
import itertools
import tarfile
import time
from typing import Any

import docker
import pytest
from botocore.exceptions import ClientError, WaiterError

from local_sagemaker.server import LocalServer
from tests.helpers.emulator import BUCKET, IMAGE, ROLE, LocalSageMaker
from tests.local_sagemaker.jobs.test_recovery import Servers, servers

__all__ = ["servers"]  # a fixture

pytestmark = pytest.mark.docker

_numbers = itertools.count(1)


def archive(**files: str) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return content.getvalue()


def deploy(
    sagemaker: LocalSageMaker, *, isolated: bool = False, model_key: str = "", environment: dict[str, str] | None = None
) -> str:
    """Create model, configuration and endpoint of one name."""
    name, client = f"served-{next(_numbers)}-{time.time_ns() // 1_000_000}", sagemaker.client("sagemaker")
    container: dict[str, Any] = {"Image": IMAGE, "Environment": environment or {}}
    if model_key:
        container["ModelDataUrl"] = f"s3://{BUCKET}/{model_key}"
    client.create_model(
        ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE, EnableNetworkIsolation=isolated
    )
    variant = {"VariantName": "AllTraffic", "ModelName": name, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    client.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    client.create_endpoint(EndpointName=name, EndpointConfigName=name, Tags=[{"Key": "k", "Value": "v"}])
    return name


def settled(sagemaker: LocalSageMaker, name: str) -> dict[str, Any]:
    client, give_up = sagemaker.client("sagemaker"), time.monotonic() + 60
    while (endpoint := client.describe_endpoint(EndpointName=name))["EndpointStatus"] == "Creating":
        assert time.monotonic() < give_up
        time.sleep(0.02)
    return dict(endpoint)


def gone(sagemaker: LocalSageMaker, name: str) -> None:
    client = sagemaker.client("sagemaker")
    client.delete_endpoint(EndpointName=name)
    client.get_waiter("endpoint_deleted").wait(EndpointName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 40})


def invoke(sagemaker: LocalSageMaker, name: str, body: str) -> Any:
    runtime = sagemaker.client("sagemaker-runtime")
    return runtime.invoke_endpoint(EndpointName=name, Body=body, ContentType="text/plain", Accept="application/json")


@pytest.mark.parametrize("isolated", [False, True])
def test_an_endpoint_serves_its_model(sagemaker: LocalSageMaker, server: LocalServer, isolated: bool) -> None:  # noqa: FBT001
    sagemaker.put("models/model.tar.gz", archive(weights="heavy "))
    name = deploy(sagemaker, model_key="models/model.tar.gz", isolated=isolated)
    endpoint = settled(sagemaker, name)
    assert endpoint["EndpointStatus"] == "InService", endpoint
    assert endpoint["ProductionVariants"][0]["CurrentInstanceCount"] == 1
    assert endpoint["ProductionVariants"][0]["DeployedImages"][0]["SpecifiedImage"] == IMAGE
    client = sagemaker.client("sagemaker")
    found = client.list_endpoints(StatusEquals="InService", NameContains=name)["Endpoints"]
    assert [entry["EndpointName"] for entry in found] == [name]
    assert client.list_tags(ResourceArn=endpoint["EndpointArn"])["Tags"] == [{"Key": "k", "Value": "v"}]
    answer = invoke(sagemaker, name, "It broke.")
    assert answer["Body"].read() == b"POST /invocations text/plain application/json heavy It broke."
    assert (answer["ContentType"], answer["InvokedProductionVariant"]) == ("text/plain", "AllTraffic")
    assert answer["CustomAttributes"] == "seen"
    with pytest.raises(ClientError) as caught:
        invoke(sagemaker, name, "fail")
    assert caught.value.response["Error"]["Code"] == "ModelError"
    assert caught.value.response["OriginalStatusCode"] == 400
    assert caught.value.response["OriginalMessage"].endswith("heavy fail")
    gone(sagemaker, name)
    events = sagemaker.client("logs").filter_log_events(logGroupName=f"/aws/sagemaker/Endpoints/{name}")["events"]
    assert [event["message"] for event in events] == ["POST /invocations 9", "POST /invocations 4", "drained"]
    assert events[0]["logStreamName"].startswith("AllTraffic/i-")
    assert server.engine.containers("endpoint", name) == []
    with pytest.raises(ClientError) as caught:
        invoke(sagemaker, name, "late")
    assert caught.value.response["Error"]["Code"] == "ValidationError"


@pytest.mark.parametrize(
    ("environment", "model_key", "reason"),
    [
        (
            {"BEFORE": "echo no weights; exit 12"},
            "",
            "ended with code 12. Please check CloudWatch logs. Its log ends: no",
        ),
        ({}, "models/missing.tar.gz", "Failed to download model data"),
        ({}, "models/text.tar.gz", "Failed to download model data"),
    ],
)
def test_an_endpoint_that_cannot_serve_says_why(
    sagemaker: LocalSageMaker, environment: dict[str, str], model_key: str, reason: str
) -> None:
    sagemaker.put("models/text.tar.gz", "no archive")
    name = deploy(sagemaker, model_key=model_key, environment=environment)
    endpoint = settled(sagemaker, name)
    assert endpoint["EndpointStatus"] == "Failed"
    assert reason in endpoint["FailureReason"]
    with pytest.raises(ClientError) as caught:
        invoke(sagemaker, name, "It broke.")
    assert caught.value.response["Error"]["Code"] == "ValidationError"
    gone(sagemaker, name)


def lines_of(sagemaker: LocalSageMaker, name: str) -> list[str]:
    logs = sagemaker.client("logs")
    try:
        events = logs.filter_log_events(logGroupName=f"/aws/sagemaker/Endpoints/{name}")["events"]
    except logs.exceptions.ResourceNotFoundException:  # it has said nothing yet
        return []
    return [event["message"] for event in events]


def test_a_server_that_is_killed_serves_its_endpoints_again(servers: Servers) -> None:
    sagemaker = servers.start()
    sagemaker.client("s3").create_bucket(Bucket=BUCKET)
    name = deploy(sagemaker)
    assert settled(sagemaker, name)["EndpointStatus"] == "InService"
    invoke(sagemaker, name, "first")
    servers.kill()  # perhaps before the container's line has come
    sagemaker = servers.start()
    assert settled(sagemaker, name)["EndpointStatus"] == "InService"  # the same container goes on
    assert invoke(sagemaker, name, "second")["Body"].read().endswith(b"second")
    while len(lines_of(sagemaker, name)) < 2:
        time.sleep(0.02)
    invoke(sagemaker, name, "last")
    servers.kill()
    engine = docker.from_env()
    (container,) = engine.containers.list(filters={"label": f"distilbert-trainer.state={servers.state.identity}"})
    container.stop()
    sagemaker = servers.start()
    assert settled(sagemaker, name)["EndpointStatus"] == "InService"  # another one
    said = ["POST /invocations 5", "POST /invocations 6", "POST /invocations 4", "drained"]
    assert lines_of(sagemaker, name) == said
    assert invoke(sagemaker, name, "more")["Body"].read().endswith(b"more")
    assert len(engine.containers.list(filters={"label": f"distilbert-trainer.state={servers.state.identity}"})) == 1
    engine.close()


def transform(sagemaker: LocalSageMaker, prefix: str, **changes: Any) -> dict[str, Any]:
    """Run a transform job to its end; the test's image answers with the request in capitals, without its last break."""
    name, client = f"transform-{next(_numbers)}-{time.time_ns() // 1_000_000}", sagemaker.client("sagemaker")
    environment = changes.pop("environment", {})
    client.create_model(
        ModelName=name, PrimaryContainer={"Image": IMAGE, "Environment": environment}, ExecutionRoleArn=ROLE
    )
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/{prefix}/in/"}
    given = changes.pop("given", {})
    client.create_transform_job(
        **{
            "TransformJobName": name,
            "ModelName": name,
            "TransformInput": {"DataSource": {"S3DataSource": source}, "ContentType": "text/plain", **given},
            "TransformOutput": {"S3OutputPath": f"s3://{BUCKET}/{prefix}/out", "AssembleWith": "Line"},
            "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
            **changes,
        }
    )
    if changes.get("Tags"):
        client.stop_transform_job(TransformJobName=name)
    waiter = client.get_waiter("transform_job_completed_or_stopped")
    with contextlib.suppress(WaiterError):  # it has failed
        waiter.wait(TransformJobName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    return dict(client.describe_transform_job(TransformJobName=name))


def test_a_transform_job_answers_for_each_object(sagemaker: LocalSageMaker, server: LocalServer) -> None:
    sagemaker.put("whole/in/a.txt", "one\ntwo\n")
    sagemaker.put("whole/in/deep/b.txt", "three\n")
    job = transform(sagemaker, "whole")
    assert job["TransformJobStatus"] == "Completed", job
    assert job["TransformEndTime"] >= job["TransformStartTime"] >= job["CreationTime"]
    assert sagemaker.keys("whole/out") == ["whole/out/a.txt.out", "whole/out/deep/b.txt.out"]
    assert sagemaker.read(f"s3://{BUCKET}/whole/out/a.txt.out") == b"ONE\nTWO\n"
    sagemaker.put("lines/in/c", gzip.compress(b"one\ntwo\nthree\n"))
    given = {"SplitType": "Line", "CompressionType": "Gzip"}
    single = transform(sagemaker, "lines", given=given, BatchStrategy="SingleRecord", MaxConcurrentTransforms=3)
    assert sagemaker.read(f"s3://{BUCKET}/lines/out/c.out") == b"ONE\nTWO\nTHREE\n"
    prefix = f"{single['TransformJobName']}/"
    events = sagemaker.client("logs").filter_log_events(
        logGroupName="/aws/sagemaker/TransformJobs", logStreamNamePrefix=prefix
    )["events"]
    asked = [event["message"] for event in events]
    assert sorted(asked) == ["POST /invocations 4", "POST /invocations 4", "POST /invocations 6", "drained"]
    assert server.engine.containers("transform-job", single["TransformJobName"]) == []


def test_a_transform_job_that_cannot_go_on_says_why(sagemaker: LocalSageMaker) -> None:
    sagemaker.put("fails/in/a", "fail")
    job = transform(sagemaker, "fails")
    assert (job["TransformJobStatus"], sagemaker.keys("fails/out")) == ("Failed", [])
    assert f"s3://{BUCKET}/fails/in/a: the container's answer is no success. 400" in job["FailureReason"]
    assert "no objects under" in transform(sagemaker, "nothing")["FailureReason"]
    sagemaker.put("stops/in/a", "one")
    stopped = transform(sagemaker, "stops", environment={"BEFORE": "sleep 60"}, Tags=[{"Key": "stop", "Value": "it"}])
    assert stopped["TransformJobStatus"] == "Stopped"
