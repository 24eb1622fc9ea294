"""SageMaker's JSON protocol: a request read from the wire, an answer written to it.

call = read_call(environ)           # operation, region, request; raises ApiError
return write(start_response, 200, {"TrainingJobArn": ...})
"""

from __future__ import annotations

import json
import math
import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local_sagemaker.api.validators.shapes import without_nulls
from local_sagemaker.errors import ApiError
from local_sagemaker.state import REGION

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

SERVICE = "SageMaker"

LARGEST_REQUEST = 4 << 20
"""Bytes; the largest CreateTrainingJob that its model allows is below."""

_SCOPE = re.compile(r"Credential=[^/,\s]*/[0-9]{8}/([a-z0-9-]+)/sagemaker/")

_REASONS = {200: "OK", 400: "Bad Request", 413: "Payload Too Large", 500: "Internal Server Error"}


@dataclass(frozen=True)
class ApiCall:
    """What somebody wants."""

    operation: str
    region: str
    request: dict[str, Any]


def is_sagemaker(environ: WSGIEnvironment) -> bool:
    """Tell whether a request is for SageMaker."""
    return str(environ.get("HTTP_X_AMZ_TARGET", "")).startswith(f"{SERVICE}.")


def operation_of(environ: WSGIEnvironment) -> str:
    """Return the operation that a request names."""
    return str(environ["HTTP_X_AMZ_TARGET"]).partition(".")[2]


def read_call(environ: WSGIEnvironment) -> ApiCall:
    """Return the call of a request; raise ApiError for a body that is no JSON object, or too large."""
    try:
        size = int(environ.get("CONTENT_LENGTH") or 0)
    except ValueError:
        raise ApiError("SerializationException", "Content-Length is no number") from None
    if size > LARGEST_REQUEST:
        raise ApiError("RequestEntityTooLargeException", f"A request may have {LARGEST_REQUEST} bytes", 413)
    try:
        request = json.loads(environ["wsgi.input"].read(size) or b"{}")
    except (ValueError, RecursionError):
        raise ApiError("SerializationException", "Unable to parse the body: it is not JSON") from None
    if not isinstance(request, dict):
        raise ApiError("SerializationException", "Unexpected value type in payload")
    scope = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
    return ApiCall(operation_of(environ), scope[1] if scope else REGION, without_nulls(request))


def _without_not_finite(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a document without the members that JSON has no number for: one job's NaN fails no list of all jobs."""
    if isinstance(value, dict):
        return {name: _without_not_finite(member) for name, member in value.items() if not _is_not_finite(member)}
    if isinstance(value, list):
        return [_without_not_finite(entry) for entry in value if not _is_not_finite(entry)]
    return value


def _is_not_finite(value: Any) -> bool:  # noqa: ANN401 - JSON
    return isinstance(value, float) and not math.isfinite(value)


def write(start_response: StartResponse, status: int, document: dict[str, Any]) -> Iterable[bytes]:
    """Write an answer, with a request id as AWS has it."""
    body = json.dumps(_without_not_finite(document), allow_nan=False).encode()
    headers = [
        ("Content-Type", "application/x-amz-json-1.1"),
        ("Content-Length", str(len(body))),
        ("x-amzn-RequestId", str(uuid.uuid4())),
    ]
    start_response(f"{status} {_REASONS.get(status, 'Error')}", headers)
    return [body]
