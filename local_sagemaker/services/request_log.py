"""What moto's services but S3 were told, line by line, and told again when the server is started anew.

    log = RequestLog(state.folder / "journal.jsonl", moto)     # itself a WSGI application, in front of moto
    log.replay()

Only what changes something is kept: repositories, roles, log groups that a user makes. Times are those of the replay.
"""

from __future__ import annotations

import base64
import io
import json
import re
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from local_sagemaker.state_files import StateFiles, append, write

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_READING = re.compile(r"(Describe|List|Get|BatchGet|BatchCheck|Search|Filter|Simulate|AssumeRole|Start|Test)")
_HEADERS = ("HTTP_AUTHORIZATION", "HTTP_X_AMZ_TARGET", "HTTP_HOST", "CONTENT_TYPE", "HTTP_X_AMZ_DATE")
_LARGEST = 1 << 20


class RequestLog:
    """Passes requests on, and keeps those that have changed something."""

    def __init__(self, path: Path, behind: WSGIApplication, files: StateFiles | None = None) -> None:
        self._path = path
        self._files = files or StateFiles()
        self._behind = behind
        self._lock = threading.Lock()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Pass a request on."""
        body = _read(environ)
        if body is None:
            return self._behind(environ, start_response)
        statuses: list[str] = []

        def remember(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:  # noqa: ANN401 - WSGI's
            statuses.append(status)
            return start_response(status, headers, *rest)

        answer = b"".join(self._behind(environ, remember))
        if statuses[-1].startswith("2"):
            self._keep(environ, body)
        return [answer]

    def replay(self) -> None:
        """Tell moto everything again; a line that it does not take goes into the file that is put aside."""
        held = "what ECR, IAM, logs and the other services beside S3 were told"
        lines = self._files.read(self._path, bytes.splitlines, held) or []
        taken = [line for line in lines if self._was_told(line)]
        if len(taken) < len(lines):
            reason = f"{len(lines) - len(taken)} of {len(lines)} lines are no requests"
            self._files.put_aside(self._path, reason, f"{held}; the other lines are in use")
            write(self._path, b"".join(line + b"\n" for line in taken))

    def _was_told(self, line: bytes) -> bool:
        try:
            entry = json.loads(line)
            body = base64.b64decode(entry.pop("body"))
            environ = entry | {
                "CONTENT_LENGTH": str(len(body)),
                "wsgi.input": io.BytesIO(body),
                "wsgi.errors": sys.stderr,
                "wsgi.url_scheme": "http",
                "SERVER_NAME": "127.0.0.1",
                "SERVER_PORT": "80",
                "SCRIPT_NAME": "",
            }
            b"".join(self._behind(environ, lambda *_: lambda _: None))
        except Exception:  # noqa: BLE001 - moto may stumble over anything that is no request of an SDK
            return False
        return True

    def _keep(self, environ: WSGIEnvironment, body: bytes) -> None:
        names = ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", *_HEADERS)
        entry = {name: environ[name] for name in names if name in environ}
        line = json.dumps(entry | {"body": base64.b64encode(body).decode()}) + "\n"
        with self._lock:
            append(self._path, line.encode(), synced=True)


def _read(environ: WSGIEnvironment) -> bytes | None:
    """Return the body of a request that changes something outside S3, and leave it to be read again; else None."""
    size = int(environ.get("CONTENT_LENGTH") or 0)
    if environ["REQUEST_METHOD"] != "POST" or size > _LARGEST:
        return None
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    is_form = environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded")
    if not target and not is_form:
        return None
    body: bytes = environ["wsgi.input"].read(size)
    environ["wsgi.input"] = io.BytesIO(body)
    action = parse_qs(body.decode("latin-1")).get("Action", [""])[0]
    operation = target.rpartition(".")[2] if target else action
    return None if not operation or _READING.match(operation) else body
