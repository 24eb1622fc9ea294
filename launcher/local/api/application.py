"""The training API as a WSGI application: what it does not answer goes to the application behind it, moto."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.local.jobs import Jobs

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


def api_application(jobs: Jobs, behind: WSGIApplication) -> WSGIApplication:  # noqa: ARG001
    """Return the API of `jobs` in front of `behind`."""
    return behind
