"""Wrong calls of any operation, names that are used twice, and what is passed over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.local_server import PROCESSING, TRAINING, ApiServer, call, serving
from tests.helpers.wrong_requests import SERIALIZATION, VALIDATION, at, missing, refused

WRONG_CALLS: dict[str, tuple[str, object, str, str]] = {
    "describe what is not there": (
        "DescribeTrainingJob",
        {"TrainingJobName": "nothing"},
        VALIDATION,
        "Requested resource not found.",
    ),
    "stop what is not there": (
        "StopTrainingJob",
        {"TrainingJobName": "nothing"},
        VALIDATION,
        "Requested resource not found.",
    ),
    "delete what is not there": (
        "DeleteTrainingJob",
        {"TrainingJobName": "nothing"},
        "ResourceNotFound",
        "training-job/nothing does not exist.",
    ),
    "describe another thing's name": (
        "DescribeTrainingJob",
        {"TrainingJobName": "../x"},
        VALIDATION,
        "expression pattern",
    ),
    "a Processing job that is not there": (
        "DescribeProcessingJob",
        {"ProcessingJobName": "nothing"},
        VALIDATION,
        "Requested resource not found.",
    ),
    "101 results": (
        "ListTrainingJobs",
        {"MaxResults": 101},
        VALIDATION,
        at("maxResults", "'101'", "Member must have value less than or equal to 100"),
    ),
    "a status that is none": (
        "ListTrainingJobs",
        {"StatusEquals": "Done"},
        VALIDATION,
        at(
            "statusEquals",
            "'Done'",
            "Member must satisfy enum value set: [InProgress, Completed, Failed, Stopping, Stopped",
        ),
    ),
    "an order that is none": (
        "ListTrainingJobs",
        {"SortOrder": "Up"},
        VALIDATION,
        "value set: [Ascending, Descending]",
    ),
    "a token from elsewhere": ("ListTrainingJobs", {"NextToken": "bm90aGluZw=="}, VALIDATION, "Invalid NextToken"),
    "a time as text": (
        "ListTrainingJobs",
        {"CreationTimeAfter": "today"},
        SERIALIZATION,
        "STRING_VALUE can not be converted to a Timestamp",
    ),
    "search nothing": ("Search", {}, VALIDATION, missing("resource")),
    "search for an animal": ("Search", {"Resource": "Horse"}, VALIDATION, "at 'resource' failed to satisfy constraint"),
    "search what is not here": ("Search", {"Resource": "Pipeline"}, VALIDATION, "Resource Pipeline is not available"),
    "a filter without a value": (
        "Search",
        {"Resource": "TrainingJob", "SearchExpression": {"Filters": [{"Name": "x", "Operator": "Equals"}]}},
        VALIDATION,
        "Value must be specified for the filter x with operator Equals",
    ),
    "an operator that is none": (
        "Search",
        {"Resource": "TrainingJob", "SearchExpression": {"Filters": [{"Name": "x", "Operator": "Like", "Value": "y"}]}},
        VALIDATION,
        "at 'searchExpression.filters.1.member.operator' failed to satisfy constraint: Member must satisfy enum value",
    ),
    "tags of nothing": (
        "ListTags",
        {"ResourceArn": "arn:aws:sagemaker:us-east-1:123456789012:training-job/nothing"},
        VALIDATION,
        "Requested resource not found.",
    ),
    "a trial of nothing": (
        "CreateTrial",
        {"TrialName": "t", "ExperimentName": "nothing"},
        "ResourceNotFound",
        "Experiment 'arn:aws:sagemaker:us-east-1:123456789012:experiment/nothing' does not exist.",
    ),
    "an artifact that is not there": (
        "DescribeArtifact",
        {"ArtifactArn": f"arn:aws:sagemaker:us-east-1:123456789012:artifact/{'0' * 32}"},
        "ResourceNotFound",
        "does not exist.",
    ),
    "an operation that is not here": (
        "UpdateEndpoint",
        {"EndpointName": "e", "EndpointConfigName": "c"},
        "UnknownOperationException",
        "UpdateEndpoint is not available: the local SageMaker has",
    ),
    "an operation that is nowhere": ("MakeCoffee", {}, "UnknownOperationException", "no operation 'MakeCoffee'"),
    "no JSON": ("CreateTrainingJob", b"{", SERIALIZATION, "Unable to parse the body"),
    "a list": ("CreateTrainingJob", [], SERIALIZATION, "Unexpected value type in payload"),
    "a tower of brackets": ("CreateTrainingJob", b"[" * 100_000, SERIALIZATION, "Unable to parse the body"),
    "more than a request may have": (
        "CreateTrainingJob",
        b" " * ((4 << 20) + 1),
        "RequestEntityTooLargeException",
        "A request may have 4194304 bytes",
    ),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with serving(tmp_path_factory.mktemp("state")) as local:
        yield local


@pytest.mark.parametrize("name", WRONG_CALLS)
def test_a_wrong_call_is_refused_as_sagemaker_does(server: ApiServer, name: str) -> None:
    operation, request, code, constraint = WRONG_CALLS[name]
    got, message = refused(server, operation, request)
    assert (got, constraint in message) == (code, True), message


def test_what_the_tables_of_wrong_jobs_change_is_right_as_it_is(tmp_path: Path) -> None:
    with serving(tmp_path) as local:
        assert call(local, "CreateTrainingJob", TRAINING)[0] == 200
        assert call(local, "CreateProcessingJob", PROCESSING)[0] == 200


def test_a_name_is_used_once(tmp_path: Path) -> None:
    with serving(tmp_path) as local:
        call(local, "CreateTrainingJob", TRAINING)
        call(local, "CreateProcessingJob", PROCESSING)
        assert refused(local, "CreateTrainingJob", TRAINING) == (
            "ResourceInUse",
            (
                "Training job names must be unique within an AWS account and region, and a training job with this name "
                "already exists (arn:aws:sagemaker:us-east-1:123456789012:training-job/star-rating-1)"
            ),
        )
        assert refused(local, "CreateProcessingJob", PROCESSING) == (
            "ResourceInUse",
            (
                "Job name must be unique within an AWS account and region, and a job with this name already exists "
                "(arn:aws:sagemaker:us-east-1:123456789012:processing-job/prepare-1)"
            ),
        )


def test_null_is_as_good_as_absent_and_unknown_fields_are_passed_over(tmp_path: Path) -> None:
    with serving(tmp_path) as local:
        request = TRAINING | {"VpcConfig": None, "FieldOfTomorrow": {"a": 1}}
        assert call(local, "CreateTrainingJob", request)[0] == 200
        described = call(local, "DescribeTrainingJob", {"TrainingJobName": "star-rating-1"})[1]
        assert "VpcConfig" not in described
        assert "FieldOfTomorrow" not in local.jobs.get("training", "star-rating-1").request
