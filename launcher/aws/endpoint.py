"""An endpoint in SageMaker that serves a training job's model.

endpoint = Endpoint("star-rating", "us-east-1")
endpoint.create(hosting_requests(description, endpoint.name, Instances("ml.c7i.xlarge")))
endpoint.wait(timeout=None, poll_interval=10)
endpoint.predict(["It broke."])     # [{"stars": 1, "probabilities": {...}, "truncated": False}]
endpoint.delete()                   # with its configuration and its model
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from botocore import xform_name

from launcher.aws.errors import NotFoundError, call_with_retries, translating_aws_errors
from launcher.aws.session import Session, aws
from launcher.errors import AwsError, JobFailedError, JobStoppedError, LauncherError, WaitTimeoutError
from launcher.request import Request


class Endpoint:
    """One endpoint, by name and region."""

    def __init__(self, name: str, region: str, *, session: Session | None = None) -> None:
        self.name = name
        self.region = region
        self._session = (session or aws()).for_region(region)
        self._sagemaker = self._session.client("sagemaker")

    def create(self, requests: dict[str, Request]) -> None:
        """Create model, configuration and endpoint; if one of them is refused, delete those that were created."""
        created: list[str] = []
        try:
            for operation, request in requests.items():
                with translating_aws_errors(f"create the {operation.removeprefix('Create')} {self.name}"):
                    call_with_retries(getattr(self._sagemaker, xform_name(operation)), **request)
                created.append(operation)
        except LauncherError:
            if "CreateEndpointConfig" in created:
                self._delete("the endpoint configuration", self._sagemaker.delete_endpoint_config, "EndpointConfigName")
            if "CreateModel" in created:
                self._delete("the model", self._sagemaker.delete_model, "ModelName")
            raise

    def describe(self) -> dict[str, Any]:
        """Return DescribeEndpoint's answer."""
        with translating_aws_errors(f"describe the endpoint {self.name}"):
            description: dict[str, Any] = call_with_retries(self._sagemaker.describe_endpoint, EndpointName=self.name)
        return description

    def wait(self, *, timeout: float | None, poll_interval: float, say: Callable[[str], None] = lambda _: None) -> None:
        """Wait until it serves; raise JobFailedError with SageMaker's reason, WaitTimeoutError."""
        give_up = None if timeout is None else time.monotonic() + timeout
        while (description := self.describe())["EndpointStatus"] not in ("InService", "Failed", "OutOfService"):
            if give_up is not None and time.monotonic() >= give_up:
                raise WaitTimeoutError(f"{self.name} is still {description['EndpointStatus']}")
            say(f"{self.name} {description['EndpointStatus']}")
            time.sleep(poll_interval)
        if description["EndpointStatus"] != "InService":
            reason = description.get("FailureReason", "SageMaker gives no reason")
            raise JobFailedError(f"the endpoint {self.name} failed: {reason}")

    def predict(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """Return the prediction for each review, in their order."""
        runtime = self._session.client("sagemaker-runtime")
        with translating_aws_errors(f"invoke the endpoint {self.name}"):
            answer = call_with_retries(
                runtime.invoke_endpoint,
                EndpointName=self.name,
                ContentType="application/json",
                Accept="application/json",
                Body=json.dumps({"instances": list(texts)}),
            )
            content = answer["Body"].read()
        try:
            predictions: list[dict[str, Any]] = json.loads(content)["predictions"]
        except (ValueError, LookupError, TypeError):
            raise AwsError(f"the endpoint {self.name} answers in another form than this image's serve") from None
        return predictions

    def delete(self) -> None:
        """Delete the endpoint, its configuration and its models; what is not there any more is passed over."""
        configuration = self.describe()["EndpointConfigName"]
        models: list[str] = []
        try:
            with translating_aws_errors(f"describe the endpoint configuration {configuration}"):
                described = call_with_retries(
                    self._sagemaker.describe_endpoint_config, EndpointConfigName=configuration
                )
            models = [variant["ModelName"] for variant in described["ProductionVariants"] if "ModelName" in variant]
        except NotFoundError:
            pass
        self._delete("the endpoint", self._sagemaker.delete_endpoint, "EndpointName")
        self._delete(
            "the endpoint configuration", self._sagemaker.delete_endpoint_config, "EndpointConfigName", configuration
        )
        for model in models:
            self._delete("the model", self._sagemaker.delete_model, "ModelName", model)

    def _delete(self, what: str, operation: Callable[..., Any], field: str, name: str | None = None) -> None:
        try:
            with translating_aws_errors(f"delete {what} {name or self.name}"):
                call_with_retries(operation, **{field: name or self.name})
        except NotFoundError:
            return


def transform(
    requests: dict[str, Request],
    region: str,
    *,
    session: Session | None = None,
    timeout: float | None,
    poll_interval: float,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Run a transform job to its end and delete its model; raise JobFailedError, JobStoppedError, WaitTimeoutError."""
    name = requests["CreateTransformJob"]["TransformJobName"]
    session = (session or aws()).for_region(region)
    sagemaker = session.client("sagemaker")
    for operation, request in requests.items():
        with translating_aws_errors(f"create the {operation.removeprefix('Create')} {name}"):
            call_with_retries(getattr(sagemaker, xform_name(operation)), **request)
    give_up = None if timeout is None else time.monotonic() + timeout
    while True:
        with translating_aws_errors(f"describe {name}"):
            description = call_with_retries(sagemaker.describe_transform_job, TransformJobName=name)
        status = description["TransformJobStatus"]
        if status in ("Completed", "Failed", "Stopped"):
            break
        if give_up is not None and time.monotonic() >= give_up:
            raise WaitTimeoutError(f"{name} is still {status}")
        say(f"{name} {status}")
        time.sleep(poll_interval)
    with translating_aws_errors(f"delete the model {name}"):
        call_with_retries(sagemaker.delete_model, ModelName=name)
    if status == "Failed":
        raise JobFailedError(f"{name} failed: {description.get('FailureReason', 'SageMaker gives no reason')}")
    if status == "Stopped":
        raise JobStoppedError(f"{name} was stopped")
