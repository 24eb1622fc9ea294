"""A local SageMaker in this process, for tests: real HTTP, a state folder of its own, jobs that nobody runs.

with serving(tmp_path) as server: call(server, "DescribeTrainingJob", {"TrainingJobName": "x"})
"""

from __future__ import annotations

import copy
import http.client
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moto.moto_api._internal.models import moto_api_backend
from werkzeug.serving import WSGIRequestHandler, make_server

from local_sagemaker.api.application import api_application
from local_sagemaker.auth import Access
from local_sagemaker.dashboard.application import Dashboard
from local_sagemaker.docker_client.engine import Engine
from local_sagemaker.entity_store import EntityStore
from local_sagemaker.job_repository import JobRepository
from local_sagemaker.job_service import JobService
from local_sagemaker.security import security_middleware
from local_sagemaker.services.moto_router import Router
from local_sagemaker.services.s3_api import s3_middleware
from local_sagemaker.services.s3_store import ObjectStore
from local_sagemaker.state import ACCOUNT, REGION, AccountAge

BUCKET = f"sagemaker-{REGION}-{ACCOUNT}"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/Exec"
SCOPE = f"AWS4-HMAC-SHA256 Credential=local/20261124/{REGION}/sagemaker/aws4_request, SignedHeaders=host, Signature=0"
SIGNED_FOR_S3 = {"Authorization": SCOPE.replace("/sagemaker/", "/s3/")}

Request = dict[str, Any]

TRAINING: Request = {
    "TrainingJobName": "star-rating-1",
    "RoleArn": ROLE,
    "AlgorithmSpecification": {
        "TrainingImage": "distilbert-trainer:local",
        "TrainingInputMode": "File",
        "MetricDefinitions": [
            {"Name": "train:loss", "Regex": "train:loss=([0-9.]+)"},
            {"Name": "test:accuracy", "Regex": "test:accuracy=([0-9.]+)"},
        ],
        "ContainerArguments": ["train"],
    },
    "InputDataConfig": [
        {
            "ChannelName": name,
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/channels/{name}/"}},
        }
        for name in ("train", "validation")
    ],
    "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/jobs/"},
    "ResourceConfig": {"InstanceType": "ml.c5.9xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
    "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    "HyperParameters": {"epochs": "3", "learning_rate": "1e-05"},
    "Environment": {"MODE": "quiet"},
    "CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/checkpoints/"},
    "DebugHookConfig": {
        "S3OutputPath": f"s3://{BUCKET}/tensors/",
        "CollectionConfigurations": [{"CollectionName": "losses", "CollectionParameters": {"save_interval": "10"}}],
    },
    "DebugRuleConfigurations": [
        {
            "RuleConfigurationName": "LossNotDecreasing",
            "RuleEvaluatorImage": "rules:latest",
            "RuleParameters": {"rule_to_invoke": "LossNotDecreasing"},
        }
    ],
    "ProfilerConfig": {"S3OutputPath": f"s3://{BUCKET}/profile/", "ProfilingIntervalInMilliseconds": 500},
    "ProfilerRuleConfigurations": [{"RuleConfigurationName": "ProfilerReport", "RuleEvaluatorImage": "rules:latest"}],
    "TensorBoardOutputConfig": {"S3OutputPath": f"s3://{BUCKET}/tensorboard/"},
    "Tags": [{"Key": "project", "Value": "star-rating"}],
}

PROCESSING: Request = {
    "ProcessingJobName": "prepare-1",
    "RoleArn": ROLE,
    "AppSpecification": {"ImageUri": "distilbert-trainer:local", "ContainerArguments": ["prepare"]},
    "ProcessingInputs": [
        {
            "InputName": "reviews",
            "S3Input": {
                "S3Uri": f"s3://{BUCKET}/reviews/",
                "LocalPath": "/opt/ml/processing/input",
                "S3DataType": "S3Prefix",
                "S3InputMode": "File",
            },
        }
    ],
    "ProcessingOutputConfig": {
        "Outputs": [
            {
                "OutputName": "channels",
                "S3Output": {
                    "S3Uri": f"s3://{BUCKET}/channels/",
                    "LocalPath": "/opt/ml/processing/output",
                    "S3UploadMode": "EndOfJob",
                },
            }
        ]
    },
    "ProcessingResources": {
        "ClusterConfig": {"InstanceType": "ml.c5.2xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30}
    },
    "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
}


@dataclass(frozen=True)
class ApiServer:
    """What tests ask over HTTP, and change from behind."""

    jobs: JobService
    objects: ObjectStore
    entities: EntityStore
    port: int
    access: Access

    @property
    def cookie(self) -> str:
        return self.access.cookie(str(self.port)).partition(";")[0]

    @property
    def page(self) -> str:
        return f"{self.address}/?token={self.access.token}"

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class _QuietHandler(WSGIRequestHandler):
    def log_request(self, *_: object) -> None:
        """Leave a failing test's report to the test."""


@contextmanager
def serving(folder: Path, account: AccountAge = "old") -> Iterator[ApiServer]:
    """Serve a state folder, with data for TRAINING's channels."""
    moto_api_backend.reset()  # it is one for the process: other tests have left buckets and logs
    jobs, objects = JobService(JobRepository(folder)), ObjectStore(folder / "s3")
    objects.make_bucket(BUCKET)
    for channel in ("train", "validation"):
        objects.put_file(BUCKET, f"channels/{channel}/part-0.tfrecord", io.BytesIO(b"record"))
    access = Access("local")
    entities = EntityStore(folder / "api" / "records.json")
    moto = s3_middleware(Router(access), objects)
    api = api_application(moto, jobs, objects, Engine("tests"), access, entities, account=account)
    application = security_middleware(Dashboard(jobs, objects, entities, api), access)
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=_QuietHandler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield ApiServer(jobs, objects, entities, server.server_port, access)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        moto_api_backend.reset()


def changed(request: Request, changes: dict[str, Any]) -> Request:
    """Return a request with other values; `InputDataConfig.0.ChannelName` names a place, None deletes it."""
    request = copy.deepcopy(request)
    for path, value in changes.items():
        *parts, last = [int(part) if part.isdecimal() else part for part in path.split(".")]
        place: Any = request
        for part in parts:
            place = place.setdefault(part, {}) if isinstance(place, dict) else place[part]
        if value is None:
            del place[last]
        else:
            place[last] = value
    return request


def send(
    server: ApiServer, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """Send a request, as the page does if it is not signed; return status, headers (names in lower case) and body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        connection.request(method, path, body, {"Cookie": server.cookie, **(headers or {})})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def call(server: ApiServer, operation: str, request: object, region: str = REGION) -> tuple[int, dict[str, Any]]:
    """Call an operation of SageMaker over the wire, past every check of a client; return status and answer."""
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    headers = {
        "X-Amz-Target": f"SageMaker.{operation}",
        "Content-Type": "application/x-amz-json-1.1",
        "Authorization": SCOPE.replace(REGION, region),
    }
    status, answered, content = send(server, "POST", "/", body, headers)
    assert answered["content-type"] == "application/x-amz-json-1.1", content
    assert len(answered["x-amzn-requestid"]) == 36
    return status, json.loads(content)
