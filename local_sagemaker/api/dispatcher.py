"""AWS's services by botocore's models, in any protocol: what moto does not answer as AWS does, and what it lacks.

    application = with_operations(moto, {"logs": cloudwatch_logs}, context_of)

A module or an object has a function for each operation that it answers, as in local_sagemaker/api/handlers. What
neither it nor moto has is one error that names the operation: for moto's page with status 500 clients ask again.
"""

from __future__ import annotations

import io
import logging
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from botocore import xform_name
from botocore.exceptions import DataNotFoundError, UnknownServiceError
from botocore.utils import parse_to_aware_datetime
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request, determine_request_protocol
from moto.core.routing import get_service_router
from moto.core.serialize import SerializationContext, get_serializer_class
from werkzeug.exceptions import NotFound

from local_sagemaker.api.validators.shapes import refuse_what_breaks
from local_sagemaker.aws_request import AwsRequest, content_length, form_of, read_aws_request, refuse
from local_sagemaker.errors import ApiError
from local_sagemaker.state import REGION
from local_sagemaker.state_files import StorageError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_log = logging.getLogger(__name__)

_SCOPE = re.compile(r"Credential=[^/,&\s]*/[0-9]{8}/([a-z0-9-]+)/[a-z0-9-]+/aws4_request")

_SIGNED_AS = {
    "ecr": ("ecr",),
    "iam": ("iam",),
    "logs": ("logs",),
    "monitoring": ("cloudwatch",),
    "sagemaker": ("sagemaker-metrics", "sagemaker-runtime", "sagemaker-featurestore-runtime"),
    "servicequotas": ("service-quotas",),
}
"""Name that a request is signed with -> the services that it may be for."""

_INVALID = {
    "ecr": "InvalidParameterException",
    "iam": "ValidationError",
    "logs": "InvalidParameterException",
    "sagemaker-runtime": "ValidationError",
}
"""Service -> its code for a request that its model forbids, where that is not ValidationException."""

_PAGE = re.compile(rb"\s*<(!doctype html|html)", re.IGNORECASE)

_S3_IGNORED = {
    *("abac", "analytics", "annotation", "annotations", "intelligent-tiering", "metadataAnnotationTable"),
    *("metadataConfiguration", "metadataInventoryTable", "metadataJournalTable", "metadataTable", "metrics"),
    *("renameObject", "requestPayment", "session", "torrent"),
}
"""Subresources that moto passes over, so that it would list or make a bucket instead, or overwrite an object."""

_NOT_THERE = 501
"""Status of what is not here: neither botocore nor AWS's other SDKs try such a request again."""


def with_operations(
    behind: WSGIApplication, services: Mapping[str, object], context_of: Callable[[str], object]
) -> WSGIApplication:
    """Return `behind`, with the operations of `services` (by botocore's name) in front.

    An operation is a function of what `context_of` makes of the request's region and of the parsed request; it returns
    the answer, or None to leave it to `behind`, or raises ApiError.
    """

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        call = read_aws_request(environ)
        for service in _SIGNED_AS.get(call.service, ()) if call.protocol != "cbor" else ():
            operations = services.get(service)
            try:
                answer = _answered(environ, service, operations, context_of) if operations else None
            except ApiError as error:
                return refuse(start_response, call, error.status, error.code, error.message, **error.details)
            if answer is not None:
                return _write(start_response, *answer)
        return _or_one_error(behind, call, environ, start_response)

    return application


Document = dict[str, Any]

Answer = tuple[int, Mapping[str, str], bytes]


def _answered(
    environ: WSGIEnvironment, service: str, operations: object, context_of: Callable[[str], object]
) -> Answer | None:
    """Return an operation's answer; None if there is none, and the request can be read again; raise ApiError."""
    body = _read(environ)
    request = Request(environ)
    try:
        operation, in_path = get_service_router(service).match(request)
    except (NotFound, NotImplementedError):
        return None
    finally:
        environ["wsgi.input"] = io.BytesIO(body)
    perform = getattr(operations, xform_name(operation.name), None)
    if perform is None:
        return None
    protocol = determine_request_protocol(operation.service_model, request.content_type)
    try:
        parsed = _parsed(request, operation, protocol, in_path)
        refuse_what_breaks(operation.input_shape, parsed, _INVALID.get(service, "ValidationException"))
        result = perform(context_of(_region(environ)), parsed)
    except Exception as error:  # noqa: BLE001 - a defect of one operation is an answer, and the server goes on
        raise _api_error(error, operation.name) from None
    if result is None:
        environ["wsgi.input"] = io.BytesIO(body)
        return None
    serializer = get_serializer_class(service, protocol)(operation, SerializationContext(str(uuid.uuid4())))
    written = serializer.serialize(result)
    content = written["body"]
    # moto's serializer writes its own Content-Type over one that is the answer's.
    headers = {**written["headers"], **_content_type(operation, result)}
    return written["status_code"], headers, content.encode() if isinstance(content, str) else content


def _content_type(operation: Any, result: Document) -> dict[str, str]:  # noqa: ANN401 - botocore's
    """Return the Content-Type of an answer whose shape has one."""
    members = operation.output_shape.members if operation.output_shape else {}
    return {
        member.serialization["name"]: str(result[name])
        for name, member in members.items()
        if member.serialization.get("name") == "Content-Type" and name in result
    }


def _parsed(request: Request, operation: Any, protocol: str, in_path: dict[str, Any]) -> Document:  # noqa: ANN401
    """Return an operation's input, its times in seconds since 1970; raise ApiError."""
    parser = PROTOCOL_PARSERS[protocol](operation, timestamp_parser=lambda at: parse_to_aware_datetime(at).timestamp())
    try:
        parsed: Document = parser.parse(
            {
                "method": request.method,
                "values": request.values,
                "headers": request.headers,
                "body": request.data,
                "url_path": request.path,
                "url_params": in_path,
            }
        )
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        raise ApiError("SerializationException", f"The body of {operation.name} cannot be read") from None
    return parsed


def _or_one_error(
    behind: WSGIApplication, call: AwsRequest, environ: WSGIEnvironment, start_response: StartResponse
) -> Iterable[bytes]:
    """Return what `behind` answers; where that is a defect or a page, one error that names the operation."""
    began: list[tuple[Any, ...]] = []

    def remember(*arguments: Any) -> Any:  # noqa: ANN401 - WSGI's
        began.append(arguments)
        return lambda _: None

    # A body is read once: what stands in it is known before.
    action = form_of(environ).get("Action", "") if call.protocol == "query" else ""

    def one(error: ApiError) -> Iterable[bytes]:
        return refuse(start_response, call, error.status, error.code, error.message)

    if call.service == "s3" and _S3_IGNORED & set(parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)):
        return one(_not_here(call, environ, action))
    try:
        answer = behind(environ, remember)
    except NotImplementedError:
        return one(_not_here(call, environ, action))
    except Exception as defect:  # noqa: BLE001 - as above
        return one(_api_error(defect, _name(call, environ, action)))
    status, headers = int(began[-1][0][:3]), dict(began[-1][1])
    if status >= 400 and headers.get("Content-Type", "").startswith("text/html"):
        content = b"".join(answer)
        if hasattr(answer, "close"):
            answer.close()
        if call.service and _PAGE.match(content):
            return one(_not_here(call, environ, action))
        answer = [content]
    start_response(*began[-1])
    return answer


def _not_here(call: AwsRequest, environ: WSGIEnvironment, action: str) -> ApiError:
    where = f" of {call.service}" if call.service else ""
    code = "NotImplemented" if call.protocol == "s3" else "UnknownOperationException"
    return ApiError(code, f"{_name(call, environ, action)}{where} is not available in the local SageMaker", _NOT_THERE)


def _name(call: AwsRequest, environ: WSGIEnvironment, action: str) -> str:
    """Return an operation's name, which in REST is what stands for method and path in the service's model."""
    path = str(environ["PATH_INFO"])
    if call.protocol == "json":
        return str(environ["HTTP_X_AMZ_TARGET"]).rpartition(".")[2]
    if call.protocol == "cbor":
        return path.rpartition("/")[2]
    if action:
        return action
    for service in _SIGNED_AS.get(call.service, (call.service,)):
        with suppress(NotFound, NotImplementedError, UnknownServiceError, DataNotFoundError):
            return str(get_service_router(service).match(Request(environ))[0].name)
    return f"{environ['REQUEST_METHOD']} {path}"


def _api_error(error: Exception, operation: str) -> ApiError:
    """Return what is said of an exception; a defect's traceback goes to the server's log."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, StorageError):
        return ApiError("ResourceLimitExceeded", str(error))
    _log.error("%s went wrong", operation, exc_info=error)
    text = f"The local SageMaker has a defect in {operation}; its log has the traceback"
    return ApiError("InternalFailure", text, _NOT_THERE)


def _region(environ: WSGIEnvironment) -> str:
    scope = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", "") or unquote(environ.get("QUERY_STRING", "")))
    return scope[1] if scope else REGION


def _read(environ: WSGIEnvironment) -> bytes:
    size = content_length(environ)
    body: bytes = environ["wsgi.input"].read() if size is None else environ["wsgi.input"].read(size)
    environ["wsgi.input"] = io.BytesIO(body)
    return body


def _write(start_response: StartResponse, status: int, headers: Mapping[str, str], content: bytes) -> Iterable[bytes]:
    reason = "OK" if status < 300 else "Error"
    start_response(f"{status} {reason}", [*headers.items(), ("Content-Length", str(len(content)))])
    return [content]
