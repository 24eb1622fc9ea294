"""Who may ask: programs of this machine, by its loopback address, and the server's own page; no other web page.

A page of a stranger that the user's browser has open can send requests to loopback as well. It betrays itself by its
Origin header, by Sec-Fetch-Site where there is none (pictures, links), or, where it has bent its own name to this
address, by the Host header. A link to the page itself is all that it may have.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_OWN_HOST = re.compile(r"(?:127\.0\.0\.1|localhost)(?::[0-9]{1,5})?")

_OWN_SITES = (None, "none", "same-origin")
"""Sec-Fetch-Site of programs, of an address that somebody has typed, of the page itself."""


def gate(behind: WSGIApplication) -> WSGIApplication:
    """Return `behind` for requests that are let in; the others get 403."""

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        host = environ.get("HTTP_HOST", "")
        origin = environ.get("HTTP_ORIGIN")
        is_own = _OWN_HOST.fullmatch(host) and origin in (None, f"http://{host}")
        if is_own and (environ.get("HTTP_SEC_FETCH_SITE") in _OWN_SITES or _is_link_to_the_page(environ)):
            return behind(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
        return [b"The local SageMaker answers programs of this machine at its loopback address alone.\n"]

    return application


def _is_link_to_the_page(environ: WSGIEnvironment) -> bool:
    return (
        environ["REQUEST_METHOD"] == "GET"
        and environ["PATH_INFO"] == "/"
        and not environ.get("QUERY_STRING")
        and environ.get("HTTP_SEC_FETCH_MODE") == "navigate"
    )
