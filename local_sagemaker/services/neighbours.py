"""What moto lacks of the services around SageMaker, so that `launcher check` and the SDKs find what a job needs.

    application = neighbours(moto, engine, access)

| service | here |
|---|---|
| IAM | every role exists, trusts SageMaker and may be passed: on this machine nobody looks at rights |
| Service Quotas | as many instances of each type as a new account has |
| ECR | beside what was pushed to its API: the images that the Docker engine has under an ECR name |
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from moto.iam.exceptions import NotFoundException
from moto.iam.models import iam_backends

from local_sagemaker.access import Access
from local_sagemaker.docker_client.engine import Engine
from local_sagemaker.services import engine_images, quotas
from local_sagemaker.services.aws import with_operations
from local_sagemaker.services.engine_images import EngineImages
from local_sagemaker.state import ACCOUNT

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_JSON = "application/x-amz-json-1.1"

_TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def neighbours(behind: WSGIApplication, engine: Engine, access: Access) -> WSGIApplication:
    """Return `behind`, with what it lacks in front."""

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        operation = target.rpartition(".")[2]
        if environ["PATH_INFO"].startswith(engine_images.CONFIG_PATH):
            return _json(start_response, engine_images.configuration(engine, environ["PATH_INFO"]))
        if target.startswith("ServiceQuotas") and operation == "ListServiceQuotas":
            return _json(start_response, quotas.list_service_quotas(_body(environ)))
        if target.startswith("AmazonEC2ContainerRegistry") and operation == "GetDownloadUrlForLayer":
            return _json(start_response, engine_images.download_url(environ["HTTP_HOST"], access, _body(environ)))
        if "/iam/" in environ.get("HTTP_AUTHORIZATION", "") and environ["REQUEST_METHOD"] == "POST":
            answer = _iam(_form(environ))
            if answer is not None:
                return _xml(start_response, answer)
        return behind(environ, start_response)

    return with_operations(application, {"ecr": EngineImages(engine)}, lambda region: region)


def _iam(form: dict[str, list[str]]) -> str | None:
    """Make the role that is asked for, and let everybody do everything."""
    action = form.get("Action", [""])[0]
    if action == "GetRole":
        name = form.get("RoleName", [""])[0]
        backend = iam_backends[ACCOUNT]["aws"]
        try:
            backend.get_role(name)
        except NotFoundException:
            backend.create_role(name, json.dumps(_TRUST), "/", None, "", [], "3600")
        return None  # moto tells the rest
    if action != "SimulatePrincipalPolicy":
        return None
    actions = [values[0] for key, values in form.items() if key.startswith("ActionNames.member.")]
    members = "".join(
        f"<member><EvalActionName>{_escaped(name)}</EvalActionName><EvalDecision>allowed</EvalDecision></member>"
        for name in actions
    )
    results = f"<EvaluationResults>{members}</EvaluationResults><IsTruncated>false</IsTruncated>"
    return (
        "<SimulatePrincipalPolicyResponse>"
        f"<SimulatePrincipalPolicyResult>{results}</SimulatePrincipalPolicyResult>"
        "</SimulatePrincipalPolicyResponse>"
    )


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _read(environ: WSGIEnvironment) -> bytes:
    """Read a body, and leave it to be read again."""
    content: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(content)
    return content


def _body(environ: WSGIEnvironment) -> dict[str, Any]:
    try:
        body = json.loads(_read(environ) or b"{}")
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _form(environ: WSGIEnvironment) -> dict[str, list[str]]:
    return parse_qs(_read(environ).decode("utf-8", "replace"))


def _json(start_response: StartResponse, document: dict[str, Any]) -> Iterable[bytes]:
    return _answer(start_response, _JSON, json.dumps(document).encode())


def _xml(start_response: StartResponse, document: str) -> Iterable[bytes]:
    return _answer(start_response, "text/xml", document.encode())


def _answer(start_response: Callable[..., Any], kind: str, content: bytes) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", kind), ("Content-Length", str(len(content)))])
    return [content]
