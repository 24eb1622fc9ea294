"""ECR on loopback: moto's ECR API, Debian's docker-registry with a password, and what ECR adds to a registry.

    with running(folder, program) as ecr: ...   # ecr.endpoint is AWS_ENDPOINT_URL; repositories are on the same port

The registry is real, and so is its login: moto's token decodes to the password. In front of it go ECR's refusals
(immutable tags, expired tokens, missing permissions) in ECR's words. A second registry is killed in the middle of an
upload.
"""

from __future__ import annotations

import base64
import functools
import http.client
import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from unittest import mock

import boto3
import pytest
from moto.ecr.models import Repository
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wsgi import get_input_stream

ACCOUNT = "123456789012"
REGION = "eu-central-1"
LOGIN = f"AWS:{ACCOUNT}-auth-token"
HTPASSWD = "AWS:$2b$04$6nDzA4d31MOaTkzObGYe5e7OP2dsS5onsmFWl1m3GyjDSzaN1MLja\n"
"""LOGIN, which moto's authorization token decodes to."""

MANIFESTS = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
)

CONFIGURATION = """
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {folder}/blobs}}}}
http: {{addr: "127.0.0.1:{port}"}}
auth: {{htpasswd: {{realm: ECR, path: {folder}/htpasswd}}}}
"""

Headers = list[tuple[str, str]]
Respond = Callable[[str, Headers], Any]


class Registry:
    """docker-registry, a process of its own, with its storage below a folder."""

    def __init__(self, folder: Path, program: str) -> None:
        self._folder, self._program = folder, program
        folder.mkdir()
        (folder / "htpasswd").write_text(HTPASSWD, encoding="utf-8")

    def start(self) -> None:
        """Start it on a free port, with what it has stored so far."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        configuration, log = self._folder / "registry.yml", self._folder / "registry.log"
        configuration.write_text(CONFIGURATION.format(folder=self._folder, port=self.port), encoding="utf-8")
        with log.open("ab") as output:
            command = [self._program, "serve", str(configuration)]
            self._process = subprocess.Popen(command, stdout=output, stderr=output)
        deadline = time.monotonic() + 20
        while not _listens(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(log.read_text(encoding="utf-8"))
            time.sleep(0.05)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()
        self._process.wait()


class EcrStandIn:
    """The WSGI application, and the knobs that tests turn."""

    def __init__(self, folder: Path, program: str) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)
        self.registry = Registry(folder / "registry", program)
        self.mortal = Registry(folder / "mortal", program)
        """Has the repositories below mortal/, and dies at the first piece of a layer, until it is started again."""
        self.has_died = threading.Event()
        self.port = 0
        self.reset()

    def reset(self) -> None:
        """Set every knob to where a test expects it."""
        self.calls: list[str] = []
        """The API's operations, and method and kind of each request to the registry: PUT manifests."""
        self.denied: set[str] = set()
        """IAM actions that the caller lacks: ecr:InitiateLayerUpload."""
        self.session_expired = False
        """Of the AWS credentials."""
        self.login_expires = False
        """Whether the registry's token is over as soon as it has been used once, to log in."""

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @functools.cache  # noqa: B019 - one stand-in a session
    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.endpoint,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )

    def registry_get(self, path: str) -> bytes | None:
        """Return what the registry itself has at NAME/manifests/REFERENCE or NAME/blobs/DIGEST."""
        connection = http.client.HTTPConnection("127.0.0.1", self.registry.port, timeout=60)
        headers = {
            "Authorization": f"Basic {base64.b64encode(LOGIN.encode()).decode()}",
            "Accept": ", ".join(MANIFESTS),
        }
        connection.request("GET", f"/v2/{path}", headers=headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return content if answer.status == 200 else None

    def __call__(self, environ: dict[str, Any], start_response: Respond) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith("/v2/"):
            return self._registry_request(environ, start_response)
        operation = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        self.calls.append(operation)
        error = self._refusal(operation, environ.get("HTTP_AUTHORIZATION", ""))
        if error:
            start_response("400 Bad Request", [("Content-Type", "application/x-amz-json-1.1")])
            return [json.dumps({"__type": error[0], "message": error[1]}).encode()]
        answer: Iterable[bytes] = self._moto(environ, start_response)
        return answer

    def _refusal(self, operation: str, authorization: str) -> tuple[str, str] | None:
        if self.session_expired:
            return "ExpiredTokenException", "The security token included in the request is expired"
        if "Credential=testing/" not in authorization:
            return "UnrecognizedClientException", "The security token included in the request is invalid."
        if f"ecr:{operation}" in self.denied:
            return "AccessDeniedException", _not_authorized(f"ecr:{operation}")
        return None

    def _registry_request(self, environ: dict[str, Any], start_response: Respond) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if path.startswith("/v2/mortal/"):
            return self._forward(environ, start_response, self.mortal.port)
        kind = next((kind for kind in ("manifests", "uploads", "blobs") if f"/{kind}/" in path), "login")
        self.calls.append(f"{method} {kind}")
        refusal = self._registry_refusal(environ, method, kind)
        if refusal is None:
            return self._forward(environ, start_response, self.registry.port)
        status, code, message = refusal
        # What is left of the request has to be read: the client is still writing.
        for _ in _pieces(get_input_stream(environ)):
            pass
        start_response(status, [("Content-Type", "application/json")])
        return [json.dumps({"errors": [{"code": code, "message": message}]}).encode()]

    def _registry_refusal(self, environ: dict[str, Any], method: str, kind: str) -> tuple[str, str, str] | None:
        if kind != "login" and self.login_expires:
            return "403 Forbidden", "DENIED", "Your authorization token has expired. Reauthenticate and try again."
        action = {"uploads": "ecr:InitiateLayerUpload", "manifests": "ecr:PutImage"}.get(kind, "")
        if method in ("POST", "PUT") and action in self.denied:
            return "403 Forbidden", "DENIED", _not_authorized(action)
        if (method, kind) == ("PUT", "manifests") and self._is_taken(environ):
            return "400 Bad Request", "TAG_INVALID", "The image tag already exists, and its repository is immutable."
        return None

    def _is_taken(self, environ: dict[str, Any]) -> bool:
        if "/manifests/sha256:" in environ["PATH_INFO"]:
            return False
        connection = http.client.HTTPConnection("127.0.0.1", self.registry.port, timeout=60)
        headers = {"Authorization": environ["HTTP_AUTHORIZATION"], "Accept": environ["CONTENT_TYPE"]}
        connection.request("HEAD", environ["PATH_INFO"], headers=headers)
        status = connection.getresponse().status
        connection.close()
        return status == 200

    def _forward(self, environ: dict[str, Any], start_response: Respond, port: int) -> Iterable[bytes]:
        method, query = environ["REQUEST_METHOD"], environ.get("QUERY_STRING")
        headers = {
            name.removeprefix("HTTP_").replace("_", "-").title(): text
            for name, text in environ.items()
            if name.startswith("HTTP_") and name != "HTTP_TRANSFER_ENCODING"
        }
        for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            if environ.get(name):
                headers[name.replace("_", "-").title()] = environ[name]
        body = _pieces(get_input_stream(environ)) if method in ("PATCH", "PUT", "POST") else None
        if body and method == "PATCH" and port == self.mortal.port and not self.has_died.is_set():
            body = self._deadly(body)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request(method, environ["PATH_INFO"] + (f"?{query}" if query else ""), body, headers)
            answer = connection.getresponse()
        except (OSError, http.client.HTTPException):
            connection.close()
            # As a load balancer does in front of nothing.
            start_response("502 Bad Gateway", [])
            return [b""]
        answered = [(name, text) for name, text in answer.getheaders() if name.lower() not in ("connection", "date")]
        start_response(f"{answer.status} {answer.reason}", answered)
        return _pieces(answer)

    def _deadly(self, body: Iterator[bytes]) -> Iterator[bytes]:
        for piece in body:
            yield piece
            self.mortal.kill()
            self.has_died.set()


def _pieces(stream: IO[bytes] | http.client.HTTPResponse) -> Iterator[bytes]:
    return iter(lambda: stream.read(1 << 20), b"")


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def _not_authorized(action: str) -> str:
    return (
        f"User: arn:aws:iam::{ACCOUNT}:user/ci is not authorized to perform: {action} on resource: arn:aws:ecr:"
        f"{REGION}:{ACCOUNT}:repository/star-rating because no identity-based policy allows the {action} action"
    )


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002
        pass


@contextmanager
def running(folder: Path, program: str) -> Iterator[EcrStandIn]:
    """Serve the stand-in on a free port of loopback, with repositories whose address is there."""
    stand_in = EcrStandIn(folder, program)
    server = make_server("127.0.0.1", 0, stand_in, threaded=True, request_handler=_Quiet)
    stand_in.port = server.server_port
    stand_in.registry.start()
    stand_in.mortal.start()
    original = Repository.__init__

    def at_our_port(self: Any, *arguments: Any, **options: Any) -> None:
        original(self, *arguments, **options)
        self.uri = f"127.0.0.1:{stand_in.port}/{self.name}"

    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with mock.patch.object(Repository, "__init__", at_our_port):
            yield stand_in
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        stand_in.registry.kill()
        stand_in.mortal.kill()
