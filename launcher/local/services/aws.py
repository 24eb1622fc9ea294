"""AWS's services by botocore's models, in any protocol: what moto does not answer as AWS does, and what it lacks.

    application = with_operations(moto, {"logs": log_queries}, account_of)

A module or an object has a function for each operation that it answers, as in launcher/local/api/operations. What
neither it nor moto has is one error that names the operation: for moto's page with status 500 clients ask again.
"""

from __future__ import annotations

import io
import json
import logging
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote
from xml.sax.saxutils import escape

from botocore import xform_name
from botocore.exceptions import DataNotFoundError, UnknownServiceError
from botocore.utils import parse_to_aware_datetime
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request, determine_request_protocol
from moto.core.routing import get_service_router
from moto.core.serialize import SerializationContext, get_serializer_class
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.exceptions import NotFound

from launcher.local.api.constraints import refuse_what_breaks
from launcher.local.api.errors import ApiError
from launcher.local.files import StorageError
from launcher.local.state import REGION

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_log = logging.getLogger(__name__)

_SCOPE = re.compile(r"Credential=[^/,&\s]*/[0-9]{8}/([a-z0-9-]+)/([a-z0-9-]+)/aws4_request")

_SIGNED_AS = {
    "ecr": ("ecr",),
    "logs": ("logs",),
    "monitoring": ("cloudwatch",),
    "sagemaker": ("sagemaker-metrics", "sagemaker-runtime", "sagemaker-featurestore-runtime"),
}
"""Name that a request is signed with -> the services that it may be for."""

_INVALID = {
    "ecr": "InvalidParameterException",
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


@dataclass(frozen=True)
class _Request:
    """What a request says of itself in its signature, headers, path and form."""

    service: str
    """As in the signature: `monitoring` is CloudWatch; empty for a request without one."""
    region: str
    operation: str
    protocol: str
    """json, query, rest-json, rest-xml, cbor."""


def with_operations(
    behind: WSGIApplication, services: Mapping[str, object], context_of: Callable[[str], object]
) -> WSGIApplication:
    """Return `behind`, with the operations of `services` (by botocore's name) in front.

    An operation is a function of what `context_of` makes of the request's region and of the parsed request; it returns
    the answer, or None to leave it to `behind`, or raises ApiError.
    """

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = _request_of(environ)
        for service in _SIGNED_AS.get(request.service, ()):
            operations = services.get(service)
            answer = _answered(environ, request, service, operations, context_of) if operations else None
            if answer is not None:
                return _write(start_response, *answer)
        return _or_one_error(behind, request, environ, start_response)

    return application


Document = dict[str, Any]

Answer = tuple[int, Mapping[str, str], bytes]


def _answered(
    environ: WSGIEnvironment,
    described: _Request,
    service: str,
    operations: object,
    context_of: Callable[[str], object],
) -> Answer | None:
    """Return an operation's answer; None if there is none, and the request can be read again."""
    body = _read(environ)
    if described.protocol == "cbor":
        return None
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
        result = perform(context_of(described.region), parsed)
    except Exception as error:  # noqa: BLE001 - a defect of one operation is an answer, and the server goes on
        return _error(described, _api_error(error, operation.name))
    if result is None:
        environ["wsgi.input"] = io.BytesIO(body)
        return None
    serializer = get_serializer_class(service, protocol)(operation, SerializationContext(str(uuid.uuid4())))
    written = serializer.serialize(result)
    content = written["body"]
    return written["status_code"], written["headers"], content.encode() if isinstance(content, str) else content


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
    except (ValueError, AttributeError, KeyError, TypeError):
        raise ApiError("SerializationException", f"The body of {operation.name} cannot be read") from None
    return parsed


def _or_one_error(
    behind: WSGIApplication, request: _Request, environ: WSGIEnvironment, start_response: StartResponse
) -> Iterable[bytes]:
    """Return what `behind` answers; where that is a defect or a page, one error that names the operation."""
    began: list[tuple[Any, ...]] = []

    def remember(*arguments: Any) -> Any:  # noqa: ANN401 - WSGI's
        began.append(arguments)
        return lambda _: None

    if request.service == "s3" and _S3_IGNORED & set(parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)):
        return _write(start_response, *_error(request, _not_here(request, environ)))
    try:
        answer = behind(environ, remember)
    except NotImplementedError:
        return _write(start_response, *_error(request, _not_here(request, environ)))
    except Exception as defect:  # noqa: BLE001 - as above
        known = _moto_has_service(environ)
        error = _api_error(defect, request.operation) if known else _not_here(request, environ)
        return _write(start_response, *_error(request, error))
    status, headers = int(began[-1][0][:3]), dict(began[-1][1])
    if status >= 400 and headers.get("Content-Type", "").startswith("text/html"):
        content = b"".join(answer)
        if request.service and _PAGE.match(content):
            return _write(start_response, *_error(request, _not_here(request, environ)))
        answer = [content]
    start_response(*began[-1])
    return answer


def _moto_has_service(environ: WSGIEnvironment) -> bool:
    dispatcher = DomainDispatcherApplication(create_backend_app)
    host = dispatcher.infer_service_region_host(environ, environ["PATH_INFO"])
    return dispatcher.get_backend_for_host(host) is not None


def _not_here(request: _Request, environ: WSGIEnvironment) -> ApiError:
    where = f" of {request.service}" if request.service else ""
    code = "NotImplemented" if request.protocol == "rest-xml" else "UnknownOperationException"
    text = f"{_name(request, environ)}{where} is not available in the local SageMaker"
    return ApiError(code, text, _NOT_THERE)


def _name(request: _Request, environ: WSGIEnvironment) -> str:
    """Return an operation's name, which in REST is what stands for method and path in the service's model."""
    for service in _SIGNED_AS.get(request.service, (request.service,)) if request.protocol.startswith("rest") else ():
        with suppress(NotFound, NotImplementedError, UnknownServiceError, DataNotFoundError):
            return str(get_service_router(service).match(Request(environ))[0].name)
    return request.operation


def _api_error(error: Exception, operation: str) -> ApiError:
    """Return what is said of an exception; a defect's traceback goes to the server's log."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, StorageError):
        return ApiError("ResourceLimitExceeded", str(error))
    _log.error("%s went wrong", operation, exc_info=error)
    text = f"The local SageMaker has a defect in {operation}; its log has the traceback"
    return ApiError("InternalFailure", text, _NOT_THERE)


def _request_of(environ: WSGIEnvironment) -> _Request:
    query = unquote(environ.get("QUERY_STRING", "")).replace("X-Amz-Credential=", "Credential=")
    scope = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", "")) or _SCOPE.search(query)
    region, service = scope.groups() if scope else (REGION, "")
    path, target = environ["PATH_INFO"], environ.get("HTTP_X_AMZ_TARGET", "")
    if environ.get("HTTP_SMITHY_PROTOCOL") == "rpc-v2-cbor":
        return _Request(service, region, path.rpartition("/")[2], "cbor")
    if target:
        return _Request(service, region, target.rpartition(".")[2], "json")
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        body = _read(environ)
        environ["wsgi.input"] = io.BytesIO(body)
        action = parse_qs(body.decode("latin-1")).get("Action", [""])[0]
        if action:
            return _Request(service, region, action, "query")
    protocol = "rest-xml" if service in ("", "s3", "route53", "cloudfront") else "rest-json"
    return _Request(service, region, f"{environ['REQUEST_METHOD']} {path}", protocol)


def _read(environ: WSGIEnvironment) -> bytes:
    body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    return body


def _error(request: _Request, error: ApiError) -> Answer:
    """Return an error as the protocol has it; every SDK reads code and message out of it."""
    code, message, identifier = escape(error.code), escape(error.message), str(uuid.uuid4())
    if request.protocol == "cbor":
        fields = {"__type": error.code, "message": error.message}
        content = b"\xbf" + b"".join(_cbor(text) for field in fields.items() for text in field) + b"\xff"
        return error.status, {"Content-Type": "application/cbor", "smithy-protocol": "rpc-v2-cbor"}, content
    if request.protocol in ("json", "rest-json"):
        headers = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-ErrorType": error.code}
        return error.status, headers | {"x-amzn-RequestId": identifier}, json.dumps(error.document()).encode()
    fault = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
    if request.service in ("", "s3"):
        document = f"<Error><Code>{code}</Code><Message>{message}</Message><RequestId>{identifier}</RequestId></Error>"
    else:
        document = f"<ErrorResponse>{fault}<RequestId>{identifier}</RequestId></ErrorResponse>"
    return error.status, {"Content-Type": "text/xml"}, document.encode()


def _cbor(text: str) -> bytes:
    """Return a text in CBOR, its length in four bytes."""
    content = text.encode()
    return b"\x7a" + len(content).to_bytes(4, "big") + content


def _write(start_response: StartResponse, status: int, headers: Mapping[str, str], content: bytes) -> Iterable[bytes]:
    reason = "OK" if status < 300 else "Error"
    start_response(f"{status} {reason}", [*headers.items(), ("Content-Length", str(len(content)))])
    return [content]
