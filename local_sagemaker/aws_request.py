"""A request of AWS's API as it comes over HTTP: for which service, by whom, in which protocol; and refusals in it.

    call = read_aws_request(environ)                     # AwsRequest("s3", "LOCAL...", "s3")
    return refuse(start_response, call, 403, "AccessDenied", "Access Denied")

A service is known by the signature alone, wherever it stands: header, presigned URL or form. Nothing is guessed from
paths and bodies, so that no service answers for another one.
"""

from __future__ import annotations

import io
import json
import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from local_sagemaker.errors import ApiError

if TYPE_CHECKING:
    from _typeshed.wsgi import InputStream, StartResponse, WSGIEnvironment

Protocol = Literal["s3", "json", "query", "cbor", "rest-json"]

_V4 = re.compile(r"AWS4-[A-Z0-9-]+\s.*?Credential=([^/,\s]+)/([^,\s]*)")
_V2 = re.compile(r"AWS ([^:\s]+):")
_FORM_FIELD = re.compile(
    rb"name=\"?(x-amz-credential|AWSAccessKeyId)\"?[^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n([^\r\n]*)", re.IGNORECASE
)
_FORM = "application/x-www-form-urlencoded"

_PEEKED = 64 << 10
"""Bytes of a body that are looked into: fields come before the file in a form, and a form without one is shorter."""

_MOST_DIGITS = 18
"""Of a body's length: what is longer is no number that files and buffers take."""

_REASONS = {
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    424: "Failed Dependency",
    501: "Not Implemented",
}


@dataclass(frozen=True)
class AwsRequest:
    """Who asks for what."""

    service: str
    """Signing name: s3, sts, monitoring, ...; empty if the request is not signed."""
    key: str
    """Access key id; empty if there is none."""
    protocol: Protocol
    is_head: bool = False


def read_aws_request(environ: WSGIEnvironment) -> AwsRequest:
    """Return the call of a request; the body is left to be read."""
    authorization = environ.get("HTTP_AUTHORIZATION", "")
    query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    service, key = _signed_by(authorization)
    if not key and not authorization:
        if "X-Amz-Credential" in query:
            service, key = _scope(query["X-Amz-Credential"][-1])
        elif "AWSAccessKeyId" in query:
            service, key = "s3", query["AWSAccessKeyId"][-1]
        elif environ.get("CONTENT_TYPE", "").startswith("multipart/form-data") and environ["REQUEST_METHOD"] == "POST":
            service, key = _signed_form(peek(environ))
    return AwsRequest(service, key, _protocol(environ, service, query), environ["REQUEST_METHOD"] == "HEAD")


def peek(environ: WSGIEnvironment) -> bytes:
    """Return how a request's body begins, and leave the body to be read again."""
    size = content_length(environ)
    wanted = _PEEKED if size is None else min(size, _PEEKED)
    if not wanted:
        return b""
    stream = environ["wsgi.input"]
    begun: bytes = stream.read(wanted)
    environ["wsgi.input"] = _Again(begun, stream)
    return begun


def content_length(environ: WSGIEnvironment) -> int | None:
    """Return a body's length, 0 without one, None for one that comes in chunks; raise ValueError for nonsense."""
    if environ.get("wsgi.input_terminated"):
        return None
    text = environ.get("CONTENT_LENGTH") or "0"
    if not (text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS):
        raise ValueError(f"Content-Length is {text[:100]!r}, and is to be a number of at most {_MOST_DIGITS} digits")
    return int(text)


def form_of(environ: WSGIEnvironment) -> dict[str, str]:
    """Return the fields of a request in AWS's query protocol, of its body or its address; the body stays."""
    text = peek(environ).decode("utf-8", "replace") if is_form(environ) else environ.get("QUERY_STRING", "")
    return {name: values[-1] for name, values in parse_qs(text).items()}


def refuse(
    start_response: StartResponse, call: AwsRequest, status: int, code: str, message: str, **details: object
) -> Iterable[bytes]:
    """Answer with an error as the call's protocol has it; JSON has its details too."""
    request_id = str(uuid.uuid4())
    headers = [("x-amzn-RequestId", request_id), ("x-amz-request-id", request_id)]
    match call.protocol:
        case "s3":
            kind = "application/xml"
            inside = f"<Code>{code}</Code><Message>{escape(message)}</Message><RequestId>{request_id}</RequestId>"
            body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inside}<HostId>local</HostId></Error>'.encode()
        case "query":
            kind = "text/xml"
            inside = f"<Type>Sender</Type><Code>{code}</Code><Message>{escape(message)}</Message>"
            text = f"<ErrorResponse><Error>{inside}</Error><RequestId>{request_id}</RequestId></ErrorResponse>"
            body = text.encode()
        case "cbor":
            kind = "application/cbor"
            headers += [("smithy-protocol", "rpc-v2-cbor"), ("x-amzn-query-error", f"{code};Sender")]
            body = b"\xa2" + b"".join(map(_cbor_text, ("__type", code, "message", message)))
        case _:
            kind = "application/x-amz-json-1.1" if call.protocol == "json" else "application/json"
            headers.append(("x-amzn-errortype", code))
            body = json.dumps({"__type": code, "message": message, "Message": message} | details).encode()
    start_response(
        f"{status} {_REASONS[status]}", [("Content-Type", kind), ("Content-Length", str(len(body))), *headers]
    )
    return [] if call.is_head else [body]


def _signed_by(authorization: str) -> tuple[str, str]:
    """Return service and access key id of an Authorization header."""
    if found := _V4.match(authorization):
        return _scope(f"{found[1]}/{found[2]}")
    if found := _V2.match(authorization):
        return "s3", found[1]  # nobody else has taken signature version 2 for years
    return "", ""


def _scope(credential: str) -> tuple[str, str]:
    """Return service and access key id of KEY/DATE/REGION/SERVICE/aws4_request; version 4A has no region."""
    key, *scope = credential.split("/")
    return (scope[-2].lower(), key) if len(scope) in (3, 4) and scope[-1] == "aws4_request" else ("", "")


def _signed_form(body: bytes) -> tuple[str, str]:
    """Return service and access key id of a form that a browser posts to S3."""
    found = _FORM_FIELD.search(body)
    if found is None:
        return "", ""
    value = found[2].decode("utf-8", "replace").strip()
    return ("s3", value) if found[1].lower() == b"awsaccesskeyid" else _scope(value)


def _protocol(environ: WSGIEnvironment, service: str, query: dict[str, list[str]]) -> Protocol:
    if "HTTP_X_AMZ_TARGET" in environ:
        return "json"
    if environ.get("HTTP_SMITHY_PROTOCOL") == "rpc-v2-cbor":
        return "cbor"
    if service == "s3":
        return "s3"
    if "Action" in query or (is_form(environ) and environ["REQUEST_METHOD"] == "POST"):
        return "query"
    return "rest-json" if service else "s3"


def is_form(environ: WSGIEnvironment) -> bool:
    """Tell a body that is said to be a form's fields."""
    return str(environ.get("CONTENT_TYPE", "")).startswith(_FORM)


def _cbor_text(text: str) -> bytes:
    """Encode a text as CBOR: major type 3, with a length of two bytes."""
    content = text.encode()[:65535]
    return b"\x79" + len(content).to_bytes(2) + content


class BrokenBodyError(ApiError):
    """A body in chunks that are none, or that end before the body does."""

    def __init__(self) -> None:
        super().__init__("IncompleteBody", "The body's chunks are cut, or are no chunks.")


def dechunked(stream: InputStream) -> io.BufferedReader:
    """Return what a body in HTTP's chunks holds; reading raises BrokenBodyError.

    Werkzeug's own reader gives more bytes than came when a client breaks off, which ends the whole process.
    """
    return io.BufferedReader(_Dechunked(stream), _PEEKED)


class _Dechunked(io.RawIOBase):
    """The bytes of a body in chunks: each a size in hexadecimal digits, a line break, bytes, a line break."""

    def __init__(self, stream: InputStream) -> None:
        self._stream = stream
        self._left = 0
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer
        if not self._left and not self._ended:
            self._begin_chunk()
        if self._ended:
            return 0
        content = self._stream.read(min(len(buffer), self._left))
        if not content:
            raise BrokenBodyError
        buffer[: len(content)] = content
        self._left -= len(content)
        if not self._left and self._line().strip():
            raise BrokenBodyError
        return len(content)

    def _begin_chunk(self) -> None:
        size = self._line().partition(b";")[0].strip()
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,15}", size):
            raise BrokenBodyError
        self._left = int(size, 16)
        if not self._left:
            while self._line().strip():
                pass  # a trailer
            self._ended = True

    def _line(self) -> bytes:
        line: bytes = self._stream.readline(_PEEKED)
        if not line.endswith(b"\n"):
            raise BrokenBodyError
        return line


class _Again(io.RawIOBase):
    """A stream of which the beginning has been read, from its beginning."""

    def __init__(self, begun: bytes, rest: InputStream) -> None:
        self._begun = begun
        self._rest = rest

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            content, self._begun = self._begun + self._rest.read(), b""
            return content
        content, self._begun = self._begun[:size], self._begun[size:]
        if len(content) < size:
            content += self._rest.read(size - len(content))
        return content

    def readline(self, size: int | None = -1) -> bytes:
        limit = -1 if size is None else size
        end = self._begun.find(b"\n") + 1
        if end:
            return self.read(end if limit < 0 else min(end, limit))
        if 0 <= limit <= len(self._begun):
            return self.read(limit)
        begun, self._begun = self._begun, b""
        return begun + self._rest.readline(limit if limit < 0 else limit - len(begun))

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)
