"""The page as a WSGI application: three files, and JSON about the jobs for them.

    GET  /                                              the page
    GET  /_local/page/page.js, page.css
    GET  /_local/page/jobs?after=17                     all jobs, as soon as one has changed since 17
    GET  /_local/page/jobs/<kind>/<key>                one job
    GET  /_local/page/jobs/<kind>/<key>/log?at=...     its new lines
    GET  /_local/page/jobs/<kind>/<key>/metrics        its charts
    GET  /_local/page/jobs/<kind>/<key>/results        its files, evaluation and report
    GET  /_local/page/jobs/<kind>/<key>/file?uri=...   one of its files, to be saved; `view=1`: the report, to be seen
    POST /_local/page/jobs/<kind>/<key>/stop
    GET  /_local/page/jobs/tuning/<key>                 one tuning job, with its training jobs

Anything else is passed on. Nothing of what jobs write is ever run with the page's rights: texts are put in as text,
files are sent to be saved, and the report lives in a sandbox.
"""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs

from werkzeug.wsgi import FileWrapper

from local_sagemaker.api.arns import arn
from local_sagemaker.api.serializers.jobs import omit_none
from local_sagemaker.container_contract.paths import split
from local_sagemaker.dashboard import results, series, views
from local_sagemaker.entity_store import EntityStore
from local_sagemaker.job_service import JobError, JobService, NoSuchJobError
from local_sagemaker.job_state import Job, Kind
from local_sagemaker.runner.tuning_job import TUNING
from local_sagemaker.services import metrics
from local_sagemaker.services.s3_store import NoSuchObjectError, ObjectStore
from local_sagemaker.state import name_and_region

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PREFIX = "/_local/page/"

_OWN = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'"
_SECURITY = (
    (
        "Content-Security-Policy",
        f"{_OWN}; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)
_SANDBOX = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"
)

_PATIENCE = 20.0
"""Seconds that a browser waits for a change."""

Headers = list[tuple[str, str]]


class _Refused(Exception):  # noqa: N818 - an answer, not an error of the program
    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status


class Dashboard:
    """The page, in front of another application."""

    def __init__(self, jobs: JobService, objects: ObjectStore, records: EntityStore, behind: WSGIApplication) -> None:
        self._jobs = jobs
        self._objects = objects
        self._records = records
        self._behind = behind

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a browser, or pass a request on."""
        path = environ["PATH_INFO"]
        if path == "/" and environ["REQUEST_METHOD"] == "GET" and _is_browser(environ):
            return _asset(start_response, "index.html")
        if not path.startswith(PREFIX):
            return self._behind(environ, _without_rights(start_response))
        try:
            return self._answer(environ, start_response, path.removeprefix(PREFIX).split("/"))
        except _Refused as refusal:
            return _json(start_response, {"error": str(refusal)}, refusal.status)
        except NoSuchJobError as error:
            return _json(start_response, {"error": str(error)}, "404 Not Found")
        except JobError as error:
            return _json(start_response, {"error": str(error)}, "409 Conflict")

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse, parts: list[str]) -> Iterable[bytes]:
        query = {name: values[-1] for name, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
        match environ["REQUEST_METHOD"], parts:
            case "GET", ["page.js" | "page.css" as name]:
                return _asset(start_response, name)
            case "GET", ["jobs", "tuning", name]:
                return _json(start_response, self._tuning_job(*name_and_region(name)))
            case "GET", ["jobs", kind, name, "file"]:
                return self._file(environ, start_response, self._job(kind, name), query)
        return _json(start_response, self._document(environ["REQUEST_METHOD"], parts, query))

    def _document(self, method: str, parts: list[str], query: dict[str, str]) -> object:
        match method, parts:
            case "GET", ["jobs"]:
                return self._list(query)
            case "GET", ["jobs", kind, name]:
                return views.detail(self._job(kind, name))
            case "GET", ["jobs", kind, name, "log"]:
                return self._log(self._job(kind, name), query)
            case "GET", ["jobs", kind, name, "metrics"]:
                return series.charts(metrics.read(self._folder(self._job(kind, name)) / "metrics.jsonl"))
            case "GET", ["jobs", kind, name, "results"]:
                return self._results(self._job(kind, name))
            case "POST", ["jobs", kind, name, "stop"]:
                job = self._job(kind, name)
                return views.row(self._jobs.stop(job.kind, job.name, job.region))
        raise _Refused("404 Not Found", "there is no such page")

    def _job(self, kind: str, key: str) -> Job:
        if kind not in ("training", "processing"):
            raise _Refused("404 Not Found", f"there are training, processing and tuning jobs, no {kind} jobs")
        return self._jobs.get(cast("Kind", kind), *name_and_region(key))

    def _tuning_job(self, name: str, region: str) -> views.View:
        record = self._records.get(TUNING, arn(region, TUNING, name.lower()))
        if record is None:
            raise _Refused("404 Not Found", f"there is no tuning job {name}")
        return views.tuning_detail(record)

    def _folder(self, job: Job) -> Path:
        return self._jobs.store.folder(job.kind, job.name, job.region)

    def _list(self, query: dict[str, str]) -> dict[str, Any]:
        after = int(query["after"]) if query.get("after", "").isdecimal() else -1
        last = self._jobs.changes(after, _PATIENCE).last if after >= 0 else self._jobs.changes(0, 0).last
        rows = [views.row(job) for job in (*self._jobs.list("training"), *self._jobs.list("processing"))]
        rows += [views.tuning_row(record) for record in self._records.all(TUNING)]
        return {"last": last, "jobs": sorted(rows, key=lambda row: row["created"], reverse=True)}

    def _log(self, job: Job, query: dict[str, str]) -> dict[str, Any]:
        try:
            positions = {str(stream): int(at) for stream, at in json.loads(query.get("at", "{}")).items()}
        except (ValueError, AttributeError, TypeError, OverflowError, RecursionError):
            raise _Refused("400 Bad Request", "`at` is not what an earlier answer gave") from None
        return series.new_lines(self._folder(job) / "log", positions)

    def _results(self, job: Job) -> dict[str, Any]:
        places = views.places(job)
        return omit_none(
            files=results.files(self._objects, places),
            evaluation=results.evaluation(self._objects, job),
            report=results.report(self._objects, places),
        )

    def _file(
        self, environ: WSGIEnvironment, start_response: StartResponse, job: Job, query: dict[str, str]
    ) -> Iterable[bytes]:
        uri = query.get("uri", "")
        if not results.belongs(uri, views.places(job)):
            raise _Refused("404 Not Found", f"{job.name} has no file {uri}")
        try:
            path = self._objects.path(*split(uri))
        except NoSuchObjectError as error:
            raise _Refused("404 Not Found", str(error)) from None
        name = uri.rpartition("/")[2]
        headers: Headers = [("Content-Length", str(path.stat().st_size)), *_SECURITY[1:4], _SECURITY[5]]
        if query.get("view") and uri.endswith(results.REPORT):
            headers += [("Content-Type", "text/html; charset=utf-8"), ("Content-Security-Policy", _SANDBOX)]
        else:
            kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
            saved = "".join(character if character.isalnum() or character in "._-" else "_" for character in name)
            headers += [
                ("Content-Type", kind),
                ("Content-Disposition", f'attachment; filename="{saved.encode("ascii", "replace").decode()}"'),
                ("Content-Security-Policy", "sandbox; default-src 'none'"),
            ]
        start_response("200 OK", headers)
        return cast("Iterable[bytes]", environ.get("wsgi.file_wrapper", FileWrapper)(path.open("rb"), 1 << 16))


def _without_rights(start_response: StartResponse) -> StartResponse:
    """Return a `start_response` for other applications: an object of S3 that a browser opens is no page of ours."""

    def start(status: str, headers: Headers, *others: Any) -> Any:  # noqa: ANN401 - WSGI's
        sandbox = [("Content-Security-Policy", "sandbox; default-src 'none'"), ("X-Content-Type-Options", "nosniff")]
        return start_response(status, [*headers, *sandbox], *others)

    return start


def _is_browser(environ: WSGIEnvironment) -> bool:
    """Tell a browser from a program that lists its buckets: that one signs."""
    return "HTTP_AUTHORIZATION" not in environ and "text/html" in environ.get("HTTP_ACCEPT", "")


def _asset(start_response: StartResponse, name: str) -> Iterable[bytes]:
    content = resources.files("local_sagemaker.dashboard").joinpath("assets", name).read_bytes()
    kind = {"html": "text/html", "css": "text/css", "js": "text/javascript"}[name.rpartition(".")[2]]
    headers: Headers = [("Content-Type", f"{kind}; charset=utf-8"), ("Content-Length", str(len(content))), *_SECURITY]
    start_response("200 OK", headers)
    return [content]


def _json(start_response: StartResponse, document: object, status: str = "200 OK") -> Iterable[bytes]:
    content = json.dumps(document).encode()
    headers: Headers = [("Content-Type", "application/json"), ("Content-Length", str(len(content))), *_SECURITY]
    start_response(status, headers)
    return [content]
