"""`launcher setup`: a stack in CloudFormation, and its outputs in the job file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from launcher.aws.session import Session
from launcher.aws.stack import deploy
from launcher.cli.main import main
from launcher.cli.setup import with_values
from launcher.errors import AwsError, JobFileError
from tests.helpers.job_files import REPOSITORY
from tests.helpers.sagemaker_stand_in import StandIn

JOB = (REPOSITORY / "job.toml").read_text()
LOG_GROUP = """
Parameters: {Name: {Type: String, Default: one}, Days: {Type: Number, Default: 7}}
Resources:
  Log: {Type: "AWS::Logs::LogGroup", Properties: {LogGroupName: !Ref Name, RetentionInDays: !Ref Days}}
Outputs: {Log: {Value: !Ref Log}, Days: {Value: !Ref Days}}
"""
VALUES = {"region": "eu-west-1", "account": "1", "role": "r", "training_image": "i:v2", "bucket": "b"}


@pytest.fixture
def said() -> list[str]:
    return []


def deployed(name: str, parameters: dict[str, str], said: list[str], template: str = LOG_GROUP) -> dict[str, str]:
    return deploy(name, template, parameters, Session(), say=said.append, poll_seconds=0.01)


@pytest.mark.filterwarnings("ignore:Tried to parse AWS..S3..BucketPolicy:UserWarning")  # which moto does not know
def test_a_job_file_gets_what_the_stack_made(aws: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "job.toml"
    path.write_text(JOB)
    command = ["setup", "--stack", "made", "--file", str(path), "--parameter", "RepositoryName=made/trainer"]
    parameters = ["--parameter", "BucketName=made-bucket", "--parameter", "MakeLogGroups=false"]
    assert main([*command, *parameters, "--region", "us-east-1"]) == 0
    role = next(
        one["Arn"] for one in aws.client("iam").list_roles()["Roles"] if "made-ExecutionRole" in one["RoleName"]
    )
    expected = {
        "region": "us-east-1",
        "account": "123456789012",
        "role": role,
        "training_image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/made/trainer:v1",
        "bucket": "made-bucket",
    }
    assert tomllib.loads(path.read_text()) == tomllib.loads(JOB) | expected
    assert path.read_text().count("#") == JOB.count("#")
    assert "CREATE_COMPLETE  made (AWS::CloudFormation::Stack)" in capsys.readouterr().err
    assert [entry.name for entry in tmp_path.iterdir() if entry.is_file()] == ["job.toml"]
    assert main(["train", "--dry-run", "--file", str(path)]) == 0


def test_the_template_is_printed_and_nobody_is_asked(aws: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["setup", "--print"]) == 0
    assert capsys.readouterr().out == (REPOSITORY / "infrastructure" / "template.yaml").read_text()
    assert aws.calls == []


@pytest.mark.parametrize(
    ("options", "content"),
    [
        (["--parameter", "RepositoryName"], JOB),
        (["--parameter", "=value"], JOB),
        ([], None),
        ([], b"\xff"),
    ],
    ids=["a parameter without a value", "one without a name", "no job file", "no text"],
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    aws: StandIn, tmp_path: Path, options: list[str], content: str | bytes | None
) -> None:
    path = tmp_path / "job.toml"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert main(["setup", "--file", str(path), *options]) == 2
    assert aws.calls == []


def test_a_stack_is_created_and_updated(aws: StandIn, said: list[str]) -> None:
    assert deployed("changes", {"Name": "first"}, said) == {"Log": "first", "Days": "7"}
    assert said == ["CREATE_COMPLETE  changes (AWS::CloudFormation::Stack)"]
    # What is not named keeps the stack's value, rather than the template's default.
    assert deployed("changes", {"Days": "14"}, said)["Days"] == "14"
    (stack,) = aws.client("cloudformation").describe_stacks(StackName="changes")["Stacks"]
    parameters = {one["ParameterKey"]: one["ParameterValue"] for one in stack["Parameters"]}
    assert parameters == {"Name": "first", "Days": "14"}


class Scripted(Session):
    """A CloudFormation whose stack goes through statuses, an event each: moto's fails at once, and has no events."""

    def __init__(self, *events: tuple[str, str, str, str]) -> None:
        super().__init__()
        self._events, self._at = events, 0

    def client(self, service: str, *, seconds: float | None = None) -> Any:  # noqa: ARG002 - its signature
        return self

    def create_stack(self, **_: Any) -> None:
        self._at = 1

    def describe_stacks(self, **_: Any) -> dict[str, Any]:
        stack = {"StackStatus": self._events[self._at - 1][3], "StackStatusReason": "of the stack"}
        self._at = min(self._at + 1, len(self._events)) if self._at else 0
        return {"Stacks": [stack] if self._at else []}

    def get_paginator(self, _: str) -> Any:
        return self

    def paginate(self, **_: Any) -> list[dict[str, Any]]:
        names = ("LogicalResourceId", "ResourceStatus", "ResourceStatusReason")
        events = [dict(zip(names, event[:3], strict=True)) for event in self._events[: self._at]]
        events = [event | {"EventId": str(n), "ResourceType": "AWS::T"} for n, event in enumerate(events)]
        return [{"StackEvents": events[::-1]}]


def test_a_resource_that_fails_is_named_with_its_reason(said: list[str]) -> None:
    session = Scripted(
        ("Bucket", "CREATE_IN_PROGRESS", "", "CREATE_IN_PROGRESS"),
        ("Bucket", "CREATE_FAILED", "mine already exists", "CREATE_IN_PROGRESS"),
        ("Role", "CREATE_FAILED", "Resource creation cancelled", "ROLLBACK_IN_PROGRESS"),
        ("Role", "DELETE_COMPLETE", "", "ROLLBACK_COMPLETE"),
    )
    with pytest.raises(AwsError, match=r"ROLLBACK_COMPLETE: Bucket \(AWS::T\): mine already exists; Role"):
        deploy("fails", LOG_GROUP, {}, session, say=said.append, poll_seconds=0)
    assert [line.split()[:2] for line in said] == [
        ["CREATE_FAILED", "Bucket"],
        ["CREATE_FAILED", "Role"],
        ["DELETE_COMPLETE", "Role"],
    ]


@pytest.mark.parametrize("status", ["CREATE_IN_PROGRESS", "ROLLBACK_COMPLETE", "DELETE_FAILED"])
def test_a_stack_in_the_way_is_named_with_what_to_do(status: str, said: list[str]) -> None:
    session = Scripted(("Stack", status, "", status))
    session.create_stack()
    with pytest.raises(AwsError, match=r"wait for that|delete it first: aws cloudformation delete-stack"):
        deploy("stuck", LOG_GROUP, {}, session, say=said.append)


@pytest.mark.parametrize(
    "text",
    [
        JOB,
        "",
        "[compute]\na = 1\n",
        "role = 'literal'\n[a]\nrole = 'kept'\n",
        'a = "#" # [b]\n[b]\n',
        JOB.replace("\n", "\r\n"),
    ],
    ids=["ours", "empty", "tables only", "a table's own key", "signs in strings", "Windows"],
)
def test_values_change_and_nothing_else(text: str) -> None:
    changed = with_values(text, VALUES, "job.toml")
    assert tomllib.loads(changed) == tomllib.loads(text) | VALUES


@pytest.mark.parametrize(
    "text", ["region = [", 'region = """\nlong"""\n', "region.name = 1\n", 'x = """\nregion = "a"\n"""\n']
)
def test_a_file_that_cannot_be_changed_is_left_alone(text: str) -> None:
    with pytest.raises(JobFileError, match=r"job\.toml"):
        with_values(text, VALUES, "job.toml")
