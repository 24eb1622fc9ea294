"""The API of what SageMaker has no operation for: fault injection, and the server itself. JSON over HTTP.

    GET    /_local/status
    POST   /_local/faults                                  a Fault (fault_injection.py); GET lists them, DELETE clears
    POST   /_local/jobs/training/<key>/interrupt           {"after": 5.0}: spot capacity is reclaimed
    POST   /_local/jobs/training/<key>/lose-host           {"host": "algo-2", "after": 5.0}
    POST   /_local/shutdown

No bucket can begin with an underscore, so these paths are no one else's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from local_sagemaker.api.protocol import write
from local_sagemaker.errors import ApiError, EmulatorError
from local_sagemaker.fault_injection import Fault, FaultInjector
from local_sagemaker.job_service import JobService
from local_sagemaker.runner.messages import Interrupt, LoseHost, Message
from local_sagemaker.runner.scheduler import Scheduler
from local_sagemaker.state import name_and_region
from local_sagemaker.state_files import StateFiles

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PREFIX = "/_local/"

Document = dict[str, Any]


class RefusedError(EmulatorError):
    """What was asked for cannot be."""


class AdminApi:
    """The admin API's WSGI application, in front of another."""

    def __init__(
        self,
        jobs: JobService,
        scheduler: Scheduler,
        faults: FaultInjector,
        files: StateFiles,
        end: Callable[[], None],
        behind: WSGIApplication,
    ) -> None:
        self._jobs = jobs
        self._scheduler = scheduler
        self._faults = faults
        self._files = files
        self._end = end
        self._behind = behind

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request, or pass it on."""
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        answer = self._answer_of(method, path)
        if answer is None:
            return self._behind(environ, start_response)
        try:
            body = json.loads(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)) or b"{}")
            status, content = "200 OK", answer(body)
        except ValidationError as error:
            first = error.errors()[0]
            status, content = "400 Bad Request", {"error": f"{'.'.join(map(str, first['loc']))}: {first['msg']}"}
        except (EmulatorError, ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            status, content = "400 Bad Request", {"error": str(error)}
        start_response(status, [("Content-Type", "application/json")])
        return [json.dumps(content).encode()]

    def _answer_of(self, method: str, path: str) -> Callable[[Document], Any] | None:
        parts = path.removeprefix(PREFIX).split("/") if path.startswith(PREFIX) else []
        match method, parts:
            case "POST", ["jobs", "training", name, "interrupt"]:
                return lambda body: self._interrupt(name, float(body.get("after", 0)))
            case "POST", ["jobs", "training", name, "lose-host"]:
                return lambda body: self._lose_host(name, str(body.get("host", "algo-1")), float(body.get("after", 0)))
            case _, [name]:
                return {
                    ("GET", "status"): self._status,
                    ("GET", "faults"): lambda _: [fault.model_dump() for fault in self._faults.all()],
                    ("POST", "faults"): self._add_fault,
                    ("DELETE", "faults"): self._clear_faults,
                    ("POST", "shutdown"): self._shutdown,
                }.get((method, name))
        return None

    def _status(self, _: Document) -> Document:
        jobs = [job for kind in ("training", "processing") for job in self._jobs.list(kind)]
        running = [job.name for job in jobs if not job.has_ended]
        return {
            "jobs": len(jobs),
            "not_ended": running,
            "faults": len(self._faults.all()),
            "damaged": self._files.damaged,
        }

    def _add_fault(self, body: Document) -> Document:
        self._faults.add(Fault.model_validate(body))
        return {}

    def _clear_faults(self, _: Document) -> Document:
        self._faults.clear()
        return {}

    def _interrupt(self, name: str, after: float) -> Document:
        job = self._jobs.get("training", *name_and_region(name))
        if not job.request.get("EnableManagedSpotTraining"):
            raise RefusedError(
                f"{name} is no spot job: only compute.enable_managed_spot_training = true makes one that is interrupted"
            )
        return self._send(name, Interrupt(after))

    def _lose_host(self, name: str, host: str, after: float) -> Document:
        hosts = self._jobs.get("training", *name_and_region(name)).hosts
        if host not in hosts:
            raise RefusedError(f"{name} has no host {host}; it has {', '.join(hosts) or 'none yet'}")
        return self._send(name, LoseHost(host, after))

    def _send(self, name: str, message: Message) -> Document:
        job = self._jobs.get("training", *name_and_region(name))
        is_training = job.secondary_status == "Training"
        if not is_training or not self._scheduler.send("training", job.name, job.region, message):
            raise RefusedError(f"{name} is not training: it is {job.secondary_status}")
        return {}

    def _shutdown(self, _: Document) -> Document:
        self._end()
        return {}


def fault_middleware(faults: FaultInjector, behind: WSGIApplication) -> WSGIApplication:
    """Return `behind`, whose operations answer with the errors that faults ask for."""

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        operation = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        fault = faults.take("api", operation) if operation else None
        if fault is None:
            return behind(environ, start_response)
        return write(start_response, fault.status, ApiError(fault.code, fault.message).document())

    return application
