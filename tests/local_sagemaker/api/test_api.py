"""What the local SageMaker tells boto3 of jobs: describe, list, search, experiments, lineage, tags."""

from __future__ import annotations

import datetime as dt
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from launcher import build_request, load_job
from local_sagemaker.job_repository import JobRepository
from local_sagemaker.job_state import Job
from local_sagemaker.state import AccountAge
from tests.helpers.local_server import BUCKET, PROCESSING, TRAINING, ApiServer, call, changed, serving
from tests.helpers.made_up_jobs import BEGAN, complete, fail, train

REPOSITORY = Path(__file__).parents[3]
GOLDEN = REPOSITORY / "tests" / "launcher" / "golden"
ARN = "arn:aws:sagemaker:us-east-1:123456789012"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    with serving(tmp_path) as api:
        yield api


@pytest.fixture
def sagemaker(server: ApiServer) -> Any:
    return client(server)


def client(server: ApiServer, region: str = "us-east-1") -> Any:
    return boto3.client(
        "sagemaker",
        endpoint_url=server.address,
        region_name=region,
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )


def code_of(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


def at(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(BEGAN + seconds, dt.UTC)


def names(summaries: list[dict[str, Any]]) -> list[str]:
    return [summary["TrainingJobName"] for summary in summaries]


# Describe


def test_describe_says_what_has_become_of_a_job(server: ApiServer, sagemaker: Any) -> None:
    train(server, "job")
    complete(server, "job")
    job = sagemaker.describe_training_job(TrainingJobName="job")
    assert job["TrainingJobArn"] == f"{ARN}:training-job/job"
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Completed", "Completed")
    assert (job["CreationTime"], job["TrainingStartTime"], job["TrainingEndTime"]) == (at(0), at(4), at(186.4))
    assert (job["TrainingTimeInSeconds"], job["BillableTimeInSeconds"]) == (182, 60)
    assert [
        (phase["Status"], phase["StartTime"], phase.get("EndTime")) for phase in job["SecondaryStatusTransitions"]
    ] == [
        ("Starting", at(0), at(4)),
        ("Downloading", at(4), at(9)),
        ("Training", at(9), at(180)),
        ("Uploading", at(180), at(186.4)),
        ("Completed", at(186.4), at(186.4)),
    ]
    assert job["SecondaryStatusTransitions"][1]["StatusMessage"] == "Downloading the training image"
    assert job["ModelArtifacts"] == {"S3ModelArtifacts": f"s3://{BUCKET}/jobs/job/output/model.tar.gz"}
    # Single precision, as SageMaker's.
    assert {metric["MetricName"]: metric["Value"] for metric in job["FinalMetricDataList"]}["test:accuracy"] == (
        0.7285000085830688
    )
    assert [
        (rule["RuleConfigurationName"], rule["RuleEvaluationStatus"], rule.get("StatusDetails", "")[:7])
        for rule in (*job["DebugRuleEvaluationStatuses"], *job["ProfilerRuleEvaluationStatuses"])
    ] == [("LossNotDecreasing", "IssuesFound", "step 40"), ("ProfilerReport", "NoIssuesFound", "")]
    assert job["DebugRuleEvaluationStatuses"][0]["RuleEvaluationJobArn"].startswith(
        f"{ARN}:processing-job/job-lossnotdecreasing-"
    )
    assert "Tags" not in job
    assert "FailureReason" not in job


def test_describe_has_sagemaker_s_defaults(server: ApiServer, sagemaker: Any) -> None:
    train(server, "job")
    job = sagemaker.describe_training_job(TrainingJobName="job")
    assert job["OutputDataConfig"] == {
        "KmsKeyId": "",
        "S3OutputPath": f"s3://{BUCKET}/jobs/",
        "CompressionType": "GZIP",
    }
    assert job["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3DataDistributionType"] == "FullyReplicated"
    assert not job["EnableManagedSpotTraining"]
    assert job["ProfilingStatus"] == "Enabled"
    # Only what has happened is told: nothing has ended.
    assert not {"TrainingEndTime", "TrainingTimeInSeconds", "ModelArtifacts"} & set(job)


def test_a_failed_job_says_why(server: ApiServer, sagemaker: Any) -> None:
    train(server, "job")
    fail(server, "job", "AlgorithmError: " + "x" * 2000)
    job = sagemaker.describe_training_job(TrainingJobName="job")
    assert (job["TrainingJobStatus"], len(job["FailureReason"])) == ("Failed", 1024)


@pytest.mark.parametrize("golden", ["byoc", "byoc_rules"])
def test_what_aws_s_sdk_sends_comes_back_as_it_was(server: ApiServer, sagemaker: Any, golden: str) -> None:
    request = json.loads((GOLDEN / f"{golden}.json").read_text())
    for channel in request["InputDataConfig"]:
        bucket, _, key = channel["DataSource"]["S3DataSource"]["S3Uri"].removeprefix("s3://").partition("/")
        server.objects.put_file(bucket, f"{key}/part", server.objects.path(BUCKET, "channels/train/part-0.tfrecord"))
    sagemaker.create_experiment(ExperimentName=request["ExperimentConfig"]["ExperimentName"])
    sagemaker.create_trial(
        TrialName=request["ExperimentConfig"]["TrialName"],
        ExperimentName=request["ExperimentConfig"]["ExperimentName"],
    )
    sagemaker.create_training_job(**request)
    job = sagemaker.describe_training_job(TrainingJobName=request["TrainingJobName"])
    for field, value in request.items():
        assert _within(value, job[field]), field


@pytest.mark.parametrize("account", ["new", "old"])
def test_job_toml_is_taken_from_any_account_as_it_is(tmp_path: Path, account: AccountAge) -> None:
    request = build_request(load_job(REPOSITORY / "job.toml"), "shipped")
    with serving(tmp_path, account) as api:
        for name in ("train", "validation", "test"):
            api.objects.put_file(BUCKET, f"star-rating/channels/{name}/part-0.tfrecord", io.BytesIO(b"record"))
        client(api).create_training_job(**request)
        job = client(api).describe_training_job(TrainingJobName="shipped")
    del request["Tags"]  # ListTags has them
    assert _within(request, job)
    assert job["ProfilerConfig"] == {"DisableProfiler": True}
    assert "DebugHookConfig" not in job


def _within(asked: Any, answered: Any) -> bool:
    """Tell whether an answer has everything that was asked for, and maybe defaults beside it."""
    if isinstance(asked, dict):
        return all(name in answered and _within(value, answered[name]) for name, value in asked.items())
    if isinstance(asked, list):
        return len(asked) == len(answered) and all(map(_within, asked, answered))
    return bool(asked == answered)


@pytest.mark.parametrize(
    ("start", "end", "seconds"),
    [  # seconds of public answers of the service, of 2021, 2022 and 2025
        (32.239, 157.265, 125),
        (50.796, 243.971, 193),
        (41.811, 713.172, 672),
        (47.782, 3078.005, 3031),
    ],
)
def test_seconds_are_counted_as_the_service_counts_them(
    server: ApiServer, sagemaker: Any, start: float, end: float, seconds: int
) -> None:
    train(server, "job")

    def ended(job: Job) -> Job:
        job = job.changed(start_time=BEGAN + start, running_since=BEGAN + start)
        times = {"end_time": BEGAN + end, **job.time_until(BEGAN + end)}
        return job.entered("Completed", "Training job completed", BEGAN + end, status="Completed", **times)

    server.jobs.change("training", "job", ended)
    job = sagemaker.describe_training_job(TrainingJobName="job")
    assert (job["TrainingTimeInSeconds"], job["BillableTimeInSeconds"]) == (seconds, seconds)


def test_times_have_milliseconds_and_those_of_metrics_seconds(server: ApiServer) -> None:
    train(server, "job")
    server.jobs.change("training", "job", lambda job: job.changed(creation_time=BEGAN + 0.123456))
    job = call(server, "DescribeTrainingJob", {"TrainingJobName": "job"})[1]
    assert job["CreationTime"] == BEGAN + 0.123
    assert {isinstance(metric["Timestamp"], int) for metric in job["FinalMetricDataList"]} == {True}


# Stop, update, delete


def test_stop_is_refused_at_the_end(server: ApiServer, sagemaker: Any) -> None:
    train(server, "job")
    sagemaker.stop_training_job(TrainingJobName="job")
    sagemaker.stop_training_job(TrainingJobName="job")
    assert sagemaker.describe_training_job(TrainingJobName="job")["SecondaryStatus"] == "Stopping"
    complete(server, "job")
    with pytest.raises(ClientError, match=r"the training job is in status Completed\.$") as error:
        sagemaker.stop_training_job(TrainingJobName="job")
    assert code_of(error) == "ValidationException"


def test_update_changes_profiler_and_warm_pool_and_keeps_the_request(server: ApiServer, sagemaker: Any) -> None:
    train(server, "job")
    sagemaker.update_training_job(
        TrainingJobName="job",
        ProfilerConfig={"ProfilingIntervalInMilliseconds": 1000},
        ResourceConfig={"KeepAlivePeriodInSeconds": 600},
    )
    job = sagemaker.describe_training_job(TrainingJobName="job")
    assert job["ProfilerConfig"] == {
        "S3OutputPath": f"s3://{BUCKET}/profile/",
        "ProfilingIntervalInMilliseconds": 1000,
        "DisableProfiler": False,
    }
    assert job["ResourceConfig"] == TRAINING["ResourceConfig"] | {"KeepAlivePeriodInSeconds": 600}
    assert job["WarmPoolStatus"] == {"Status": "InUse"}
    assert server.jobs.get("training", "job").request == changed(TRAINING, {"TrainingJobName": "job"})
    complete(server, "job")
    with pytest.raises(ClientError, match="in status Completed"):
        sagemaker.update_training_job(TrainingJobName="job", ResourceConfig={"KeepAlivePeriodInSeconds": 0})


def test_delete_forgets_a_job_that_has_ended(server: ApiServer, sagemaker: Any) -> None:
    train(server, "job")
    with pytest.raises(ClientError) as error:
        sagemaker.delete_training_job(TrainingJobName="job")
    assert code_of(error) == "ResourceInUse"
    complete(server, "job")
    sagemaker.delete_training_job(TrainingJobName="job")
    assert sagemaker.list_training_jobs()["TrainingJobSummaries"] == []
    assert server.objects.path(BUCKET, "jobs/job/output/model.tar.gz").is_file()
    train(server, "job")  # the name is free again


# List


def _created(server: ApiServer, name: str, time: float) -> None:
    server.jobs.change("training", name, lambda job: job.changed(creation_time=time))


def test_list_filters_and_sorts(server: ApiServer, sagemaker: Any) -> None:
    for number, name in enumerate(["b-one", "a-two", "c-three"]):
        train(server, name)
        _created(server, name, BEGAN + number)
    complete(server, "a-two")

    def listed(**wanted: Any) -> list[str]:
        return names(sagemaker.list_training_jobs(**wanted)["TrainingJobSummaries"])

    assert listed() == ["b-one", "a-two", "c-three"]
    assert listed(SortOrder="Descending") == ["c-three", "a-two", "b-one"]
    assert listed(SortBy="Name") == ["a-two", "b-one", "c-three"]
    assert listed(SortBy="Status", SortOrder="Ascending")[0] == "a-two"
    assert listed(NameContains="t") == ["a-two", "c-three"]
    assert listed(StatusEquals="Completed") == ["a-two"]
    assert listed(CreationTimeAfter=BEGAN + 0.5, CreationTimeBefore=BEGAN + 1.5) == ["a-two"]
    assert listed(LastModifiedTimeAfter=dt.datetime(2100, 1, 1, tzinfo=dt.UTC)) == []
    assert listed(WarmPoolStatusEquals="Available") == []


def test_pages_tell_each_job_once_whatever_comes_in_between(server: ApiServer, sagemaker: Any) -> None:
    for number in range(7):
        train(server, f"job-{number}")  # all of the same second
    first = sagemaker.list_training_jobs(MaxResults=3)
    assert names(first["TrainingJobSummaries"]) == ["job-0", "job-1", "job-2"]
    train(server, "job-00")  # before the page that has been told
    second = sagemaker.list_training_jobs(MaxResults=3, NextToken=first["NextToken"])
    third = sagemaker.list_training_jobs(MaxResults=3, NextToken=second["NextToken"])
    assert names(second["TrainingJobSummaries"] + third["TrainingJobSummaries"]) == [f"job-{n}" for n in range(3, 7)]
    assert "NextToken" not in third


def test_each_region_has_its_own_jobs(server: ApiServer, sagemaker: Any) -> None:
    train(server, "here")
    there = client(server, "eu-west-1")
    there.create_training_job(**changed(TRAINING, {"TrainingJobName": "there"}))
    assert names(there.list_training_jobs()["TrainingJobSummaries"]) == ["there"]
    assert names(sagemaker.list_training_jobs()["TrainingJobSummaries"]) == ["here"]
    assert ":eu-west-1:" in there.describe_training_job(TrainingJobName="there")["TrainingJobArn"]
    with pytest.raises(ClientError, match="Requested resource not found"):
        there.describe_training_job(TrainingJobName="here")


def test_a_name_is_unique_in_its_region_alone(server: ApiServer) -> None:
    here, there = client(server, "us-east-1"), client(server, "eu-west-1")
    for region in (here, there):
        region.create_training_job(**changed(TRAINING, {"TrainingJobName": "same"}))
        with pytest.raises(ClientError) as error:
            region.create_training_job(**changed(TRAINING, {"TrainingJobName": "same"}))
        assert code_of(error) == "ResourceInUse"
    there.stop_training_job(TrainingJobName="same")
    statuses = [region.describe_training_job(TrainingJobName="same")["TrainingJobStatus"] for region in (here, there)]
    assert statuses == ["InProgress", "Stopping"]
    found = JobRepository(server.jobs.store.folder("training", "same").parents[2])  # what the next server reads
    assert {(job.region, job.status) for job in found.all("training")} == {
        ("us-east-1", "InProgress"),
        ("eu-west-1", "Stopping"),
    }


# Search


@pytest.mark.parametrize(
    ("name", "operator", "value", "expected"),
    [
        ("TrainingJobStatus", "Equals", "Completed", ["good"]),
        ("TrainingJobStatus", "NotEquals", "Completed", ["bad"]),
        ("HyperParameters.epochs", "GreaterThan", "3", ["bad"]),
        ("HyperParameters.epochs", "LessThanOrEqualTo", "3", ["good"]),
        ("HyperParameters.learning_rate", "Equals", "0.00001", ["good", "bad"]),
        ("TrainingJobName", "Contains", "oo", ["good"]),
        ("TrainingJobName", "In", "bad,worse", ["bad"]),
        ("FailureReason", "Exists", None, ["bad"]),
        ("FailureReason", "NotExists", None, ["good"]),
        ("Tags.project", "Equals", "star-rating", ["good", "bad"]),
        ("Metrics.test:accuracy", "GreaterThanOrEqualTo", "0.7", ["good", "bad"]),
        ("InputDataConfig.ChannelName", "Equals", "validation", ["good", "bad"]),
        ("CreationTime", "LessThan", "2026-09-30T00:00:00Z", ["good", "bad"]),
        ("Nothing.at.all", "Equals", "x", []),
    ],
)
def test_search_compares(
    server: ApiServer, sagemaker: Any, name: str, operator: str, value: str | None, expected: list[str]
) -> None:
    train(server, "good")
    complete(server, "good")
    train(server, "bad", {"HyperParameters.epochs": "10"})
    fail(server, "bad", "AlgorithmError: x")
    wanted = {"Name": name, "Operator": operator, **({"Value": value} if value else {})}
    results = sagemaker.search(
        Resource="TrainingJob",
        SearchExpression={"Filters": [wanted]},
        SortBy="TrainingJobName",
        SortOrder="Descending",
    )["Results"]
    assert [result["TrainingJob"]["TrainingJobName"] for result in results] == expected


def test_search_combines(server: ApiServer, sagemaker: Any) -> None:
    for name, epochs in (("one", "1"), ("two", "2"), ("three", "3")):
        train(server, name, {"HyperParameters.epochs": epochs})

    def found(expression: dict[str, Any]) -> set[str]:
        results = sagemaker.search(Resource="TrainingJob", SearchExpression=expression)["Results"]
        return {result["TrainingJob"]["TrainingJobName"] for result in results}

    one = {"Name": "HyperParameters.epochs", "Operator": "Equals", "Value": "1"}
    three = {"Name": "TrainingJobName", "Operator": "Equals", "Value": "three"}
    assert found({"Filters": [one, three]}) == set()
    assert found({"Filters": [one, three], "Operator": "Or"}) == {"one", "three"}
    assert found({"SubExpressions": [{"Filters": [one]}, {"Filters": [three]}], "Operator": "Or"}) == {"one", "three"}
    channel = [
        {"Name": "InputDataConfig.ChannelName", "Operator": "Equals", "Value": "train"},
        {"Name": "InputDataConfig.DataSource.S3DataSource.S3Uri", "Operator": "Contains", "Value": "channels/train"},
    ]
    nested = {"NestedPropertyName": "InputDataConfig", "Filters": channel}
    assert found({"NestedFilters": [nested]}) == {"one", "two", "three"}
    channel[1]["Value"] = "channels/validation"  # of another channel than the first filter's
    assert found({"NestedFilters": [nested]}) == set()


# Experiments


def test_a_job_s_component_is_part_of_its_experiment(server: ApiServer, sagemaker: Any) -> None:
    sagemaker.create_experiment(ExperimentName="reviews")
    sagemaker.create_trial(TrialName="first", ExperimentName="reviews")
    config = {"ExperimentName": "reviews", "TrialName": "first", "TrialComponentDisplayName": "training"}
    train(server, "Job-1", {"ExperimentConfig": config})
    complete(server, "Job-1")
    train(server, "other")
    results = sagemaker.search(
        Resource="ExperimentTrialComponent",
        SearchExpression={"Filters": [{"Name": "Parents.ExperimentName", "Operator": "Equals", "Value": "reviews"}]},
    )["Results"]
    (component,) = [result["TrialComponent"] for result in results]
    assert component["TrialComponentName"] == "Job-1-aws-training-job"
    assert component["DisplayName"] == "training"
    assert component["Parents"] == [{"ExperimentName": "reviews", "TrialName": "first"}]
    assert component["Parameters"]["epochs"] == {"NumberValue": 3.0}
    assert component["InputArtifacts"]["SageMaker.ImageUri"] == {"Value": "distilbert-trainer:local"}
    assert component["OutputArtifacts"]["SageMaker.ModelArtifact"]["Value"].endswith("/model.tar.gz")
    loss = next(metric for metric in component["Metrics"] if metric["MetricName"] == "validation:accuracy")
    values = [0.55 + step / 400 for step in (19, 39, 59)]
    assert (loss["Count"], loss["Min"], loss["Max"], loss["Last"]) == (3, values[0], values[2], values[2])
    assert loss["Avg"] == pytest.approx(sum(values) / 3)
    assert loss["StdDev"] == pytest.approx((2 / 3) ** 0.5 * 0.05)


def test_a_component_is_found_by_name_in_any_case_and_by_its_job(server: ApiServer, sagemaker: Any) -> None:
    train(server, "Job-1")
    by_name = sagemaker.describe_trial_component(TrialComponentName="Job-1-aws-training-job")
    assert by_name["TrialComponentArn"] == f"{ARN}:experiment-trial-component/job-1-aws-training-job"
    assert sagemaker.describe_trial_component(TrialComponentName="job-1-aws-training-job")["CreationTime"]
    listed = sagemaker.list_trial_components(SourceArn=f"{ARN}:training-job/Job-1")["TrialComponentSummaries"]
    assert [row["TrialComponentArn"] for row in listed] == [by_name["TrialComponentArn"]]


def test_a_trial_is_made_for_a_job_that_names_the_experiment_alone(server: ApiServer, sagemaker: Any) -> None:
    sagemaker.create_experiment(ExperimentName="reviews")
    train(server, "job", {"ExperimentConfig": {"ExperimentName": "reviews"}})
    trials = sagemaker.list_trials(ExperimentName="reviews")["TrialSummaries"]
    assert [trial["TrialName"] for trial in trials] == ["job-aws-training-job"]
    assert sagemaker.list_trials(TrialComponentName="job-aws-training-job")["TrialSummaries"] == trials


def test_a_component_of_the_user_s_own(sagemaker: Any) -> None:
    sagemaker.create_experiment(ExperimentName="reviews", Description="all of them", Tags=[{"Key": "a", "Value": "b"}])
    sagemaker.create_trial(TrialName="first", ExperimentName="reviews")
    sagemaker.create_trial_component(TrialComponentName="by-hand", Parameters={"x": {"NumberValue": 1.0}})
    sagemaker.associate_trial_component(TrialName="first", TrialComponentName="by-hand")
    sagemaker.update_trial_component(
        TrialComponentName="by-hand", Parameters={"y": {"StringValue": "z"}}, ParametersToRemove=["x"]
    )
    described = sagemaker.describe_trial_component(TrialComponentName="by-hand")
    assert described["Parameters"] == {"y": {"StringValue": "z"}}
    assert len(sagemaker.list_trial_components(TrialName="first")["TrialComponentSummaries"]) == 1
    for refused, wanted in (
        (sagemaker.delete_experiment, {"ExperimentName": "reviews"}),
        (sagemaker.delete_trial, {"TrialName": "first"}),
        (sagemaker.delete_trial_component, {"TrialComponentName": "by-hand"}),
    ):
        with pytest.raises(ClientError) as error:
            refused(**wanted)
        assert code_of(error) == "ValidationException"
    sagemaker.disassociate_trial_component(TrialName="first", TrialComponentName="by-hand")
    sagemaker.delete_trial_component(TrialComponentName="by-hand")
    sagemaker.delete_trial(TrialName="first")
    sagemaker.delete_experiment(ExperimentName="reviews")
    assert sagemaker.list_experiments()["ExperimentSummaries"] == []


def test_a_name_that_is_taken_is_said_to_exist_already(sagemaker: Any) -> None:
    # AWS's SDK loads an experiment that it cannot create, if these words are there.
    sagemaker.create_experiment(ExperimentName="reviews")
    with pytest.raises(ClientError, match="already exists") as error:
        sagemaker.create_experiment(ExperimentName="reviews")
    assert code_of(error) == "ValidationException"


def test_experiments_and_tags_outlive_the_server(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        client(server).create_experiment(ExperimentName="reviews")
        train(server, "job")
        client(server).add_tags(ResourceArn=f"{ARN}:training-job/job", Tags=[{"Key": "owner", "Value": "me"}])
    with serving(tmp_path) as server:
        assert client(server).describe_experiment(ExperimentName="reviews")["CreationTime"]
        tags = client(server).list_tags(ResourceArn=f"{ARN}:training-job/job")["Tags"]
        assert {"Key": "owner", "Value": "me"} in tags


# Lineage


def test_lineage_leads_from_the_data_through_the_job_to_the_model(server: ApiServer, sagemaker: Any) -> None:
    train(server, "job")
    complete(server, "job")
    arn = sagemaker.describe_trial_component(TrialComponentName="job-aws-training-job")["TrialComponentArn"]

    def uris(end: str, **wanted: str) -> dict[str, str]:
        links = sagemaker.list_associations(**wanted)["AssociationSummaries"]
        return {
            sagemaker.describe_artifact(ArtifactArn=link[f"{end}Arn"])["Source"]["SourceUri"]: link["AssociationType"]
            for link in links
        }

    assert uris("Source", DestinationArn=arn) == {
        f"s3://{BUCKET}/channels/train/": "ContributedTo",
        f"s3://{BUCKET}/channels/validation/": "ContributedTo",
        "distilbert-trainer:local": "ContributedTo",
    }
    assert uris("Destination", SourceArn=arn) == {f"s3://{BUCKET}/jobs/job/output/model.tar.gz": "Produced"}
    (model,) = sagemaker.list_artifacts(ArtifactType="Model")["ArtifactSummaries"]
    lineage = sagemaker.query_lineage(StartArns=[model["ArtifactArn"]], Direction="Ascendants")
    kinds = sorted(vertex["Type"] for vertex in lineage["Vertices"])
    assert kinds == ["DataSet", "DataSet", "Image", "SageMakerTrainingJob"]
    assert len(lineage["Edges"]) == 4
    near = sagemaker.query_lineage(StartArns=[model["ArtifactArn"]], Direction="Ascendants", MaxDepth=1)
    assert [vertex["Type"] for vertex in near["Vertices"]] == ["SageMakerTrainingJob"]
    assert sagemaker.query_lineage(StartArns=[model["ArtifactArn"]], Direction="Descendants")["Vertices"] == []


# Tags


def test_tags_are_those_of_the_request_until_they_are_changed(server: ApiServer, sagemaker: Any) -> None:
    train(server, "job")
    arn = f"{ARN}:training-job/job"
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == TRAINING["Tags"]
    sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "project", "Value": "x"}, {"Key": "team", "Value": "y"}])
    sagemaker.delete_tags(ResourceArn=arn, TagKeys=["project"])
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "y"}]
    assert server.jobs.get("training", "job").request["Tags"] == TRAINING["Tags"]


# Processing jobs


def test_a_processing_job_is_described_listed_and_stopped(server: ApiServer, sagemaker: Any) -> None:
    sagemaker.create_processing_job(**PROCESSING)
    job = sagemaker.describe_processing_job(ProcessingJobName="prepare-1")
    assert job["ProcessingJobStatus"] == "InProgress"
    assert job["ProcessingInputs"][0]["S3Input"]["S3DataDistributionType"] == "FullyReplicated"
    listed = sagemaker.list_processing_jobs(NameContains="prepare")["ProcessingJobSummaries"]
    assert [row["ProcessingJobName"] for row in listed] == ["prepare-1"]
    sagemaker.stop_processing_job(ProcessingJobName="prepare-1")
    assert server.jobs.get("processing", "prepare-1").stop_requested
    component = sagemaker.describe_trial_component(TrialComponentName="prepare-1-aws-processing-job")
    assert component["InputArtifacts"]["reviews"] == {"Value": f"s3://{BUCKET}/reviews/"}
