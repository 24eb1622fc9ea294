"""SageMaker's training API over real HTTP, for tests: what moto has only as a stub or lacks, in front of moto.

    with running() as aws: ...      # aws.endpoint is AWS_ENDPOINT_URL for SageMaker, S3, Logs, CloudWatch, ECR, STS

A job walks through a script, a step each time that it is described. Requests are held against botocore's model, as AWS
does; faults are answered for as many calls as they are set for.
"""

from __future__ import annotations

import functools
import io
import json
import tarfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import boto3
from botocore import xform_name
from moto.iam.models import iam_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from launcher.request.shapes import violations
from tests.helpers.iam import Call, allows, conditions_of, denies

ACCOUNT = "123456789012"
REGION = "us-east-1"
BUCKET = f"sagemaker-{REGION}-{ACCOUNT}"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/Exec"
ALLOWS_EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}

EVALUATION = {
    "metrics": {"accuracy": {"value": 0.75}},
    "confusion_matrix": {"rows": "true stars", "columns": "predicted stars", "counts": [[3, 1], [0, 4]]},
}


@dataclass(frozen=True)
class Step:
    """A secondary status; the last one of a script has the primary status that the job ends with."""

    secondary: str
    message: str = ""
    primary: str = "InProgress"


SCRIPTS = {
    "completed": [
        Step("Starting", "Launching requested ML instances"),
        Step("Downloading", "Downloading the training image"),
        Step("Training", "Training image download completed. Training in progress."),
        Step("Uploading", "Uploading generated training model"),
        Step("Completed", "Training job completed", "Completed"),
    ],
    "failed": [
        Step("Starting", "Launching requested ML instances"),
        Step("Training", "Training in progress."),
        Step("Failed", "Training job failed", "Failed"),
    ],
    "endless": [Step("Starting", "Launching requested ML instances"), Step("Training", "Training in progress.")],
    "too long": [
        Step("Training", "Training in progress."),
        Step("MaxRuntimeExceeded", "Training job runtime exceeded MaxRuntimeInSeconds", "Stopped"),
    ],
}

FAILURE = "AlgorithmError: The train channel is empty., exit code: 11"


class ApiError(Exception):
    """An answer that is an error."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


@dataclass
class Fault:
    """An error that an operation, or `*` for any, answers with, so many times."""

    operation: str
    error: ApiError
    times: int


@dataclass
class Job:
    """A training job: what it was asked for, and how far its script has gone."""

    request: dict[str, Any]
    script: list[Step]
    created: float
    steps: list[tuple[Step, float]] = field(default_factory=list)

    @property
    def now(self) -> Step:
        return self.steps[-1][0]

    def advance(self) -> None:
        if len(self.steps) < len(self.script):
            self.steps.append((self.script[len(self.steps)], time.time()))


class StandIn:
    """The WSGI application, and the knobs that tests turn."""

    def __init__(self) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)
        self.endpoint = ""
        self.jobs: dict[str, Job] = {}
        self.processing: dict[str, dict[str, Any]] = {}
        self.reset()

    def reset(self) -> None:
        """Set every knob to where a test expects it."""
        self.calls: list[str] = []
        self.faults: list[Fault] = []
        self.script = SCRIPTS["completed"]
        self.log: list[tuple[str, str]] = [("algo-1-1700000000", "train:loss=0.5 train:accuracy=0.7")]
        """Stream and line; written when a job enters Training."""
        self.rule_statuses: list[str] = []
        """What the rules of a job say, a status each time that it is described."""
        self.output: dict[str, bytes] = {}
        """Files that a job leaves in output.tar.gz; none: no archive."""
        self.model_uri: str | None = None
        """Where a model is, if not in model.tar.gz."""
        self.architecture = "amd64"
        """Of every image in ECR."""
        self.callers_policy: dict[str, Any] | None = ALLOWS_EVERYTHING
        """Of moto's own user, which everybody is here; None: IAM's simulator answers with an error."""
        self.quota = 4.0
        self.lost_answers = 0
        """Jobs that are created, and answered with an error of the server."""

    @functools.cache  # noqa: B019 - one stand-in a session
    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.endpoint,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        service, _, operation = environ.get("HTTP_X_AMZ_TARGET", "").partition(".")
        handler = getattr(self, f"_{xform_name(operation)}", None) if operation else None
        self.calls.append(operation or f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
        try:
            self._raise_fault(operation)
            if environ["PATH_INFO"] == "/image-config":
                return _answer(
                    start_response,
                    "200 OK",
                    {
                        "os": "linux",
                        "architecture": self.architecture,
                        "config": {"Labels": {"distilbert-trainer.weights": "distilbert-base-uncased@12040acc"}},
                    },
                )
            if handler is None:
                return self._simulated(environ, start_response) or self._moto(environ, start_response)
            request = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
            for violation in violations(operation, request) if service == "SageMaker" else ():
                raise ApiError("ValidationException", f"{violation.path}: {violation.message}")
            return _answer(start_response, "200 OK", handler(request))
        except ApiError as error:
            if not operation:  # S3's
                start_response(f"{error.status} Error", [("Content-Type", "application/xml")])
                return [f"<Error><Code>{error.code}</Code><Message>{error.message}</Message></Error>".encode()]
            return _answer(start_response, f"{error.status} Error", {"__type": error.code, "message": error.message})

    def _raise_fault(self, operation: str) -> None:
        for fault in self.faults:
            if fault.operation in (operation, "*") and fault.times > 0:
                fault.times -= 1
                raise fault.error

    # What moto lacks of ECR, Service Quotas and IAM

    def _get_download_url_for_layer(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"downloadUrl": f"{self.endpoint}/image-config", "layerDigest": request["layerDigest"]}

    def _list_service_quotas(self, _request: dict[str, Any]) -> dict[str, Any]:
        return {
            "Quotas": [
                {"QuotaName": "ml.c7i.2xlarge for spot training job usage", "Value": 9.0},
                {"QuotaName": "ml.c7i.2xlarge for training job usage", "Value": self.quota},
                {"QuotaName": "ml.c7i.4xlarge for training job usage", "Value": 1.0},
            ]
        }

    def _simulated(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes] | None:
        """Answer IAM's SimulatePrincipalPolicy; leave anything else, unread, to moto."""
        if "/iam/" not in environ.get("HTTP_AUTHORIZATION", ""):
            return None
        form = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        environ["wsgi.input"] = io.BytesIO(form)
        if b"Action=SimulatePrincipalPolicy" not in form:
            return None
        if self.callers_policy is None:
            start_response("400 Bad Request", [("Content-Type", "text/xml")])
            error = "<Code>InvalidInput</Code><Message>Invalid Entity Arn</Message>"
            return [f"<ErrorResponse><Error>{error}</Error></ErrorResponse>".encode()]
        start_response("200 OK", [("Content-Type", "text/xml")])
        results = "".join(f"<member>{result}</member>" for result in self._evaluations(parse_qs(form.decode())))
        answer = f"<EvaluationResults>{results}</EvaluationResults><IsTruncated>false</IsTruncated>"
        answer = f"<SimulatePrincipalPolicyResult>{answer}</SimulatePrincipalPolicyResult>"
        return [f"<SimulatePrincipalPolicyResponse>{answer}</SimulatePrincipalPolicyResponse>".encode()]

    def _evaluations(self, form: Mapping[str, list[str]]) -> Iterator[str]:
        """Yield a result for each action, over all resources together as IAM does it."""
        (principal,), policies = form["PolicySourceArn"], [self.callers_policy or {}]
        if ":role/" in principal:
            role = iam_backends[ACCOUNT]["aws"].get_role(principal.rpartition("/")[2])
            policies = [json.loads(document) for document in role.policies.values()]
        numbers = range(1, 1 + sum(key.endswith(".ContextKeyName") for key in form))
        entries = [f"ContextEntries.member.{number}" for number in numbers]
        context = {
            form[f"{entry}.ContextKeyName"][0]: form[f"{entry}.ContextKeyValues.member.1"][0] for entry in entries
        }
        resources = [value[0] for key, value in form.items() if key.startswith("ResourceArns.")] or ["*"]
        for action in [value[0] for key, value in form.items() if key.startswith("ActionNames.")]:
            calls = [Call(action, resource, context) for resource in resources]
            if any(denies(policies, call) for call in calls):
                decision = "explicitDeny"
            else:
                decision = "allowed" if all(allows(policies, call) for call in calls) else "implicitDeny"
            asked = {key for call in calls for key in conditions_of(policies, call)} - set(context)
            missing = "".join(f"<member>{key}</member>" for key in sorted(asked) if decision != "allowed")
            yield (
                f"<EvalActionName>{action}</EvalActionName><EvalDecision>{decision}</EvalDecision>"
                f"<MissingContextValues>{missing}</MissingContextValues>"
            )

    # Training jobs

    def _create_training_job(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["TrainingJobName"]
        if name in self.jobs:
            raise ApiError("ResourceInUse", f"Job name must be unique: {name}")
        condition = request["StoppingCondition"]
        if condition.get("MaxWaitTimeInSeconds", condition["MaxRuntimeInSeconds"]) < condition["MaxRuntimeInSeconds"]:
            raise ApiError("ValidationException", "MaxWaitTimeInSeconds must be at least MaxRuntimeInSeconds")
        self.jobs[name] = Job(request, self.script, time.time())
        if self.lost_answers:
            self.lost_answers -= 1
            raise ApiError("InternalFailure", "the job is there, this answer says otherwise", 500)
        return {"TrainingJobArn": _arn("training-job", name)}

    def _describe_training_job(self, request: dict[str, Any]) -> dict[str, Any]:
        job = self._job(request["TrainingJobName"])
        before = job.steps[-1][0].secondary if job.steps else ""
        job.advance()
        if job.now.secondary != before == "Starting" or (not before and job.now.secondary == "Training"):
            self._write_log(request["TrainingJobName"])
        if job.now.primary == "Completed" and before != "Completed":
            self._upload_model(job)
        return self._description(job)

    def _stop_training_job(self, request: dict[str, Any]) -> dict[str, Any]:
        job = self._job(request["TrainingJobName"])
        if job.now.primary != "InProgress":
            raise ApiError(
                "ValidationException", "The request was rejected because the training job is in an end state"
            )
        job.script = [
            *[step for step, _ in job.steps],
            Step("Stopping", "", "Stopping"),
            Step("Stopped", "", "Stopped"),
        ]
        return {}

    def _list_training_jobs(self, request: dict[str, Any]) -> dict[str, Any]:
        jobs = [
            job
            for name, job in self.jobs.items()
            if request.get("NameContains", "") in name
            and request.get("StatusEquals") in (None, job.now.primary if job.steps else "InProgress")
        ]
        jobs.sort(key=lambda job: job.created, reverse=request.get("SortOrder") == "Descending")
        start, size = int(request.get("NextToken", 0)), request.get("MaxResults", 10)
        return {
            "TrainingJobSummaries": [
                {
                    "TrainingJobName": job.request["TrainingJobName"],
                    "TrainingJobArn": _arn("training-job", job.request["TrainingJobName"]),
                    "CreationTime": job.created,
                    "TrainingJobStatus": job.now.primary if job.steps else "InProgress",
                }
                for job in jobs[start : start + size]
            ],
            **({"NextToken": str(start + size)} if start + size < len(jobs) else {}),
        }

    def _job(self, name: str) -> Job:
        if name not in self.jobs:
            raise ApiError("ValidationException", "Requested resource not found.")
        return self.jobs[name]

    def _description(self, job: Job) -> dict[str, Any]:
        request, ended = job.request, job.now.primary not in ("InProgress", "Stopping")
        name = request["TrainingJobName"]
        description = {
            **{field: value for field, value in request.items() if field != "Tags"},
            "TrainingJobArn": _arn("training-job", name),
            "TrainingJobStatus": job.now.primary,
            "SecondaryStatus": job.now.secondary,
            "CreationTime": job.created,
            "SecondaryStatusTransitions": [
                {"Status": step.secondary, "StartTime": began, "StatusMessage": step.message}
                for step, began in job.steps
            ],
        }
        if ended:
            description |= {"TrainingTimeInSeconds": 200, "BillableTimeInSeconds": 50, "TrainingEndTime": time.time()}
        if job.now.primary == "Failed":
            description["FailureReason"] = FAILURE
        if job.now.primary == "Completed":
            description["ModelArtifacts"] = {"S3ModelArtifacts": self.model_uri or _model_uri(request)}
            description["FinalMetricDataList"] = [
                {"MetricName": "train:loss", "Value": 0.5, "Timestamp": time.time()},
                {"MetricName": "test:accuracy", "Value": 0.75, "Timestamp": time.time()},
            ]
        if self.rule_statuses and "DebugRuleConfigurations" in request:
            status = self.rule_statuses.pop(0) if len(self.rule_statuses) > 1 else self.rule_statuses[0]
            description["DebugRuleEvaluationStatuses"] = [
                {"RuleConfigurationName": rule["RuleConfigurationName"], "RuleEvaluationStatus": status}
                for rule in request["DebugRuleConfigurations"]
            ]
        return description

    def _write_log(self, name: str) -> None:
        write_log(self.client("logs"), "/aws/sagemaker/TrainingJobs", name, self.log)

    def _upload_model(self, job: Job) -> None:
        bucket, _, key = _model_uri(job.request).removeprefix("s3://").partition("/")
        archive = archive_of({"metrics/evaluation.json": json.dumps(EVALUATION).encode(), "run.json": b"{}"})
        self.client("s3").put_object(Bucket=bucket, Key=key, Body=archive)
        if self.output:
            beside = f"{key.rpartition('/')[0]}/output.tar.gz"
            self.client("s3").put_object(Bucket=bucket, Key=beside, Body=archive_of(self.output))

    # Processing jobs

    def _create_processing_job(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["ProcessingJobName"]
        if name in self.processing:
            raise ApiError("ResourceInUse", f"Job name must be unique: {name}")
        self.processing[name] = {**request, "looks": 0}
        line = ("algo-1-1700000000", "3336 train reviews")
        write_log(self.client("logs"), "/aws/sagemaker/ProcessingJobs", name, [line])
        return {"ProcessingJobArn": _arn("processing-job", name)}

    def _describe_processing_job(self, request: dict[str, Any]) -> dict[str, Any]:
        job = self.processing[request["ProcessingJobName"]]
        job["looks"] += 1
        ended = "Failed" if self.script is SCRIPTS["failed"] else "Completed"
        return {
            **{name: value for name, value in job.items() if name not in ("looks", "Tags")},
            "ProcessingJobArn": _arn("processing-job", request["ProcessingJobName"]),
            "ProcessingJobStatus": "InProgress" if job["looks"] == 1 else ended,
            "CreationTime": time.time(),
            **({"ExitMessage": "The column review_body is missing."} if ended == "Failed" else {}),
        }

    # Experiments and lineage

    def _list_training_jobs_for_hyper_parameter_tuning_job(self, _request: dict[str, Any]) -> dict[str, Any]:
        return {"TrainingJobSummaries": []}  # moto completes a tuning job at once, without a training job

    def _stop_hyper_parameter_tuning_job(self, request: dict[str, Any]) -> dict[str, Any]:
        raise ApiError("ValidationException", f"{request['HyperParameterTuningJobName']} is in status Completed.")

    def _describe_trial_component(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["TrialComponentName"]
        self._job(name.removesuffix("-aws-training-job"))
        return {"TrialComponentName": name, "TrialComponentArn": _arn("experiment-trial-component", name)}

    def _search(self, request: dict[str, Any]) -> dict[str, Any]:
        wanted = request["SearchExpression"]["Filters"][0]["Value"]
        components = [
            {
                "TrialComponentName": f"{name}-aws-training-job",
                "DisplayName": job.request["ExperimentConfig"].get("TrialComponentDisplayName"),
                "Status": {"PrimaryStatus": job.now.primary},
                "CreationTime": job.created,
                "Parameters": {
                    key: {"StringValue": value} for key, value in job.request.get("HyperParameters", {}).items()
                },
                "Metrics": [{"MetricName": "test:accuracy", "Last": 0.75}],
            }
            for name, job in self.jobs.items()
            if job.request.get("ExperimentConfig", {}).get("ExperimentName") == wanted
        ]
        components.sort(key=lambda component: component["CreationTime"], reverse=True)
        return {"Results": [{"TrialComponent": component} for component in components]}

    def _list_associations(self, request: dict[str, Any]) -> dict[str, Any]:
        if "DestinationArn" in request:
            links = [
                {"SourceArn": _arn("artifact", kind), "SourceType": kind, "AssociationType": "ContributedTo"}
                for kind in ("DataSet", "Image")
            ]
        else:
            links = [
                {"DestinationArn": _arn("artifact", "Model"), "DestinationType": "Model", "AssociationType": "Produced"}
            ]
        return {"AssociationSummaries": links}

    def _describe_artifact(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"Source": {"SourceUri": f"s3://{BUCKET}/{request['ArtifactArn'].rpartition('/')[2]}"}}


def archive_of(files: dict[str, bytes]) -> bytes:
    """Return a tar.gz with these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def write_log(logs: Any, group: str, job_name: str, lines: list[tuple[str, str]]) -> None:
    """Write lines to CloudWatch Logs as SageMaker does, a millisecond after each other."""
    if not logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
        logs.create_log_group(logGroupName=group)
    now = int(time.time() * 1000) - len(lines)
    for stream in dict.fromkeys(stream for stream, _ in lines):
        logs.create_log_stream(logGroupName=group, logStreamName=f"{job_name}/{stream}")
        events = [
            {"timestamp": now + number, "message": text}
            for number, (of_stream, text) in enumerate(lines)
            if of_stream == stream
        ]
        logs.put_log_events(logGroupName=group, logStreamName=f"{job_name}/{stream}", logEvents=events)


@contextmanager
def running() -> Iterator[StandIn]:
    """Serve the stand-in on a free port of loopback."""
    stand_in = StandIn()
    server = make_server("127.0.0.1", 0, stand_in, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    stand_in.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield stand_in
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _model_uri(request: dict[str, Any]) -> str:
    return f"{request['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{request['TrainingJobName']}/output/model.tar.gz"


def _arn(kind: str, name: str) -> str:
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind}/{name}"


def _answer(start_response: Callable[..., Any], status: str, content: dict[str, Any]) -> Iterable[bytes]:
    start_response(status, [("Content-Type", "application/x-amz-json-1.1")])
    return [json.dumps(content).encode()]
