"""What AWS's clients ask for beside jobs: logs, metrics, lineage, models, endpoints, and what is not here."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from local_sagemaker.container_contract.system_metrics import utilization
from local_sagemaker.docker_client.container_log import LogLine
from local_sagemaker.services.logs import LogStream
from local_sagemaker.services.metrics import Value, forget, keep_host_metrics, load_host_metrics, publish
from tests.helpers.local_server import ROLE, ApiServer, call, send, serving
from tests.helpers.made_up_jobs import complete, train

ARN = "arn:aws:sagemaker:us-east-1:123456789012"
GROUP = "/aws/sagemaker/TrainingJobs"

Client = Callable[..., Any]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    with serving(tmp_path) as api:
        yield api


@pytest.fixture
def client(server: ApiServer) -> Client:
    return lambda service: made(service, server)


def made(service: str, server: ApiServer) -> Any:
    return boto3.client(
        service,
        endpoint_url=server.address,
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",
        config=Config(retries={"max_attempts": 0}, inject_host_prefix=False),
    )


def code_of(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


# CloudWatch Logs


@pytest.fixture
def logs(client: Client, tmp_path: Path) -> Any:
    """Two jobs, the first with two hosts, whose lines alternate: a second apart, from 1,000,000 on."""
    for name, first in (("a/algo-1-9", 0), ("a/algo-2-9", 1), ("b/algo-1-9", 2)):
        lines = [LogLine((1_000_000 + first + 3 * n) * 10**9, f"{name[0]} {n}") for n in range(4)]
        LogStream(GROUP, "us-east-1", name, tmp_path / name).write(lines)
    return client("logs")


def messages(answer: dict[str, Any]) -> list[str]:
    return [event["message"] for event in answer["events"]]


def test_events_are_those_of_the_streams_that_begin_with_the_prefix(logs: Any) -> None:
    of_b = logs.filter_log_events(logGroupName=GROUP, logStreamNamePrefix="b/")
    assert messages(of_b) == ["b 0", "b 1", "b 2", "b 3"]
    assert {event["logStreamName"] for event in of_b["events"]} == {"b/algo-1-9"}
    assert "nextToken" not in of_b
    assert messages(logs.filter_log_events(logGroupName=GROUP, logStreamNamePrefix="none")) == []
    two = logs.filter_log_events(logGroupName=GROUP, logStreamNames=["a/algo-2-9", "b/algo-1-9"])
    assert messages(two)[:4] == ["a 0", "b 0", "a 1", "b 1"]  # in the order of time
    by_arn = f"arn:aws:logs:us-east-1:123456789012:log-group:{GROUP}"
    assert len(logs.filter_log_events(logGroupIdentifier=by_arn)["events"]) == 12


def test_pages_of_events_go_on_where_the_last_one_ended(logs: Any, tmp_path: Path) -> None:
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName=GROUP, logStreamNamePrefix="a/", PaginationConfig={"PageSize": 3}
    )
    found = []
    for number, page in enumerate(pages):
        found += page["events"]
        if number == 0:  # a line of another host, earlier than what has been told
            LogStream(GROUP, "us-east-1", "a/algo-3-9", tmp_path / "more").write([LogLine(10**15, "late")])
    assert [event["message"] for event in found] == [f"a {n}" for n in range(4) for _ in range(2)]
    assert len({event["eventId"] for event in found}) == 8


def test_times_and_patterns_of_events(logs: Any) -> None:
    def found(**wanted: Any) -> list[str]:
        return messages(logs.filter_log_events(logGroupName=GROUP, logStreamNamePrefix="b/", **wanted))

    first = 1_000_002_000
    assert found(startTime=first + 1) == ["b 1", "b 2", "b 3"]
    assert found(startTime=first, endTime=first + 3000) == ["b 0", "b 1"]  # both ends are in
    assert found(filterPattern='"b 2"') == ["b 2"]
    assert found(filterPattern="?1 ?3") == ["b 1", "b 3"]
    assert found(filterPattern="b -1") == ["b 0", "b 2", "b 3"]
    assert found(filterPattern="B") == []
    with pytest.raises(ClientError, match="not available") as error:
        found(filterPattern="{ $.level = 30 }")
    assert code_of(error) == "InvalidParameterException"


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"logGroupName": "none"}, "ResourceNotFoundException"),
        ({"logGroupName": GROUP, "logStreamNames": ["none"]}, "ResourceNotFoundException"),
        (
            {"logGroupName": GROUP, "logStreamNames": ["a/algo-1-9"], "logStreamNamePrefix": "a"},
            "InvalidParameterException",
        ),
        ({"logGroupName": GROUP, "limit": 10_001}, "InvalidParameterException"),
        ({"logGroupName": GROUP, "nextToken": "f/xyz"}, "InvalidParameterException"),
        ({}, "InvalidParameterException"),
    ],
)
def test_questions_about_events_that_are_refused(logs: Any, wanted: dict[str, Any], code: str) -> None:
    with pytest.raises(ClientError) as error:
        logs.filter_log_events(**wanted)
    assert code_of(error) == code


def test_a_stream_is_read_from_either_end(logs: Any, tmp_path: Path) -> None:
    def read(**wanted: Any) -> Any:
        return logs.get_log_events(logGroupName=GROUP, logStreamName="b/algo-1-9", limit=3, **wanted)

    head = read(startFromHead=True)
    assert messages(head) == ["b 0", "b 1", "b 2"]
    assert messages(read()) == ["b 1", "b 2", "b 3"]
    assert messages(read(nextToken=read()["nextBackwardToken"])) == ["b 0"]
    tail = read(nextToken=head["nextForwardToken"])
    assert messages(tail) == ["b 3"]
    at_end = read(nextToken=tail["nextForwardToken"])
    assert messages(at_end) == []
    assert at_end["nextForwardToken"] == tail["nextForwardToken"]  # which is how clients know the end
    LogStream(GROUP, "us-east-1", "b/algo-1-9", tmp_path / "b/algo-1-9").write([LogLine(10**16, "more")])
    assert messages(read(nextToken=tail["nextForwardToken"])) == ["more"]
    assert messages(read(startFromHead=True, endTime=1_000_005_000)) == ["b 0"]  # the end itself is out


def test_a_page_of_events_has_a_megabyte(client: Client, server: ApiServer, tmp_path: Path) -> None:  # noqa: ARG001
    lines = [LogLine((n + 1) * 10**9, "x" * 200_000) for n in range(8)]
    LogStream(GROUP, "us-east-1", "long/algo-1-9", tmp_path / "long").write(lines)
    first = client("logs").filter_log_events(logGroupName=GROUP)
    assert len(first["events"]) == 5
    assert len(client("logs").filter_log_events(logGroupName=GROUP, nextToken=first["nextToken"])["events"]) == 3


# CloudWatch


def metric_query(name: str, period: int, stat: str = "Average", **more: Any) -> dict[str, Any]:
    metric = {"Namespace": GROUP, "MetricName": name, "Dimensions": [{"Name": "TrainingJobName", "Value": "job"}]}
    return {"Id": "m", "MetricStat": {"Metric": metric, "Period": period, "Stat": stat}} | more


def at(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


@pytest.mark.parametrize(("start", "period", "expected"), [(31, 60, {0: 2.0, 60: 5.0, 240: 7.0}), (299, 300, {0: 4.0})])
def test_periods_begin_where_clocks_do(client: Client, start: int, period: int, expected: dict[int, float]) -> None:
    base = 1_000_200  # where a minute and five minutes begin
    values = [Value("loss", value, base + second) for second, value in ((0, 1.0), (59, 3.0), (60, 5.0), (299, 7.0))]
    publish(values, "job", "us-east-1")
    publish(values, "other", "us-east-1")
    (result,) = client("cloudwatch").get_metric_data(
        MetricDataQueries=[metric_query("loss", period)],
        StartTime=at(base + start),
        EndTime=at(base + 900),
        ScanBy="TimestampAscending",
    )["MetricDataResults"]
    times = [moment.timestamp() - base for moment in result["Timestamps"]]
    assert dict(zip(times, result["Values"], strict=True)) == expected


def test_a_metric_s_statistics(client: Client) -> None:
    publish([Value("loss", value, 1_000_000.0) for value in (1.0, 2.0, 6.0)], "job", "us-east-1")
    cloudwatch = client("cloudwatch")
    wanted = {"Average": 3.0, "Sum": 9.0, "Minimum": 1.0, "Maximum": 6.0, "SampleCount": 3.0, "p50": 2.0, "p75": 4.0}
    queries = [metric_query("loss", 60, stat, Id=f"m{n}") for n, stat in enumerate(wanted)]
    span = {"StartTime": at(999_900), "EndTime": at(1_000_100)}
    results = cloudwatch.get_metric_data(MetricDataQueries=queries, **span)["MetricDataResults"]
    assert [result["Values"] for result in results] == [[value] for value in wanted.values()]
    (point,) = cloudwatch.get_metric_statistics(
        Namespace=GROUP,
        MetricName="loss",
        Dimensions=[{"Name": "TrainingJobName", "Value": "job"}],
        Period=60,
        Statistics=["Average", "Maximum"],
        **span,
    )["Datapoints"]
    assert (point["Average"], point["Maximum"], point["Timestamp"]) == (3.0, 6.0, at(999_960))
    without_dimensions = {"Namespace": GROUP, "MetricName": "loss", "Period": 60, "Statistics": ["Sum"]}
    assert cloudwatch.get_metric_statistics(**without_dimensions, **span)["Datapoints"] == []
    with pytest.raises(ClientError, match="p101") as error:
        cloudwatch.get_metric_data(MetricDataQueries=[metric_query("loss", 60, "p101")], **span)
    assert code_of(error) == "ValidationError"
    with pytest.raises(ClientError, match="less than"):
        cloudwatch.get_metric_data(MetricDataQueries=queries, StartTime=at(5), EndTime=at(5))
    with pytest.raises(ClientError, match="m0 / 2"):
        cloudwatch.get_metric_data(MetricDataQueries=[queries[0], {"Id": "e", "Expression": "m0 / 2"}], **span)


def test_metrics_are_read_in_the_query_protocol_as_well(server: ApiServer) -> None:
    publish([Value("loss", 0.5, 1_000_000.0)], "job", "us-east-1")
    fields = {
        "Action": "GetMetricStatistics",
        "Version": "2010-08-01",
        "Namespace": GROUP,
        "MetricName": "loss",
        "Dimensions.member.1.Name": "TrainingJobName",
        "Dimensions.member.1.Value": "job",
        "StartTime": "1970-01-12T13:00:00Z",
        "EndTime": "1970-01-12T14:00:00Z",
        "Period": "300",
        "Statistics.member.1": "Average",
    }
    headers = {
        "Authorization": "AWS4-HMAC-SHA256 Credential=local/20261124/us-east-1/monitoring/aws4_request, Signature=0",
        "Content-Type": "application/x-www-form-urlencoded; charset=utf-8",
    }
    status, _, body = send(server, "POST", "/", urlencode(fields).encode(), headers)
    assert status == 200, body
    assert b"<member><Timestamp>1970-01-12T13:45:00Z</Timestamp><Average>0.5</Average>" in body
    status, _, body = send(server, "POST", "/", urlencode(fields | {"Period": "soon"}).encode(), headers)
    assert (status, b"<Code>SerializationException</Code>" in body) == (400, True)


def test_the_utilization_of_a_host_outlives_the_server(tmp_path: Path) -> None:
    path = tmp_path / "host_metrics.jsonl"
    reading = {"read": "2026-11-30T10:00:00.5Z", "memory_stats": {"limit": 200, "usage": 60, "stats": {}}}
    before = reading | {"cpu_stats": {"system_cpu_usage": 1, "cpu_usage": {"total_usage": 10**9}}}
    after = before | {"read": "2026-11-30T10:00:02.5Z"}
    after |= {"cpu_stats": {"system_cpu_usage": 1, "cpu_usage": {"total_usage": 4 * 10**9}}}
    found = utilization(before, after, 0.25)
    assert found == {"CPUUtilization": 150.0, "MemoryUtilization": 30.0, "DiskUtilization": 25.0}
    assert utilization({}, after, 0.25) == {}
    values = [Value(name, value, 1_000_000.0) for name, value in found.items()]
    keep_host_metrics(values, "processing", "job/algo-1", "us-east-1", path)
    with path.open("a") as file:
        file.write('{"t": 1, "na')  # cut by the end of a server
    with serving(tmp_path / "state") as server:
        asked = made("cloudwatch", server)
        load_host_metrics("processing", "us-east-1", path)
        metrics = asked.list_metrics(Namespace="/aws/sagemaker/ProcessingJobs")["Metrics"]
        assert {metric["MetricName"] for metric in metrics} == set(found)
        forget("job", "us-east-1")
        assert asked.list_metrics(Namespace="/aws/sagemaker/ProcessingJobs")["Metrics"] == []


# Metrics of trial components


def test_metrics_that_a_run_puts_are_those_of_its_component(client: Client, server: ApiServer) -> None:
    sagemaker, metrics = client("sagemaker"), client("sagemaker-metrics")
    arn = sagemaker.create_trial_component(TrialComponentName="run-1")["TrialComponentArn"]
    data = [
        {"MetricName": "loss", "Timestamp": 1_000_000 + 60 * step, "Step": step // 2, "Value": value}
        for step, value in enumerate((4.0, 2.0, 1.0))
    ]
    assert "Errors" not in metrics.batch_put_metrics(TrialComponentName="run-1", MetricData=data)
    (loss,) = sagemaker.describe_trial_component(TrialComponentName="run-1")["Metrics"]
    assert (loss["Count"], loss["Min"], loss["Max"], loss["Last"], loss["SourceArn"]) == (3, 1.0, 4.0, 1.0, arn)
    assert loss["TimeStamp"] == at(1_000_120)

    def got(stat: str, period: str, axis: str = "Timestamp", **more: Any) -> tuple[list[int], list[float]]:
        query = {
            "MetricName": "loss",
            "ResourceArn": arn,
            "MetricStat": stat,
            "Period": period,
            "XAxisType": axis,
        } | more
        (result,) = metrics.batch_get_metrics(MetricQueries=[query])["MetricQueryResults"]
        assert result["Status"] == "Complete"
        return result["XAxisValues"], result["MetricValues"]

    assert got("Avg", "IterationNumber", "IterationNumber") == ([0, 1], [3.0, 1.0])
    assert got("Last", "OneMinute") == ([999_960, 1_000_020, 1_000_080], [4.0, 2.0, 1.0])
    assert got("Count", "OneHour") == ([997_200], [3.0])
    assert got("Max", "IterationNumber", "IterationNumber", Start=1) == ([1], [1.0])

    train(server, "job")
    complete(server, "job")
    of_job = {"MetricStat": "Last", "Period": "IterationNumber", "XAxisType": "IterationNumber"}
    queries = [
        of_job | {"MetricName": "loss", "ResourceArn": f"{ARN}:training-job/{name}"}
        for name in ("job", "there-is-none")
    ]
    statuses = [r["Status"] for r in metrics.batch_get_metrics(MetricQueries=queries)["MetricQueryResults"]]
    assert statuses == ["Complete", "ValidationError"]

    found = sagemaker.search(
        Resource="ExperimentTrialComponent",
        SearchExpression={"Filters": [{"Name": "Metrics.loss.min", "Operator": "LessThan", "Value": "1.5"}]},
    )["Results"]
    assert [row["TrialComponent"]["TrialComponentName"] for row in found] == ["run-1"]
    sagemaker.delete_trial_component(TrialComponentName="run-1")
    sagemaker.create_trial_component(TrialComponentName="run-1")
    assert sagemaker.describe_trial_component(TrialComponentName="run-1").get("Metrics", []) == []


def test_metrics_outlive_the_server(tmp_path: Path) -> None:
    for number in (1, 2):
        with serving(tmp_path) as server:
            call(server, "CreateTrialComponent", {"TrialComponentName": "run"})
            made("sagemaker-metrics", server).batch_put_metrics(
                TrialComponentName="run", MetricData=[{"MetricName": "loss", "Timestamp": number, "Value": 0.5}]
            )
            component = call(server, "DescribeTrialComponent", {"TrialComponentName": "run"})[1]
            assert component["Metrics"][0]["Count"] == number


def test_metrics_of_a_deleted_job_are_not_those_of_the_next_one_of_its_name(server: ApiServer, client: Client) -> None:
    sagemaker = client("sagemaker")
    component = "job-aws-training-job"
    counts = []
    for number in (1, 2):
        train(server, "job", steps=0)
        put = [{"MetricName": "mine", "Timestamp": number, "Value": 0.5}]
        assert "Errors" not in client("sagemaker-metrics").batch_put_metrics(
            TrialComponentName=component, MetricData=put
        )
        found = sagemaker.describe_trial_component(TrialComponentName=component)["Metrics"]
        counts.append([metric["Count"] for metric in found if metric["MetricName"] == "mine"])
        complete(server, "job")
        sagemaker.delete_training_job(TrainingJobName="job")
    assert counts == [[1], [1]]


def test_a_metric_that_is_no_number_or_nobody_s_does_not_hold_up_the_others(client: Client) -> None:
    metrics = client("sagemaker-metrics")
    client("sagemaker").create_trial_component(TrialComponentName="run")
    data = [{"MetricName": "loss", "Timestamp": 1, "Value": value} for value in (float("nan"), 0.5, float("inf"))]
    errors = metrics.batch_put_metrics(TrialComponentName="run", MetricData=data)["Errors"]
    assert errors == [{"Code": "VALIDATION_ERROR", "MetricIndex": 0}, {"Code": "VALIDATION_ERROR", "MetricIndex": 2}]
    (loss,) = client("sagemaker").describe_trial_component(TrialComponentName="run")["Metrics"]
    assert loss["Count"] == 1
    lost = metrics.batch_put_metrics(TrialComponentName="none", MetricData=data[1:2])["Errors"]
    assert lost == [{"Code": "VALIDATION_ERROR", "MetricIndex": 0}]
    with pytest.raises(ClientError, match="trialComponentName") as error:
        metrics.batch_put_metrics(TrialComponentName="Upper", MetricData=data[1:2])
    assert code_of(error) == "ValidationException"


# Lineage that people make


def test_what_a_run_logs_is_lineage(client: Client, server: ApiServer) -> None:
    sagemaker = client("sagemaker")
    run = sagemaker.create_trial_component(TrialComponentName="run")["TrialComponentArn"]
    source = {"SourceUri": "s3://bucket/data", "SourceTypes": [{"SourceIdType": "MD5Hash", "Value": "x"}]}
    data = sagemaker.create_artifact(
        ArtifactName="data",
        Source=source,
        ArtifactType="DataSet",
        Properties={"a": "1", "b": "2"},
        Tags=[{"Key": "k", "Value": "v"}],
    )["ArtifactArn"]
    uri = {"SourceUri": "s3://bucket/run", "SourceType": "x"}
    sagemaker.create_action(ActionName="Approve", ActionType="Approval", Source=uri, Status="Completed")
    sagemaker.create_context(ContextName="endpoint", ContextType="Endpoint", Source=uri, Description="d")
    context = sagemaker.describe_context(ContextName="endpoint")["ContextArn"]
    sagemaker.add_association(SourceArn=data, DestinationArn=run, AssociationType="ContributedTo")
    sagemaker.add_association(SourceArn=run, DestinationArn=context)

    (link,) = sagemaker.list_associations(DestinationArn=run)["AssociationSummaries"]
    assert (link["SourceName"], link["SourceType"], link["DestinationName"]) == ("data", "DataSet", "run")
    vertices = sagemaker.query_lineage(StartArns=[data], Direction="Descendants")["Vertices"]
    assert [(row["Arn"], row["LineageType"], row["Type"]) for row in vertices] == [
        (run, "TrialComponent", "TrialComponent"),
        (context, "Context", "Endpoint"),
    ]
    assert sagemaker.list_tags(ResourceArn=data)["Tags"] == [{"Key": "k", "Value": "v"}]
    sagemaker.update_artifact(ArtifactArn=data, Properties={"c": "3"}, PropertiesToRemove=["a"])
    described = sagemaker.describe_artifact(ArtifactArn=data)
    assert (described["Properties"], described["Source"]) == ({"b": "2", "c": "3"}, source)
    sagemaker.update_action(ActionName="Approve", Status="Failed")
    (action,) = sagemaker.list_actions(ActionType="Approval")["ActionSummaries"]
    assert (action["Status"], action["ActionArn"]) == ("Failed", f"{ARN}:action/approve")

    for refused, wanted, code in (
        (
            sagemaker.create_context,
            {"ContextName": "endpoint", "ContextType": "x", "Source": uri},
            "ValidationException",
        ),
        (sagemaker.add_association, {"SourceArn": data, "DestinationArn": run}, "ValidationException"),
        (sagemaker.add_association, {"SourceArn": data, "DestinationArn": f"{ARN}:context/none"}, "ResourceNotFound"),
        (sagemaker.delete_artifact, {"ArtifactArn": data}, "ValidationException"),
        (sagemaker.delete_association, {"SourceArn": run, "DestinationArn": data}, "ResourceNotFound"),
        (sagemaker.describe_action, {"ActionName": "none"}, "ResourceNotFound"),
    ):
        with pytest.raises(ClientError) as error:
            refused(**wanted)
        assert code_of(error) == code
    sagemaker.delete_association(SourceArn=data, DestinationArn=run)
    assert sagemaker.delete_artifact(Source=source)["ArtifactArn"] == data
    assert sagemaker.list_artifacts()["ArtifactSummaries"] == []
    train(server, "job")
    derived = sagemaker.list_artifacts()["ArtifactSummaries"][0]["ArtifactArn"]
    with pytest.raises(ClientError, match="job's own"):
        sagemaker.delete_artifact(ArtifactArn=derived)


# Models


def test_a_model_is_described_with_what_it_was_made_of_and_nothing_empty(client: Client) -> None:
    sagemaker = client("sagemaker")
    container = {"Image": "i", "ModelDataUrl": "s3://bucket/model.tar.gz"}
    for number in range(3):
        sagemaker.create_model(ModelName=f"M-{number}", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    described = sagemaker.describe_model(ModelName="M-0")
    assert {"VpcConfig", "Containers", "CreatedBy"} & set(described) == set()
    assert described["PrimaryContainer"] == container | {"Mode": "SingleModel"}
    assert (described["ModelName"], described["ModelArn"]) == ("M-0", f"{ARN}:model/m-0")
    first = sagemaker.list_models(MaxResults=2, SortBy="Name", SortOrder="Ascending")
    assert [model["ModelName"] for model in first["Models"]] == ["M-0", "M-1"]
    rest = sagemaker.list_models(MaxResults=2, SortBy="Name", SortOrder="Ascending", NextToken=first["NextToken"])
    assert [model["ModelName"] for model in rest["Models"]] == ["M-2"]
    assert [model["ModelName"] for model in sagemaker.list_models(NameContains="-1")["Models"]] == ["M-1"]
    for refused, wanted in (
        (sagemaker.create_model, {"ModelName": "M-0", "PrimaryContainer": container}),
        (sagemaker.create_model, {"ModelName": "new"}),
        (sagemaker.describe_model, {"ModelName": "none"}),
    ):
        with pytest.raises(ClientError) as error:
            refused(**wanted)
        assert code_of(error) == "ValidationException"
    sagemaker.delete_model(ModelName="M-0")
    with pytest.raises(ClientError, match="Could not find model"):
        sagemaker.describe_model(ModelName="M-0")


# What is not here


def test_an_endpoint_that_is_not_there_serves_nothing(client: Client) -> None:
    runtime = client("sagemaker-runtime")
    for invoke, more in (
        (runtime.invoke_endpoint, {"Body": b"{}"}),
        (runtime.invoke_endpoint_async, {"InputLocation": "s3://bucket/in"}),
        (runtime.invoke_endpoint_with_response_stream, {"Body": b"\x00\xff"}),
    ):
        with pytest.raises(ClientError, match="Endpoint there-is-none of account 123456789012 not found") as error:
            invoke(EndpointName="there-is-none", **more)
        assert code_of(error) == "ValidationError"
        assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


@pytest.mark.parametrize(
    ("service", "operation", "wanted"),
    [
        ("logs", "get_log_group_fields", {"logGroupName": GROUP}),
        ("cloudwatch", "get_metric_widget_image", {"MetricWidget": "{}"}),
        ("sagemaker", "update_endpoint", {"EndpointName": "e", "EndpointConfigName": "c"}),
        ("sagemaker", "list_pipelines", {}),
        ("ecr", "describe_pull_through_cache_rules", {}),
        ("iam", "generate_service_last_accessed_details", {"Arn": ROLE}),
        ("sts", "get_delegated_access_token", {"TradeInToken": "x" * 8}),
        (
            "sagemaker-featurestore-runtime",
            "get_record",
            {"FeatureGroupName": "f", "RecordIdentifierValueAsString": "1"},
        ),
        ("sagemaker-geospatial", "list_raster_data_collections", {}),
        ("braket", "search_jobs", {"filters": []}),
        ("s3", "get_bucket_metadata_configuration", {"Bucket": "sagemaker-us-east-1-123456789012"}),
    ],
)
def test_an_operation_that_nobody_has_is_one_error_that_names_it(
    client: Client, service: str, operation: str, wanted: dict[str, Any]
) -> None:
    asked = client(service)
    with pytest.raises(ClientError) as error:
        getattr(asked, operation)(**wanted)
    assert code_of(error) in ("UnknownOperationException", "NotImplemented")
    status = error.value.response["ResponseMetadata"]["HTTPStatusCode"]
    assert status not in (200, 404, 500, 502, 503, 504)  # what SDKs try again, or take for an absent resource
    assert asked.meta.method_to_api_mapping[operation] in error.value.response["Error"]["Message"]


def test_an_error_is_in_the_protocol_of_the_question(server: ApiServer) -> None:
    headers = {
        "Authorization": "AWS4-HMAC-SHA256 Credential=local/20261124/us-east-1/monitoring/aws4_request, Signature=0",
        "smithy-protocol": "rpc-v2-cbor",
        "Content-Type": "application/cbor",
    }
    path = "/service/GraniteServiceVersion20100801/operation/GetMetricWidgetImage"
    status, answered, body = send(server, "POST", path, b"\xa0", headers)
    assert (status, answered["smithy-protocol"]) == (501, "rpc-v2-cbor")
    from botocore.parsers import RpcV2CBORParser

    service = boto3.session.Session()._session.get_service_model("cloudwatch")
    parsed = RpcV2CBORParser().parse(
        {"status_code": status, "headers": answered, "body": body},
        service.operation_model("GetMetricWidgetImage").output_shape,
    )
    assert parsed["Error"]["Code"] == "UnknownOperationException"
    assert "GetMetricWidgetImage" in parsed["Error"]["Message"]


def test_a_missing_object_is_still_said_to_be_missing(client: Client) -> None:
    s3 = client("s3")
    with pytest.raises(ClientError) as error:
        s3.head_object(Bucket="sagemaker-us-east-1-123456789012", Key="none")
    assert code_of(error) == "404"
    with pytest.raises(ClientError) as error:
        client("iam").get_user(UserName="none")
    assert code_of(error) == "NoSuchEntity"


# What SDKs put into CreateTrainingJob


def test_a_job_of_a_run_belongs_to_its_trial(server: ApiServer, client: Client) -> None:
    sagemaker = client("sagemaker")
    sagemaker.create_experiment(ExperimentName="runs")
    sagemaker.create_trial(TrialName="group", ExperimentName="runs")
    config = {"ExperimentName": "runs", "TrialName": "group", "RunName": "r1"}  # as SDK v2's `with Run()` sends it
    train(server, "job", {"ExperimentConfig": config})
    assert sagemaker.describe_training_job(TrainingJobName="job")["ExperimentConfig"] == config
    of_trial = sagemaker.list_trial_components(TrialName="group")["TrialComponentSummaries"]
    assert [row["TrialComponentName"] for row in of_trial] == ["job-aws-training-job"]


def test_session_chaining_is_taken_and_not_told(server: ApiServer, client: Client) -> None:
    train(server, "job", {"SessionChainingConfig": {"EnableSessionTagChaining": True}})
    assert "SessionChainingConfig" not in client("sagemaker").describe_training_job(TrainingJobName="job")
