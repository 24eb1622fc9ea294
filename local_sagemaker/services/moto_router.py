"""Which of moto's services answers a request: the one that it is signed for, and no other.

    moto = Router(access)

Moto itself guesses, and takes S3 where it knows nothing; its control API and its instance metadata answer anybody. What
is for none of the services here is a NotImplementedError, of which api/dispatcher.py makes an error that names it.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from moto.moto_server.werkzeug_app import create_backend_app

from local_sagemaker.auth import Access
from local_sagemaker.aws_request import AwsRequest, form_of, is_form, read_aws_request
from local_sagemaker.state import ACCOUNT

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

SERVICES = {
    "cloudformation": "cloudformation",
    "ecr": "ecr",
    "iam": "iam",
    "kms": "kms",
    "logs": "logs",
    "monitoring": "cloudwatch",
    "s3": "s3",
    "sagemaker": "sagemaker",
    "servicequotas": "service-quotas",
    "sts": "sts",
}
"""Signing name -> moto's name."""

_CREDENTIALS = ("AssumeRole", "CreateAccessKey", "GetFederationToken", "GetSessionToken")
"""Beginnings of the operations that answer with credentials."""

_ISSUED = re.compile(rb"<AccessKeyId>([A-Z0-9]{16,128})</AccessKeyId>")


class Router:
    """A WSGI application: moto's services by the requests' signing names."""

    def __init__(self, access: Access) -> None:
        os.environ["MOTO_ACCOUNT_ID"] = (
            ACCOUNT  # else a key or a header may choose an account, of which nothing is kept
        )
        self._access = access
        self._lock = threading.Lock()
        self._applications: dict[str, WSGIApplication] = {}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request by its service; raise NotImplementedError where there is none."""
        call = read_aws_request(environ)
        service = call.service or ("sts" if call.protocol == "query" else "")
        if service not in SERVICES or (service != "s3" and not _is_operation(environ, call)):
            raise NotImplementedError(f"{service}: {environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
        if service == "s3":
            if is_form(
                environ
            ):  # what urllib and curl call any body; moto would look for fields in it, and keep nothing
                environ = environ | {"CONTENT_TYPE": "binary/octet-stream"}
            return self._answer(service, environ, start_response)
        if service in ("sts", "iam"):
            return self._with_credentials(service, environ, start_response)
        return self._answer(service, environ, start_response)

    def _answer(self, service: str, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        name: Any = SERVICES[service]
        with self._lock:
            if name not in self._applications:
                self._applications[name] = create_backend_app(name)
        return self._applications[name](environ, start_response)

    def _with_credentials(
        self, service: str, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer, and let in whom the answer gives an access key."""
        gives = form_of(environ).get("Action", "").startswith(_CREDENTIALS)
        statuses: list[str] = []

        def remember(status: str, headers: list[tuple[str, str]], *others: Any) -> Any:  # noqa: ANN401 - WSGI's
            statuses.append(status)
            return start_response(status, headers, *others)

        if "HTTP_AUTHORIZATION" not in environ:  # a presigned address, or a web identity: moto reads headers only
            environ = environ | {"HTTP_AUTHORIZATION": _header(service)}
        body = b"".join(self._answer(service, environ, remember))
        if gives and statuses[-1].startswith("2"):
            for key in _ISSUED.findall(body):
                self._access.issue(key.decode())
        return [body]


def _is_operation(environ: WSGIEnvironment, call: AwsRequest) -> bool:
    """Tell an operation of the protocols that these services have: by a header, a form, or a path of its own."""
    path = str(environ["PATH_INFO"])
    if call.protocol == "cbor":
        return path.startswith("/service/")
    return path == "/" and call.protocol in ("json", "query")


def _header(service: str) -> str:
    return (
        f"AWS4-HMAC-SHA256 Credential=local/20200101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
    )
