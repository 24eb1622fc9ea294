"""The server: one port on loopback, the training API in front of moto, and the jobs behind it.

    with LocalServer(State(folder), Settings(port=0)) as server:
        server.address              # AWS_ENDPOINT_URL for every service
        server.token                # AWS_ACCESS_KEY_ID
        server.wait()

A request passes the gate (has it the server's token, and is it from no other web page?), the faults that somebody has
asked for, the control API, the training API; what none of them answers is the service's of moto that it is signed for.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

from moto.moto_api._internal.models import moto_api_backend
from werkzeug.serving import WSGIRequestHandler, make_server

from local_sagemaker.access import Access
from local_sagemaker.api.application import api_application
from local_sagemaker.calls import dechunked
from local_sagemaker.control import Control, with_faults
from local_sagemaker.docker_client.engine import Engine
from local_sagemaker.faults import Faults
from local_sagemaker.files import StateFiles
from local_sagemaker.gate import gate
from local_sagemaker.jobs import Jobs
from local_sagemaker.runner.world import HostLimits, World
from local_sagemaker.scheduler import Scheduler
from local_sagemaker.services import logs, metrics
from local_sagemaker.services.bucket_settings import BucketSettings
from local_sagemaker.services.journal import Journal
from local_sagemaker.services.neighbours import neighbours
from local_sagemaker.services.objects import Objects
from local_sagemaker.services.persistence import persistent
from local_sagemaker.services.router import Router
from local_sagemaker.state import State
from local_sagemaker.store import JobStore

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment


@dataclass(frozen=True)
class Settings:
    """What a server can be told."""

    port: int = 0
    """0: any that is free."""
    jobs_at_once: int = 2
    limits: HostLimits = field(default_factory=HostLimits)
    stop_seconds: float = 120.0
    """Between SIGTERM and SIGKILL, as on SageMaker."""


class LocalServer:
    """A local SageMaker of one state folder, from entering to leaving."""

    def __init__(self, state: State, settings: Settings = Settings()) -> None:
        self._state = state
        self._settings = settings
        self._stack = ExitStack()
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._state.owned())
            stack.callback(moto_api_backend.reset)  # moto's memory is the process's; the next server has its own
            self.files = StateFiles()
            self._access = Access.of(self._state.folder)
            self.token = self._access.token
            self.objects = Objects(self._state.folder / "s3", self.files)
            self.faults = Faults(self._state.folder / "faults.json", self.files)
            self.engine = Engine(self._state.identity)
            self.jobs = Jobs(JobStore(self._state.folder, self.files))
            self._load_logs_and_metrics()
            world = World(
                self.jobs, self.objects, self.engine, self.faults, self._settings.limits, self._settings.stop_seconds
            )
            self._scheduler = Scheduler(world, self._settings.jobs_at_once)
            self.jobs.runner = self._scheduler
            self._serve(stack)
            stack.callback(self._close)
            self._scheduler.recover()
            self._stack = stack.pop_all()
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

    def _close(self) -> None:
        self._scheduler.close()
        self.jobs.store.close()
        self.engine.close()

    def _load_logs_and_metrics(self) -> None:
        for job in (*self.jobs.list("training"), *self.jobs.list("processing")):
            folder = self.jobs.store.folder(job.kind, job.name, job.region)
            for load, path in (
                (partial(logs.load, job.kind, job.region, job.name), folder / "log"),
                (partial(metrics.load, job.name, job.region), folder / "metrics.jsonl"),
                (partial(metrics.load_host_metrics, job.kind, job.region), folder / "host_metrics.jsonl"),
            ):
                try:
                    load(path)
                except OSError as error:
                    held = f"the {path.stem} of the {job.kind} job {job.name}"
                    self.files.put_aside(path, error.strerror or str(error), held)

    def _serve(self, stack: ExitStack) -> None:
        server = make_server(
            "127.0.0.1", self._settings.port, self._application(), threaded=True, request_handler=_QuietHandler
        )
        stack.callback(server.server_close)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="http")
        thread.start()
        stack.callback(thread.join)
        stack.callback(server.shutdown)
        announced = self._state.announce(server.server_port, self.token)
        self.address, self.page = announced.address, announced.page

    def _application(self) -> WSGIApplication:
        moto = Router(self._access)
        journal = Journal(self._state.folder / "journal.jsonl", moto, self.files)
        journal.replay()
        s3 = persistent(journal, self.objects)
        settings = BucketSettings(self._state.folder / "s3-settings.jsonl", self.files, s3, moto)
        settings.replay()
        services = neighbours(settings, self.engine, self._access)
        api = api_application(self.jobs, services, self.objects, self._state.folder, self.files)
        control = Control(self.jobs, self._scheduler, self.faults, self.files, self.end, api)
        return gate(with_faults(self.faults, control), self._access)


class _QuietHandler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def make_environ(self) -> WSGIEnvironment:
        """Return the request, with a reader of its chunks that survives a client that breaks off."""
        environ = super().make_environ()
        if environ.get("wsgi.input_terminated"):
            environ["wsgi.input"] = dechunked(self.rfile)
        return environ

    def log_request(self, *_: object) -> None:
        """Say nothing: requests come by the second."""
