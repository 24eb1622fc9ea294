"""The server: one port on loopback, the training API in front of moto, and the jobs behind it.

    with LocalServer(State(folder), ServerSettings(port=0)) as server:
        server.address              # AWS_ENDPOINT_URL for every service
        server.token                # AWS_ACCESS_KEY_ID
        server.wait()

A request passes security.py (has it the server's token, and is it from no other web page?), the injected API errors,
the admin API, the dashboard and the API; what none of them answers goes to the service of moto that it is signed for.
"""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

from moto.moto_api._internal.models import moto_api_backend
from werkzeug.serving import WSGIRequestHandler, make_server

from local_sagemaker.admin_api import AdminApi, fault_middleware
from local_sagemaker.api.application import api_application
from local_sagemaker.api.request_context import Running
from local_sagemaker.auth import Access
from local_sagemaker.aws_request import dechunked
from local_sagemaker.dashboard.application import Dashboard
from local_sagemaker.docker_client.container_request import HostLimits
from local_sagemaker.docker_client.engine import Engine
from local_sagemaker.entity_store import EntityStore
from local_sagemaker.fault_injection import FaultInjector
from local_sagemaker.job_repository import JobRepository
from local_sagemaker.job_service import JobService
from local_sagemaker.runner.hosting import Hosting
from local_sagemaker.runner.job_runner import RuntimeContext
from local_sagemaker.runner.scheduler import Scheduler
from local_sagemaker.runner.transform_job import Transforms
from local_sagemaker.runner.tuning_job import Tuner
from local_sagemaker.security import security_middleware
from local_sagemaker.services import logs, metrics
from local_sagemaker.services.bucket_settings import BucketSettings
from local_sagemaker.services.moto_router import Router
from local_sagemaker.services.request_log import RequestLog
from local_sagemaker.services.s3_api import s3_middleware
from local_sagemaker.services.s3_store import ObjectStore
from local_sagemaker.state import AccountAge, State
from local_sagemaker.state_files import StateFiles

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment


@dataclass(frozen=True)
class ServerSettings:
    """What a server can be started with."""

    port: int = 0
    """0: that of a server of this state which was killed, else any that is free."""
    jobs_at_once: int = 2
    limits: HostLimits = field(default_factory=HostLimits)
    stop_seconds: float = 120.0
    """Between SIGTERM and SIGKILL, as on SageMaker."""
    account: AccountAge = "old"
    """new: Debugger and Profiler are refused, as AWS refuses them to who did not use them before 2026-07-30."""


class LocalServer:
    """A local SageMaker of one state folder, from entering to leaving."""

    def __init__(self, state: State, settings: ServerSettings = ServerSettings()) -> None:
        self._state = state
        self._settings = settings
        self._stack = ExitStack()
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            killed = stack.enter_context(self._state.owned())
            stack.callback(moto_api_backend.reset)  # moto's memory is the process's; the next server has its own
            self.files = StateFiles()
            self._access = Access.of(self._state.folder)
            self.token = self._access.token
            self.objects = ObjectStore(self._state.folder / "s3", self.files)
            self.faults = FaultInjector(self._state.folder / "faults.json", self.files)
            self.engine = Engine(self._state.identity)
            self.jobs = JobService(JobRepository(self._state.folder, self.files))
            self._load_logs_and_metrics()
            context = RuntimeContext(
                self.jobs, self.objects, self.engine, self.faults, self._settings.limits, self._settings.stop_seconds
            )
            entities = EntityStore(self._state.folder / "api" / "records.json", self.files)
            self.hosting = Hosting(context, entities, self._state.folder / "endpoints")
            self.transforms = Transforms(context, entities, self._state.folder / "transforms")
            self.tuner = Tuner(context, entities, self._state.folder / "tuning")
            self._scheduler = Scheduler(context, self._settings.jobs_at_once, keeps=self._keeps)
            self.jobs.scheduler = self._scheduler
            self._serve(stack, entities, None if killed is None else killed.port)
            stack.callback(self._close)
            self._scheduler.recover()
            self.hosting.recover()
            self.transforms.recover()
            self.tuner.recover()
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

    def _keeps(self) -> set[tuple[str, str]]:
        return self.hosting.keeps() | self.transforms.keeps()

    def _close(self) -> None:
        self.tuner.close()
        self._scheduler.close()
        self.hosting.close()
        self.transforms.close()
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

    def _serve(self, stack: ExitStack, entities: EntityStore, port_before: int | None) -> None:
        port = self._settings.port or _if_free(port_before)
        server = make_server(
            "127.0.0.1", port, self._application(entities), threaded=True, request_handler=_QuietHandler
        )
        stack.callback(server.server_close)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="http")
        thread.start()
        stack.callback(thread.join)
        stack.callback(server.shutdown)
        announced = self._state.announce(server.server_port, self.token, self._settings.account)
        self.address, self.page = announced.address, announced.page

    def _application(self, entities: EntityStore) -> WSGIApplication:
        moto = Router(self._access)
        request_log = RequestLog(self._state.folder / "journal.jsonl", moto, self.files)
        request_log.replay()
        s3 = s3_middleware(request_log, self.objects)
        settings = BucketSettings(self._state.folder / "s3-settings.jsonl", self.files, s3, moto)
        settings.replay()
        account = self._settings.account
        api = api_application(
            settings,
            self.jobs,
            self.objects,
            self.engine,
            self._access,
            entities,
            account=account,
            running=Running(self.hosting, self.transforms, self.tuner),
        )
        dashboard = Dashboard(self.jobs, self.objects, entities, api)
        admin = AdminApi(self.jobs, self._scheduler, self.faults, self.files, self.end, dashboard)
        return security_middleware(fault_middleware(self.faults, admin), self._access)


def _if_free(port: int | None) -> int:
    """Return the port of a server that was killed, where its clients still ask; 0 if there is none, or it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
        try:
            probe.bind(("127.0.0.1", port or 0))
        except (OSError, OverflowError, TypeError):
            return 0
    return port or 0


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
