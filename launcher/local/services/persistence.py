"""What moto is told, kept: S3's objects as files, the other services' changes as a journal that is replayed.

application = persistent(moto, objects)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from launcher.local.services.objects import Objects

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_CHANGING = ("PUT", "POST", "DELETE")


def persistent(behind: WSGIApplication, objects: Objects) -> WSGIApplication:
    """Return `behind`, with what its requests change kept before they are answered."""

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in _CHANGING or not _is_s3(environ):
            return behind(environ, start_response)
        bucket, _, key = _path(environ).lstrip("/").partition("/")
        answer: list[tuple[Any, ...]] = []

        def remember(*arguments: Any) -> Any:  # noqa: ANN401 - WSGI's
            answer.append(arguments)
            return None

        body = b"".join(behind(environ, remember))
        if answer[-1][0].startswith("2"):
            if key and "delete" not in environ.get("QUERY_STRING", "").split("&"):
                objects.keep(bucket, key)
            else:
                objects.keep_bucket(bucket)
        start_response(*answer[-1])
        return [body]

    return application


def _is_s3(environ: WSGIEnvironment) -> bool:
    """Tell whether a request is for S3: signed for it, presigned for it, or not signed at all."""
    signed = environ.get("HTTP_AUTHORIZATION", "") or environ.get("QUERY_STRING", "")
    return "/s3/" in signed or "%2Fs3%2F" in signed or ("HTTP_X_AMZ_TARGET" not in environ and not signed)


def _path(environ: WSGIEnvironment) -> str:
    raw: str = environ["PATH_INFO"]
    return raw.encode("latin-1").decode("utf-8", "replace")
