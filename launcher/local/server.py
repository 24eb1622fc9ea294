"""The server: one port on loopback, the training API in front of moto, and the jobs behind it.

    with LocalServer(State(folder), port=0) as server:
        server.address              # AWS_ENDPOINT_URL for every service
        server.wait()

A request passes the gate (is it from this machine, and not from a web page?), then the API, then moto.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self

from moto.moto_api._internal.models import moto_api_backend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from launcher.local.api.application import api_application
from launcher.local.gate import gate
from launcher.local.jobs import Jobs
from launcher.local.services.objects import Objects
from launcher.local.services.persistence import persistent
from launcher.local.state import State
from launcher.local.store import JobStore

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


class LocalServer:
    """A local SageMaker of one state folder, from entering to leaving."""

    def __init__(self, state: State, port: int = 0) -> None:
        self._state = state
        self._wanted_port = port
        self._stack = ExitStack()
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        with self._stack:
            self._stack.enter_context(self._state.owned())
            self._stack.callback(moto_api_backend.reset)  # moto's memory is the process's; the next server has its own
            self.objects = Objects(self._state.folder / "s3")
            self.jobs = Jobs(JobStore(self._state.folder))
            application = self._application()
            self._server = make_server(
                "127.0.0.1", self._wanted_port, application, threaded=True, request_handler=_QuietHandler
            )
            self._stack.callback(self._server.server_close)
            self.address = self._state.announce(self._server.server_port).address
            thread = threading.Thread(target=self._server.serve_forever, name="http")
            thread.start()
            self._stack.callback(thread.join)
            self._stack.callback(self._server.shutdown)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def wait(self) -> None:
        """Wait until somebody asks the server to end."""
        self._ended.wait()

    def end(self) -> None:
        """Let `wait` return."""
        self._ended.set()

    def _application(self) -> WSGIApplication:
        moto = DomainDispatcherApplication(create_backend_app)
        api = api_application(self.jobs, persistent(moto, self.objects), self.objects, self._state.folder)
        return gate(api)


class _QuietHandler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, *_: object) -> None:
        """Say nothing: requests come by the second."""
