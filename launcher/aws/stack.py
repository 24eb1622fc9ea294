"""A CloudFormation stack, made or changed, and what came of it.

stack = deploy("star-rating", template, {"LogRetentionDays": "30"}, session, say=print)
stack["Role"]                          # the template's outputs by their names
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError

from launcher.aws.errors import translating_aws_errors
from launcher.aws.session import Client, Session
from launcher.errors import AwsError

POLL_SECONDS = 3.0
"""Between two looks; a stack takes a minute or two."""

_CAPABILITIES = ["CAPABILITY_IAM"]


def deploy(
    name: str,
    template: str,
    parameters: Mapping[str, str],
    session: Session,
    *,
    say: Callable[[str], None],
    poll_seconds: float = POLL_SECONDS,
) -> dict[str, str]:
    """Create or update a stack, wait for it, and return its outputs; `say` gets a line per finished resource.

    A parameter that is not named keeps the stack's value, or has the template's default. AwsError names the resources
    that failed, with CloudFormation's reasons; CloudFormation itself takes back what it had made.
    """
    cloudformation = session.client("cloudformation")
    known = _describe(cloudformation, name)
    if known and known["StackStatus"].endswith("_IN_PROGRESS"):
        raise AwsError(f"stack {name} is being changed ({known['StackStatus']}); wait for that to end")
    if known and known["StackStatus"] in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED"):
        hint = f"aws cloudformation delete-stack --stack-name {name}"
        raise AwsError(f"stack {name} was never completed ({known['StackStatus']}); delete it first: {hint}")
    kept = {parameter["ParameterKey"] for parameter in known.get("Parameters", [])} - set(parameters)
    values: list[dict[str, Any]] = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]
    values += [{"ParameterKey": key, "UsePreviousValue": True} for key in sorted(kept)]
    request = {"StackName": name, "TemplateBody": template, "Parameters": values, "Capabilities": _CAPABILITIES}
    said = {event["EventId"] for event in _events(cloudformation, name)} if known else set[str]()
    with translating_aws_errors(f"{'update' if known else 'create'} stack {name}"):
        try:
            (cloudformation.update_stack if known else cloudformation.create_stack)(**request)
        except ClientError as error:
            if "No updates are to be performed" not in str(error):
                raise
            say(f"stack {name} is as the template has it already")
    return _outputs(_wait(cloudformation, name, said, say, poll_seconds))


def _wait(
    cloudformation: Client, name: str, said: set[str], say: Callable[[str], None], poll_seconds: float
) -> dict[str, Any]:
    failures: list[str] = []
    while True:
        stack = _describe(cloudformation, name)
        for event in _events(cloudformation, name):
            if event["EventId"] in said or event["ResourceStatus"].endswith("_IN_PROGRESS"):
                continue
            said.add(event["EventId"])
            what = f"{event['LogicalResourceId']} ({event['ResourceType']})"
            say(f"{event['ResourceStatus']:16} {what}")
            if event["ResourceStatus"].endswith("_FAILED"):
                failures.append(f"{what}: {event.get('ResourceStatusReason', 'no reason given')}")
        status = stack.get("StackStatus", "DELETE_COMPLETE")
        if status in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            return stack
        if not status.endswith("_IN_PROGRESS"):
            reason = "; ".join(failures) or stack.get("StackStatusReason", "no reason given")
            raise AwsError(f"stack {name} ended as {status}: {reason}")
        time.sleep(poll_seconds)


def _describe(cloudformation: Client, name: str) -> dict[str, Any]:
    """Return the stack as it is; nothing if there is none."""
    with translating_aws_errors(f"read stack {name}"):
        try:
            stacks: list[dict[str, Any]] = cloudformation.describe_stacks(StackName=name)["Stacks"]
        except ClientError as error:
            if "does not exist" in str(error):
                return {}
            raise
    return stacks[0] if stacks else {}


def _events(cloudformation: Client, name: str) -> list[dict[str, Any]]:
    """Return what happened to the stack's resources, oldest first."""
    with translating_aws_errors(f"read the events of stack {name}"):
        pages = cloudformation.get_paginator("describe_stack_events").paginate(StackName=name)
        return [event for page in pages for event in page["StackEvents"]][::-1]


def _outputs(stack: Mapping[str, Any]) -> dict[str, str]:
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
