"""infrastructure/template.yaml gives the launcher's role what its commands ask of AWS, and nothing that none needs.

The template is deployed into moto's CloudFormation; every command then runs against AWS's stand-in while its calls are
recorded. Each recorded call has to be allowed by the role that the stack made, and each statement has to allow a call
that without it would be denied. IAM's logic is tests/helpers/iam.py: moto's own knows no conditions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.client import BaseClient
from cfnlint.decode import decode

import launcher
from launcher.aws.preflight import _rights as right_rows
from launcher.aws.rights import Right, role_rights
from launcher.aws.session import Session
from launcher.cli.main import main
from tests.helpers.iam import Call, Document, allows, listed, statements, without
from tests.helpers.job_files import REPOSITORY, write
from tests.helpers.sagemaker_stand_in import StandIn

ACCOUNT, REGION, PREFIX = "123456789012", "us-east-1", "star-rating"
ARN = f"{REGION}:{ACCOUNT}"
TEMPLATE = REPOSITORY / "infrastructure" / "template.yaml"

COMMANDS = [
    *(["check"], ["process", "--job-name", "prepares"], ["train", "--job-name", "trains"]),
    *(["attach", "trains"], ["diff", "trains", "trains"], ["experiment", "trains"]),
    *(["lineage", "trains"], ["list"], ["logs", "trains"], ["metrics", "trains", "--series"], ["rules", "trains"]),
    *(["status", "trains"], ["stop", "trains"], ["download", "trains"]),
    *(
        ["deploy", "trains", "--instance-type", "ml.c5.xlarge"],
        ["predict", "trains", "It broke."],
        ["delete-endpoint", "trains"],
    ),
    ["transform", "trains", "s3://reviews/in/", "s3://reviews/out/", "--job-name", "transforms"],
    *(["tune", "--job-name", "tunes"], ["tune", "status", "tunes"], ["tune", "stop", "tunes"]),
]

NOT_THE_LAUNCHERS = {
    "UploadReviews": Call("s3:PutObject", f"arn:aws:s3:::distilbert-trainer-{ACCOUNT}-{REGION}/{PREFIX}/reviews/a.tsv"),
    "RunJobs": Call("sagemaker:StopProcessingJob", f"arn:aws:sagemaker:{ARN}:processing-job/prepares"),
}
"""What a user does beside the commands: `aws s3 cp reviews.tsv ...`; and Ctrl-C while `launcher process` waits."""


@pytest.fixture(scope="module")
def stack(_stand_in: StandIn) -> dict[str, str]:
    """Deploy the template once and return its outputs."""
    aws = _stand_in
    key = aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    cloudformation = aws.client("cloudformation")
    # Other tests' jobs have made the log groups.
    parameters = {"KmsKeyArn": key, "GitHubRepository": "owner/name", "MakeLogGroups": "false"}
    parameters |= {"ProductionRepositoryName": "production/trainer"}
    with pytest.warns(UserWarning, match="AWS::S3::BucketPolicy"):  # the one type that moto does not know
        cloudformation.create_stack(
            StackName="trainer",
            TemplateBody=TEMPLATE.read_text(),
            Capabilities=["CAPABILITY_IAM"],
            Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
        )
    (stack,) = cloudformation.describe_stacks(StackName="trainer")["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]} | {"Key": key}


def policies(aws: StandIn, role_arn: str) -> list[Document]:
    iam, role = aws.client("iam"), role_arn.rpartition("/")[2]
    names = iam.list_role_policies(RoleName=role)["PolicyNames"]
    return [iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names]


def calls_of(service: str, operation: str, parameters: dict[str, Any]) -> Iterator[Call]:
    """Yield what IAM is asked for an operation: the service authorization reference's actions and resources."""
    if service in ("sagemaker", "sagemaker-runtime"):
        yield from _sagemaker(operation, parameters)
    elif service == "s3":
        bucket = f"arn:aws:s3:::{parameters['Bucket']}"
        if operation in ("ListObjectsV2", "HeadBucket"):
            yield Call("s3:ListBucket", bucket, {"s3:prefix": parameters.get("Prefix", "")})
        elif operation == "DeleteObjects":
            yield from (Call("s3:DeleteObject", f"{bucket}/{one['Key']}") for one in parameters["Delete"]["Objects"])
        else:
            yield Call(f"s3:{operation.replace('HeadObject', 'GetObject')}", f"{bucket}/{parameters['Key']}")
    elif service == "ecr":
        yield Call(f"ecr:{operation}", f"arn:aws:ecr:{ARN}:repository/{parameters['repositoryName']}")
    elif service == "logs":
        yield Call(f"logs:{operation}", f"arn:aws:logs:{ARN}:log-group:{parameters['logGroupName']}:*")
    elif service == "iam":
        # Who asks is moto's own user here, and the launcher's role where it is used.
        asked = parameters.get("RoleName") or parameters["PolicySourceArn"].partition(":role/")[2]
        role = asked or "trainer-LauncherRole-1"
        yield Call(f"iam:{operation}", f"arn:aws:iam::{ACCOUNT}:role/{role}")
    elif service == "kms":
        yield Call(f"kms:{operation}", parameters["KeyId"])
    elif service != "sts":  # GetCallerIdentity needs no right
        yield Call(f"{service.replace('service-quotas', 'servicequotas')}:{operation}")


def _sagemaker(operation: str, parameters: dict[str, Any]) -> Iterator[Call]:
    kinds = {"TrainingJobName": "training-job", "ProcessingJobName": "processing-job", "ArtifactArn": ""}
    kinds |= {"TrialComponentName": "experiment-trial-component"}
    kinds |= {"HyperParameterTuningJobName": "hyper-parameter-tuning-job"}
    kinds |= {"EndpointName": "endpoint", "EndpointConfigName": "endpoint-config", "ModelName": "model"}
    kinds = {"TransformJobName": "transform-job"} | kinds  # its request has a ModelName, too
    name = next((name for name in kinds if name in parameters), None)
    resource = f"arn:aws:sagemaker:{ARN}:{kinds[name]}/{parameters[name]}" if name else "*"
    yield Call(f"sagemaker:{operation}", parameters[name] if name == "ArtifactArn" else resource)
    if operation == "CreateEndpoint":  # it needs the right on its configuration, too
        configuration = f"arn:aws:sagemaker:{ARN}:endpoint-config/{parameters['EndpointConfigName']}"
        yield Call("sagemaker:CreateEndpoint", configuration)
    if operation.startswith("Create"):
        given = parameters.get("TrainingJobDefinition") or parameters
        role = given.get("RoleArn") or given.get("ExecutionRoleArn")
        if role:
            yield Call("iam:PassRole", role, {"iam:PassedToService": "sagemaker.amazonaws.com"})
        if parameters.get("Tags"):
            yield Call("sagemaker:AddTags", resource)


@pytest.fixture
def recorded(aws: StandIn, monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """Return the list of what the launcher asks; the stand-in asks moto by clients of its own, in this process too."""
    calls: list[Call] = []
    make = BaseClient._make_api_call

    def record(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
        service = client.meta.service_model.service_name
        if client is not aws.client(service):
            calls.extend(calls_of(service, operation, parameters))
        return make(client, operation, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", record)
    return calls


def test_the_launchers_role_allows_every_command_and_each_statement_is_needed(
    aws: StandIn,
    stack: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recorded: list[Call],
    say: Callable[[str], None],
) -> None:
    s3 = aws.client("s3")
    for name in (
        "reviews/a.tsv",
        "channels/train/part-algo-1-old.tfrecord",
        "channels/validation/a",
        "channels/test/a",
    ):
        s3.put_object(Bucket=stack["Bucket"], Key=f"{PREFIX}/{name}", Body=b"x")
    docker = "application/vnd.docker"
    image = {
        "schemaVersion": 2,
        "mediaType": f"{docker}.distribution.manifest.v2+json",
        "config": {"mediaType": f"{docker}.container.image.v1+json", "size": 1, "digest": "sha256:" + "0" * 64},
        "layers": [],
    }
    aws.client("ecr").put_image(repositoryName="distilbert-trainer", imageTag="v1", imageManifest=json.dumps(image))
    job = (REPOSITORY / "job.toml").read_text()
    settings = {
        "role": stack["Role"],
        "bucket": stack["Bucket"],
        "training_image": f"{stack['Repository']}:v1",
        "output_data_config.kms_key_id": stack["Key"],
        "experiment_config.experiment_name": "stars",
        "tuning.objective_metric_name": "validation:accuracy",
        "tuning.max_number_of_training_jobs": 1,
        "tuning.parameter_ranges.epochs.values": [1, 2],
    }
    path = write(tmp_path / "job.toml", {})
    path.write_text(job)
    options = [word for name, value in settings.items() for word in ("--set", f"{name}={json.dumps(value)}")]
    monkeypatch.chdir(tmp_path)
    documents = policies(aws, stack["LauncherRole"])
    recorded.clear()
    for command in COMMANDS:
        starts = command[0] in ("process", "train") or command[:2] == ["tune", "--job-name"]
        of_file = ["--file", str(path), *options] if starts or command[0] == "check" else []
        wait = ["--poll-interval", "0.05"] if starts else []
        main([*command, *of_file, *wait, *([] if of_file else ["--region", REGION])])
    calls = set(recorded) | set(NOT_THE_LAUNCHERS.values())

    assert [str(call) for call in calls if not allows(documents, call)] == []
    granted = {action for document in documents for one in statements(document) for action in listed(one["Action"])}
    assert granted - {call.action for call in calls} == {"kms:Decrypt", "kms:GenerateDataKey"}  # S3 uses them for us
    each_is_needed(documents, calls, say)


def test_check_names_the_statement_that_a_jobs_role_lacks(
    aws: StandIn, stack: dict[str, str], tmp_path: Path, say: Callable[[str], None]
) -> None:
    """The template's role lacks nothing; of each statement `check` prints what is needed, and that is enough."""
    iam, role = aws.client("iam"), stack["Role"].rpartition("/")[2]
    of_key = f'"{stack["Key"]}"'
    settings: dict[str, str | None] = {
        "role": f'"{stack["Role"]}"',
        "bucket": f'"{stack["Bucket"]}"',
        "training_image": f'"{stack["Repository"]}:v1"',
        "output_data_config.kms_key_id": of_key,
        "compute.volume_kms_key_id": of_key,
        "checkpoint_config.s3_uri": '"s3://{bucket}/star-rating/checkpoints/{job_name}"',
        "output_data_config.s3_output_path": '"s3://{bucket}/star-rating/jobs/"',
    }
    settings |= {
        f"input_data_config.{name}.s3_uri": f'"s3://{{bucket}}/{PREFIX}/channels/{name}/"'
        for name in ("train", "validation", "test")
    }
    job = launcher.load_job(write(tmp_path / "job.toml", settings))
    request = launcher.build_request(job)
    others = ("channel validation", "channel test")
    everything = [right for right in role_rights(request, REGION) if right.purpose not in others]
    session = Session()

    def missing(rights: list[Right]) -> list[dict[str, str]]:
        rows = right_rows("role", stack["Role"], rights, session)
        return [row for row in rows if row["result"] != "ok"]

    assert missing(everything) == []
    names = {}
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        document = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        for sid in [one["Sid"] for one in statements(document)]:
            iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(without(document, sid)))
            rows = missing(everything)
            names[sid] = sorted({row["check"].removeprefix("role rights: ") for row in rows})
            said = [json.loads(row["detail"].partition("; add ")[2]) for row in rows]
            say(f"without {sid}: {said[0]}")
            pasted = {**without(document, sid), "Statement": [*statements(without(document, sid)), *said]}
            iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(pasted))
            assert missing([right for right in everything if right.purpose in names[sid]]) == []
            iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(document))
    assert names == {
        "ListInputs": ["channel train", "checkpoints"],
        "ReadInputs": ["channel train", "checkpoints"],
        "WriteOutputs": ["checkpoints", "output"],
        "PullImage": ["image"],
        "LogInToEcr": ["image"],
        "WriteLog": ["log"],
        "WriteMetrics": ["metrics"],
        "UseKey": ["output's key"],
        "EncryptVolumes": ["volumes' key"],
    }


def each_is_needed(documents: list[Document], calls: Collection[Call], say: Callable[[str], None]) -> None:
    for document in documents:
        for sid in [one["Sid"] for one in statements(document)]:
            rest = [without(one, sid) if one is document else one for one in documents]
            denied = sorted(str(call) for call in calls if not allows(rest, call))
            say(f"without {sid}: {', '.join(denied) or 'nothing'} would be denied")
            assert denied, sid


def of_a_job(stack: dict[str, str]) -> list[Call]:
    """Return what SageMaker does by the job's role: its guide, "Execution Role Permissions"."""
    bucket, repository = f"arn:aws:s3:::{stack['Bucket']}", f"arn:aws:ecr:{ARN}:repository/distilbert-trainer"
    log = f"arn:aws:logs:{ARN}:log-group:/aws/sagemaker"
    read = (
        "channels/train/part",
        "checkpoints/job/checkpoint-1/weights",
        "jobs/job/output/model.tar.gz",
        "reviews/a.tsv",
    )
    written = ("channels/train/part", "checkpoints/job/checkpoint-1/weights", "debugger/job/index", "jobs/job/model")
    pull = ("BatchCheckLayerAvailability", "BatchGetImage", "GetDownloadUrlForLayer")
    write_log = ("CreateLogGroup", "CreateLogStream", "DescribeLogStreams", "PutLogEvents")
    return [
        Call("s3:ListBucket", bucket, {"s3:prefix": f"{PREFIX}/channels/train/"}),
        *(Call("s3:GetObject", f"{bucket}/{PREFIX}/{key}") for key in read),
        *(Call("s3:PutObject", f"{bucket}/{PREFIX}/{key}") for key in written),
        *(Call(f"ecr:{action}", repository) for action in pull),
        Call("ecr:GetAuthorizationToken"),
        *(
            Call(f"logs:{action}", f"{log}/{kind}:*")
            for action in write_log
            for kind in ("TrainingJobs", "ProcessingJobs", "TransformJobs", "Endpoints/star-rating")
        ),
        Call("cloudwatch:PutMetricData", context={"cloudwatch:namespace": "/aws/sagemaker/TrainingJobs"}),
        *(Call(f"kms:{action}", stack["Key"]) for action in ("Decrypt", "GenerateDataKey")),
        Call("kms:CreateGrant", stack["Key"], {"kms:GrantIsForAWSResource": "true"}),
    ]


def test_a_jobs_role_allows_what_sagemaker_does_and_each_statement_is_needed(
    aws: StandIn, stack: dict[str, str], say: Callable[[str], None]
) -> None:
    documents, calls = policies(aws, stack["Role"]), of_a_job(stack)
    assert [str(call) for call in calls if not allows(documents, call)] == []
    granted = {action for document in documents for one in statements(document) for action in listed(one["Action"])}
    assert granted == {call.action for call in calls}
    each_is_needed(documents, calls, say)


def of_a_publication(stack: dict[str, str]) -> list[Call]:
    """Return what build_and_push.sh asks of its repository, and promote.sh of the other one and of SageMaker.

    The actions on a repository are those that tests/registry/test_push.py records; here they meet the resources.
    """
    find = ("BatchGetImage", "DescribeRepositories", "GetDownloadUrlForLayer")
    push = ("BatchCheckLayerAvailability", "CompleteLayerUpload", "InitiateLayerUpload", "PutImage", "UploadLayerPart")
    repositories = [f"arn:aws:ecr:{ARN}:repository/{name}" for name in ("distilbert-trainer", "production/trainer")]
    job = f"arn:aws:sagemaker:{ARN}:processing-job/smoke-0-2-0-0123456789ab-040506"
    return [
        Call("ecr:GetAuthorizationToken"),
        *(Call(f"ecr:{action}", repository) for repository in repositories for action in (*find, *push)),
        *(Call(f"sagemaker:{action}ProcessingJob", job) for action in ("Create", "Describe")),
        Call("iam:PassRole", stack["Role"], {"iam:PassedToService": "sagemaker.amazonaws.com"}),
    ]


def test_the_publishers_role_allows_push_and_promotion_and_each_statement_is_needed(
    aws: StandIn, stack: dict[str, str], say: Callable[[str], None]
) -> None:
    documents, calls = policies(aws, stack["PublisherRole"]), of_a_publication(stack)
    assert [str(call) for call in calls if not allows(documents, call)] == []
    granted = {action for document in documents for one in statements(document) for action in listed(one["Action"])}
    assert granted == {call.action for call in calls}
    each_is_needed(documents, calls, say)
    assert not allows(documents, Call("sagemaker:CreateProcessingJob", f"arn:aws:sagemaker:{ARN}:processing-job/other"))


@pytest.mark.parametrize(
    "call",
    [
        Call("s3:GetObject", f"arn:aws:s3:::distilbert-trainer-{ACCOUNT}-{REGION}/other-team/secret"),
        Call("s3:GetObject", f"arn:aws:s3:::another-bucket/{PREFIX}/channels/train/part"),
        Call("s3:PutObject", f"arn:aws:s3:::distilbert-trainer-{ACCOUNT}-{REGION}/{PREFIX}/reviews/a.tsv"),
        Call("s3:DeleteObject", f"arn:aws:s3:::distilbert-trainer-{ACCOUNT}-{REGION}/{PREFIX}/channels/train/part"),
        Call("s3:ListBucket", f"arn:aws:s3:::distilbert-trainer-{ACCOUNT}-{REGION}", {"s3:prefix": "other-team/"}),
        Call("ecr:PutImage", f"arn:aws:ecr:{ARN}:repository/distilbert-trainer"),
        Call("ecr:BatchGetImage", f"arn:aws:ecr:{ARN}:repository/another"),
        Call("cloudwatch:PutMetricData", context={"cloudwatch:namespace": "Billing"}),
        Call("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/Admin", {"iam:PassedToService": "sagemaker.amazonaws.com"}),
        Call("sts:AssumeRole", f"arn:aws:iam::{ACCOUNT}:role/Admin"),
    ],
    ids=str,
)
def test_a_jobs_role_allows_nothing_else(aws: StandIn, stack: dict[str, str], call: Call) -> None:
    assert not allows(policies(aws, stack["Role"]), call)


def test_only_sagemaker_for_this_account_may_use_the_jobs_role(aws: StandIn, stack: dict[str, str]) -> None:
    role = aws.client("iam").get_role(RoleName=stack["Role"].rpartition("/")[2])["Role"]
    (trust,) = statements(role["AssumeRolePolicyDocument"])
    assert trust["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


def test_only_one_branch_of_one_repository_may_publish(aws: StandIn, stack: dict[str, str]) -> None:
    role = aws.client("iam").get_role(RoleName=stack["PublisherRole"].rpartition("/")[2])["Role"]
    (trust,) = statements(role["AssumeRolePolicyDocument"])
    assert trust["Condition"]["StringEquals"] == {
        "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
        "token.actions.githubusercontent.com:sub": "repo:owner/name:ref:refs/heads/main",
    }


@pytest.fixture(scope="module")
def resources() -> dict[str, Any]:
    """Return the template's resources: moto takes over less of them than CloudFormation does."""
    template: dict[str, Any] = decode(str(TEMPLATE))[0]
    return {name: resource["Properties"] for name, resource in template["Resources"].items()}


def test_the_repository_is_as_build_and_push_makes_it(resources: dict[str, Any]) -> None:
    repository = resources["Repository"]
    assert repository["ImageTagMutability"] == "IMMUTABLE"
    assert repository["ImageScanningConfiguration"] == {"ScanOnPush": True}
    ours = json.loads((REPOSITORY / "scripts" / "image" / "lifecycle_policy.json").read_text())
    assert json.loads(repository["LifecyclePolicy"]["LifecyclePolicyText"]) == ours


def test_the_bucket_is_private_encrypted_and_versioned_and_checkpoints_expire(resources: dict[str, Any]) -> None:
    bucket = resources["Bucket"]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    (encryption,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    with_key, without_key = encryption["ServerSideEncryptionByDefault"]["Fn::If"][1:]
    assert (with_key["SSEAlgorithm"], without_key["SSEAlgorithm"]) == ("aws:kms", "AES256")
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    expiring = [rule["Prefix"] for rule in bucket["LifecycleConfiguration"]["Rules"] if "ExpirationInDays" in rule]
    assert expiring == [{"Fn::Sub": "${Prefix}/checkpoints/"}]
    (statement,) = statements(resources["BucketPolicy"]["PolicyDocument"])
    assert (statement["Effect"], statement["Principal"]) == ("Deny", "*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_every_statement_is_explained(resources: dict[str, Any]) -> None:
    rows = (REPOSITORY / "docs" / "account.md").read_text()
    documents = [one["PolicyDocument"] for name, one in resources.items() if name.endswith("Policy") and "Roles" in one]
    assert len(documents) == 6
    everywhere = [one for document in documents for one in statements(document)]
    assert [one["Sid"] for one in everywhere if f"`{one['Sid']}`" not in rows] == []
    assert sum(one["Resource"] == "*" for one in everywhere) == 6


def test_every_parameter_is_explained() -> None:
    rows = (REPOSITORY / "docs" / "account.md").read_text()
    parameters = decode(str(TEMPLATE))[0]["Parameters"]
    assert [name for name in parameters if f"| `{name}` |" not in rows] == []
