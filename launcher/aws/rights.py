"""What a job's role, and whoever submits the job, have to be allowed; and IAM's simulator asked about each of it.

    for right in role_rights(request, region): denied = simulate(role, right, session)

The simulator is asked for the real ARNs, with the conditions' values that AWS sends along: on `*`, or without them, it
denies what the policies of infrastructure/template.yaml allow. It knows the principal's own policies, boundaries and
organization policies; a policy of a bucket, repository or key is not looked at.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from launcher.aws.errors import translating_aws_errors
from launcher.aws.session import Session
from launcher.checks.image import ECR

Request = Mapping[str, Any]

LOG_GROUP = "/aws/sagemaker/TrainingJobs"

_ALSO_WRITTEN = {
    "Debugger's tensors": "DebugHookConfig",
    "TensorBoard": "TensorBoardOutputConfig",
    "profiler": "ProfilerConfig",
}


@dataclass(frozen=True)
class Right:
    """Actions on one resource that a part of the job needs."""

    purpose: str
    actions: tuple[str, ...]
    resource: str
    """As simulated: of objects that do not exist yet, a name that they could have."""
    granted: str = ""
    """As a policy would have it: with patterns; by default the resource."""
    context: Mapping[str, str] = field(default_factory=dict)

    def statement(self, actions: Iterable[str]) -> str:
        """Return the policy statement that allows some of the actions, as JSON in one line."""
        statement: dict[str, Any] = {
            "Effect": "Allow",
            "Action": list(actions),
            "Resource": self.granted or self.resource,
        }
        if self.context:
            statement["Condition"] = {
                "Bool" if value in ("true", "false") else "StringLike" if "*" in value else "StringEquals": {key: value}
                for key, value in self.context.items()
            }
        return json.dumps(statement)


@dataclass(frozen=True)
class Outcome:
    """What the simulator says of a right."""

    denied: tuple[str, ...] = ()
    explicitly: bool = False
    """A statement denies it: one that allows it would not help."""
    depends_on: tuple[str, ...] = ()
    """Keys of conditions whose values only the real request has."""


def role_rights(request: Request, region: str) -> Iterator[Right]:
    """Yield what SageMaker does with the role of a training job: "Execution Role Permissions" in its guide."""
    _, partition, _, _, account, _ = str(request["RoleArn"]).split(":", 5)
    yield from _storage_rights(request, partition)
    yield from _image_rights(request["AlgorithmSpecification"].get("TrainingImage", ""), partition)
    group = f"arn:{partition}:logs:{region}:{account}:log-group:{LOG_GROUP}"
    actions = ("logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents")
    yield Right("log", actions, f"{group}:log-stream:{request['TrainingJobName']}/algo-1", f"{group}:*")
    namespace = {"cloudwatch:namespace": LOG_GROUP}
    yield Right("metrics", ("cloudwatch:PutMetricData",), "*", context=namespace)  # AWS knows no resource for it
    output_key = _key_arn(request["OutputDataConfig"].get("KmsKeyId"), partition, region, account)
    volume_key = _key_arn(request["ResourceConfig"].get("VolumeKmsKeyId"), partition, region, account)
    if output_key:
        yield Right("output's key", ("kms:Decrypt", "kms:GenerateDataKey"), output_key)
    if volume_key:
        yield Right("volumes' key", ("kms:CreateGrant",), volume_key, context={"kms:GrantIsForAWSResource": "true"})
    for subnet in request.get("VpcConfig", {}).get("Subnets", ()):
        arn = f"arn:{partition}:ec2:{region}:{account}:subnet/{subnet}"
        yield Right(f"subnet {subnet}", ("ec2:CreateNetworkInterface",), arn)
    if "VpcConfig" in request:
        described = ("DhcpOptions", "NetworkInterfaces", "SecurityGroups", "Subnets", "Vpcs")
        yield Right("VPC", tuple(f"ec2:Describe{what}" for what in described), "*")  # nor for these


def _storage_rights(request: Request, partition: str) -> Iterator[Right]:
    for channel in request.get("InputDataConfig", ()):
        purpose, source = f"channel {channel['ChannelName']}", channel["DataSource"].get("S3DataSource")
        if source and source["S3DataType"] == "S3Prefix":
            yield from _reading(purpose, source["S3Uri"], partition)
        elif source:
            bucket, key = _split(source["S3Uri"], partition)
            yield Right(purpose, ("s3:GetObject",), f"{bucket}/{key}")
    output = request["OutputDataConfig"]["S3OutputPath"].rstrip("/")
    yield _writing("output", f"{output}/{request['TrainingJobName']}/", partition, granted_below=f"{output}/")
    checkpoints = request.get("CheckpointConfig")
    if checkpoints:
        yield from _reading("checkpoints", checkpoints["S3Uri"], partition)
        yield _writing("checkpoints", checkpoints["S3Uri"], partition)
    for purpose, section in _ALSO_WRITTEN.items():
        path = request.get(section, {}).get("S3OutputPath")
        if path:
            yield _writing(purpose, path, partition)


def _image_rights(name: str, partition: str) -> Iterator[Right]:
    image = ECR.fullmatch(name)
    if image:
        region = image["region"] or image["dual_region"]
        repository = f"arn:{partition}:ecr:{region}:{image['account']}:repository/{image['repository']}"
        actions = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
        yield Right("image", actions, repository)
        yield Right("image", ("ecr:GetAuthorizationToken",), "*")  # AWS knows no resource for it


def caller_rights(request: Request, region: str) -> Iterator[Right]:
    """Yield what `launcher train` and `attach` ask of AWS for this job that `check` itself does not ask for."""
    _, partition, _, _, account, _ = str(request["RoleArn"]).split(":", 5)
    jobs = f"arn:{partition}:sagemaker:{region}:{account}:training-job/"
    actions = ["sagemaker:CreateTrainingJob", "sagemaker:DescribeTrainingJob", "sagemaker:StopTrainingJob"]
    if request.get("Tags"):
        actions.insert(0, "sagemaker:AddTags")
    yield Right("submit", tuple(actions), f"{jobs}{request['TrainingJobName']}", f"{jobs}*")
    group = f"arn:{partition}:logs:{region}:{account}:log-group:{LOG_GROUP}"
    name = f"{group}:log-stream:{request['TrainingJobName']}/algo-1"
    yield Right("follow the log", ("logs:DescribeLogStreams", "logs:GetLogEvents"), name, f"{group}:*")


def pass_role(role: str) -> Right:
    """Return the right to hand the job's role to SageMaker; policies have the condition, so the question has too."""
    return Right("pass the role", ("iam:PassRole",), role, context={"iam:PassedToService": "sagemaker.amazonaws.com"})


def simulate(principal: str, right: Right, session: Session) -> Outcome:
    """Ask IAM's simulator whether a user or role has a right; raise AwsError if it does not answer."""
    context = [
        {"ContextKeyName": key, "ContextKeyValues": [value], "ContextKeyType": _type_of(value)}
        for key, value in right.context.items()
    ]
    with translating_aws_errors(f"simulate {', '.join(right.actions)} on {right.resource} for {principal}"):
        answer = session.client("iam").simulate_principal_policy(
            PolicySourceArn=principal,
            ActionNames=list(right.actions),
            ResourceArns=[right.resource],
            ContextEntries=context,
        )
    refused = [result for result in answer["EvaluationResults"] if result["EvalDecision"] != "allowed"]
    parts = [part for result in refused for part in (result, *result.get("ResourceSpecificResults", ()))]
    return Outcome(
        tuple(result["EvalActionName"] for result in refused),
        any(result["EvalDecision"] == "explicitDeny" for result in refused),
        tuple(sorted({key for part in parts for key in part.get("MissingContextValues", ())})),
    )


def _type_of(value: str) -> str:
    return "boolean" if value in ("true", "false") else "string"


def _reading(purpose: str, uri: str, partition: str) -> Iterator[Right]:
    bucket, prefix = _split(uri, partition)
    yield Right(purpose, ("s3:ListBucket",), bucket, context={"s3:prefix": prefix} if prefix else {})
    yield Right(purpose, ("s3:GetObject",), _key_below(bucket, prefix), f"{bucket}/{prefix}*")


def _writing(purpose: str, uri: str, partition: str, granted_below: str = "") -> Right:
    bucket, prefix = _split(uri, partition)
    _, granted = _split(granted_below or uri, partition)
    return Right(purpose, ("s3:PutObject",), _key_below(bucket, prefix), f"{bucket}/{granted}*")


def _split(uri: str, partition: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return f"arn:{partition}:s3:::{bucket}", key


def _key_below(bucket: str, prefix: str) -> str:
    return f"{bucket}/{prefix.rstrip('/')}/part-0" if prefix else f"{bucket}/part-0"


def _key_arn(name: str | None, partition: str, region: str, account: str) -> str:
    """Return a key's ARN; "" for none, and for an alias: rights are on keys."""
    if not name or "alias/" in name:
        return ""
    return name if name.startswith("arn:") else f"arn:{partition}:kms:{region}:{account}:key/{name}"
