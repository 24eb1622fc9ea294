"""What S3 was told of buckets and objects beside their bytes, kept: tags, policies, versioning, CORS, lifecycles, ACLs.

    settings = BucketSettings(state.folder / "s3-settings.jsonl", files, behind, moto)  # itself a WSGI application
    settings.replay()                                                               # once the buckets are there

The last request for each of them is told moto again when the server is started anew. An object that is replaced or
deleted has none any more, and a bucket that is deleted none of its own.
"""

from __future__ import annotations

import base64
import io
import json
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl
from xml.sax.saxutils import escape

from local_sagemaker.aws_request import content_length, read_aws_request
from local_sagemaker.state_files import StateFiles, append, write

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_NAMES = frozenset(
    {
        *("accelerate", "acl", "cors", "encryption", "legal-hold", "lifecycle", "logging", "notification"),
        *("object-lock", "ownershipControls", "policy", "publicAccessBlock", "replication", "retention", "tagging"),
        *("versioning", "website"),
    }
)
"""Subresources, by their names in a request's query."""

_LARGEST = 4 << 20

_SCOPE = "AWS4-HMAC-SHA256 Credential=local/20200101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"

Key = tuple[str, str]
"""Path of a bucket or an object, and the name of a setting."""

Entry = dict[str, Any]


class BucketSettings:
    """A WSGI application in front of S3."""

    def __init__(self, path: Path, files: StateFiles, behind: WSGIApplication, moto: WSGIApplication) -> None:
        self._path = path
        self._behind = behind
        self._moto = moto
        self._lock = threading.Lock()
        lines = files.read(path, bytes.splitlines, "settings of buckets and tags of objects") or []
        self._kept: dict[Key, Entry] = {}
        for entry in filter(None, map(_entry, lines)):
            key = (entry["path"], entry["name"])
            self._kept.pop(key, None)
            if "body" in entry:
                self._kept[key] = entry

    def replay(self) -> None:
        """Tell moto everything again, and keep no more than that."""
        for entry in self._kept.values():
            body = base64.b64decode(entry["body"])
            environ = entry.get("headers", {}) | {
                "REQUEST_METHOD": "PUT",
                "PATH_INFO": entry["path"],
                "QUERY_STRING": entry["name"],
                "HTTP_AUTHORIZATION": _SCOPE,
                "HTTP_HOST": "127.0.0.1",
                "CONTENT_LENGTH": str(len(body)),
                "wsgi.input": io.BytesIO(body),
                "wsgi.errors": sys.stderr,
                "wsgi.url_scheme": "http",
                "SERVER_NAME": "127.0.0.1",
                "SERVER_PORT": "80",
                "SCRIPT_NAME": "",
            }
            b"".join(self._moto(environ, lambda *_: lambda _: None))  # one of an object that has gone is refused
        if self._path.exists():
            write(self._path, b"".join(map(_line, self._kept.values())))

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Pass a request on, and keep what it sets."""
        if environ["REQUEST_METHOD"] not in ("PUT", "DELETE") or read_aws_request(environ).service != "s3":
            return self._behind(environ, start_response)
        query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        name = next(iter(_NAMES & query.keys()), "")
        body = b""
        if name:
            size = content_length(environ)
            if size is not None and size > _LARGEST:
                return self._behind(environ, start_response)  # which refuses it
            body = environ["wsgi.input"].read(_LARGEST if size is None else size)
            environ = environ | {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
            environ.pop("wsgi.input_terminated", None)
            environ.pop("HTTP_TRANSFER_ENCODING", None)
        statuses: list[str] = []

        def remember(status: str, headers: list[tuple[str, str]], *others: Any) -> Any:  # noqa: ANN401 - WSGI's
            statuses.append(status)
            return start_response(status, headers, *others)

        answer = list(self._behind(environ, remember))
        if statuses[-1].startswith("2") and not {"versionId", "uploadId"} & query.keys():
            self._take(environ, name, body)
        return answer

    def _take(self, environ: WSGIEnvironment, name: str, body: bytes) -> None:
        path, is_put = environ["PATH_INFO"].rstrip("/") or "/", environ["REQUEST_METHOD"] == "PUT"
        acl = {"HTTP_X_AMZ_ACL": environ["HTTP_X_AMZ_ACL"]} if "HTTP_X_AMZ_ACL" in environ else {}
        with self._lock:
            if name and is_put:
                self._keep(path, name, body, acl)
            elif name:
                self._forget((path, name))
            else:
                for key in [key for key in self._kept if key[0] == path]:
                    self._forget(key)
                if is_put and "HTTP_X_AMZ_TAGGING" in environ:
                    self._keep(path, "tagging", _tags(environ["HTTP_X_AMZ_TAGGING"]), {})
                if is_put and acl:
                    self._keep(path, "acl", b"", acl)

    def _keep(self, path: str, name: str, body: bytes, headers: dict[str, str]) -> None:
        entry = {"path": path, "name": name, "body": base64.b64encode(body).decode(), "headers": headers}
        append(self._path, _line(entry), synced=True)
        self._kept[path, name] = entry

    def _forget(self, key: Key) -> None:
        if key in self._kept:
            append(self._path, _line({"path": key[0], "name": key[1]}), synced=True)
            del self._kept[key]


def _entry(line: bytes) -> Entry | None:
    """Return what a line says; None for one that was cut."""
    try:
        entry = json.loads(line)
        base64.b64decode(entry.get("body", ""), validate=True)
        is_whole = isinstance(entry["path"], str) and entry["name"] in _NAMES
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return entry if is_whole else None


def _line(entry: Entry) -> bytes:
    return json.dumps(entry).encode() + b"\n"


def _tags(header: str) -> bytes:
    """Return tags as the body of PutObjectTagging, from a header of PutObject."""
    tags = "".join(
        f"<Tag><Key>{escape(key)}</Key><Value>{escape(value)}</Value></Tag>"
        for key, value in parse_qsl(header, keep_blank_values=True)
    )
    return f'<Tagging xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><TagSet>{tags}</TagSet></Tagging>'.encode()
