"""Who may ask: programs of this machine, by its loopback address, and the server's own page; no other web page.

A page of a stranger that the user's browser has open can send requests to loopback as well. It betrays itself by its
Origin header, or, where it has bent its own name to this address, by the Host header.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_OWN_NAMES = frozenset({"127.0.0.1", "localhost"})


def gate(behind: WSGIApplication) -> WSGIApplication:
    """Return `behind` for requests that are let in; the others get 403."""

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        host = environ.get("HTTP_HOST", "")
        origin = environ.get("HTTP_ORIGIN")
        if urlsplit(f"//{host}").hostname in _OWN_NAMES and origin in (None, f"http://{host}"):
            return behind(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
        return [b"The local SageMaker answers programs of this machine at its loopback address alone.\n"]

    return application
