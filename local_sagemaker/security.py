"""Who may ask: whoever has the server's token, from this machine's loopback address; no other user, no other web page.

A page of a stranger that the user's browser has open can send requests to loopback as well. It betrays itself by its
Origin header, by Sec-Fetch-Site where there is none (pictures, links), or, where it has bent its own name to this
address, by the Host header. A link to the page itself is all that it may have.

The token comes as the access key id of a signature (header, presigned URL, form), as `Authorization: Bearer`, as the
page's cookie, or, from a pod or a workflow, as the token of a web identity. Anything else is refused in AWS's words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from local_sagemaker.auth import Access
from local_sagemaker.aws_request import AwsRequest, BrokenBodyError, content_length, form_of, read_aws_request, refuse

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_OWN_HOST = re.compile(r"(?:127\.0\.0\.1|localhost)(?::[0-9]{1,5})?")

_OWN_SITES = (None, "none", "same-origin")
"""Sec-Fetch-Site of programs, of an address that somebody has typed, of the page itself."""

_CONTROL = "/_local/"
_FOR_COOKIES = ("/_local/page/", "/_local/jobs/")
_SIGNED_PATHS = ("/_local/image-config/",)

_INVALID_TOKEN = "The security token included in the request is invalid."  # noqa: S105 - AWS's words
_HOW = (
    "the local SageMaker has an access key of its own, which `launcher local start` and `launcher local status` print"
)

_CLOSED_PAGE = (
    b"<!doctype html><title>Local SageMaker</title><p>This is the page of a local SageMaker. Its owner opens it with "
    b"<code>launcher local ui</code>. If you have done so already, <a href='/'>go on</a>.\n"
)


def security_middleware(behind: WSGIApplication, access: Access) -> WSGIApplication:
    """Return `behind` for requests that are let in; the others are refused, and nothing of them is done."""

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        host = environ.get("HTTP_HOST", "")
        origin = environ.get("HTTP_ORIGIN")
        is_own = _OWN_HOST.fullmatch(host) and origin in (None, f"http://{host}")
        if not is_own or not (environ.get("HTTP_SEC_FETCH_SITE") in _OWN_SITES or _is_link_to_the_page(environ)):
            text = b"The local SageMaker answers programs of this machine at its loopback address alone.\n"
            return _plain(start_response, "403 Forbidden", text)
        try:
            content_length(environ)
        except ValueError as error:
            return _plain(start_response, "400 Bad Request", f"{error}\n".encode())
        if _comes_with_token(environ):
            return _first_visit(behind, access, environ, start_response)
        try:
            call = read_aws_request(environ)
            if _is_let_in(access, environ, call):
                return behind(environ, start_response)
            return _refuse(start_response, environ, call)
        except BrokenBodyError as error:
            return _plain(start_response, "400 Bad Request", f"{error}\n".encode())

    return application


def _is_let_in(access: Access, environ: WSGIEnvironment, call: AwsRequest) -> bool:
    path, authorization = environ["PATH_INFO"], environ.get("HTTP_AUTHORIZATION", "")
    if call.key:
        return access.admits(call.key)
    if authorization:
        scheme, _, token = authorization.partition(" ")
        return scheme == "Bearer" and path.startswith(_CONTROL) and access.admits(token)
    if path.startswith(_SIGNED_PATHS):
        return access.has_signature(path, environ.get("QUERY_STRING", ""))
    is_operation = call.protocol in ("json", "cbor", "query")  # under whatever path
    if not is_operation and (path.startswith(_FOR_COOKIES) or (path == "/" and environ["REQUEST_METHOD"] == "GET")):
        return access.admits_cookie(environ.get("HTTP_COOKIE", ""), environ["SERVER_PORT"])
    if call.protocol == "query" and path == "/":
        form = form_of(environ)
        # AWS's clients do not sign it: its token is what they have.
        return form.get("Action") == "AssumeRoleWithWebIdentity" and access.admits(form.get("WebIdentityToken", ""))
    return False


def _refuse(start_response: StartResponse, environ: WSGIEnvironment, call: AwsRequest) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path == "/" and "text/html" in environ.get("HTTP_ACCEPT", "") and not environ.get("HTTP_AUTHORIZATION"):
        return _plain(start_response, "403 Forbidden", _CLOSED_PAGE, "text/html; charset=utf-8")
    if path.startswith(_CONTROL):
        return _plain(start_response, "403 Forbidden", json.dumps({"error": _HOW}).encode(), "application/json")
    status, code, text = _refusal(call, environ)
    return refuse(start_response, call, status, code, f"{text} ({_HOW})")


def _refusal(call: AwsRequest, environ: WSGIEnvironment) -> tuple[int, str, str]:  # noqa: PLR0911 - a table
    """Return status, code and message that AWS has for a request without credentials that it knows."""
    has_key = bool(call.key or environ.get("HTTP_AUTHORIZATION"))
    match call.protocol:
        case "s3" if has_key:
            return 403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records."
        case "s3":
            return 403, "AccessDenied", "Access Denied"
        case "query" if has_key:
            return 403, "InvalidClientTokenId", _INVALID_TOKEN
        case "query" if form_of(environ).get("Action") == "AssumeRoleWithWebIdentity":
            text = "AWS_WEB_IDENTITY_TOKEN_FILE is not the file `token` of the state folder"
            return 400, "InvalidIdentityToken", text
        case "query":
            return 403, "MissingAuthenticationToken", "Request is missing Authentication Token"
        case "cbor":
            return 403, "InvalidClientTokenId", _INVALID_TOKEN
        case "json":
            return 400, "UnrecognizedClientException", _INVALID_TOKEN
        case _:
            return 403, "UnrecognizedClientException", _INVALID_TOKEN


def _comes_with_token(environ: WSGIEnvironment) -> bool:
    """Tell the address that `launcher local ui` opens."""
    query = str(environ.get("QUERY_STRING", ""))
    return environ["REQUEST_METHOD"] == "GET" and environ["PATH_INFO"] == "/" and query.startswith("token=")


def _first_visit(
    behind: WSGIApplication, access: Access, environ: WSGIEnvironment, start_response: StartResponse
) -> Iterable[bytes]:
    """Give a browser that has the token the page, and a cookie for what the page asks for."""
    if not access.admits(parse_qs(environ["QUERY_STRING"]).get("token", [""])[-1]):
        return _plain(start_response, "403 Forbidden", _CLOSED_PAGE, "text/html; charset=utf-8")

    def start(status: str, headers: list[tuple[str, str]], *others: Any) -> Any:  # noqa: ANN401 - WSGI's
        return start_response(status, [*headers, ("Set-Cookie", access.cookie(environ["SERVER_PORT"]))], *others)

    return behind(environ | {"QUERY_STRING": ""}, start)


def _plain(
    start_response: StartResponse, status: str, body: bytes, kind: str = "text/plain; charset=utf-8"
) -> Iterable[bytes]:
    start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body))), ("Cache-Control", "no-store")])
    return [body]


def _is_link_to_the_page(environ: WSGIEnvironment) -> bool:
    return (
        environ["REQUEST_METHOD"] == "GET"
        and environ["PATH_INFO"] == "/"
        and (not environ.get("QUERY_STRING") or _comes_with_token(environ))
        and environ.get("HTTP_SEC_FETCH_MODE") == "navigate"
    )
