"""Endpoints: one container of the model's image behind each, from CreateEndpoint to DeleteEndpoint.

    hosting = Hosting(context, records, state / "endpoints")
    hosting.create(arn); hosting.delete(arn)
    hosting.invoke(arn, body, headers)      # the container's answer
    hosting.recover()                       # endpoints of an earlier server are started anew

An endpoint is a record of its own kind: what DescribeEndpoint answers, and `Model` and `Variant`, which it was made of:
its model and its configuration may be deleted meanwhile.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from local_sagemaker.runner.job_runner import RuntimeContext
from local_sagemaker.runner.model_server import ModelServer, NotServingError, Reply, ServedModel
from local_sagemaker.services.logs import LogStream, load_group
from local_sagemaker.state import job_key
from local_sagemaker.volumes import safe_files
from local_sagemaker.volumes.download import CancelledError

ENDPOINT = "endpoint"
"""Kind of record, of label on the engine, and in the ARN."""

INVOCATION_SECONDS = 60.0
HEALTH_SECONDS = 480.0
"""For the first 200 of /ping, where the variant names no other limit."""

_log = logging.getLogger(__name__)

Record = dict[str, Any]


class Records(Protocol):
    """Where the API keeps its resources."""

    def get(self, kind: str, name: str) -> Record | None:
        """Return a record, or None."""

    def all(self, kind: str) -> list[Record]:
        """Return the records of a kind."""

    def change(self, kind: str, name: str, change: Callable[[Record], Record]) -> Record | None:
        """Replace a record by what `change` makes of it."""

    def delete(self, kind: str, name: str) -> None:
        """Forget a record."""


class _Endpoint:
    def __init__(self, server: ModelServer) -> None:
        self.server = server
        self.cancelled = threading.Event()
        self.thread: threading.Thread | None = None


class Hosting:
    """All endpoints; safe to use from any thread."""

    def __init__(self, context: RuntimeContext, records: Records, folder: Path) -> None:
        self._context = context
        self._records = records
        self._folder = folder
        self._lock = threading.Lock()
        self._endpoints: dict[str, _Endpoint] = {}
        self._closed = threading.Event()

    def recover(self) -> None:
        """Start the endpoints of an earlier server anew, with their logs; forget those that were being deleted."""
        for record in self._records.all(ENDPOINT):
            load_group(*self._log_of(record))
            if record["EndpointStatus"] == "Deleting":
                self._forget(record["EndpointArn"])
            elif record["EndpointStatus"] != "Failed":
                self._set(record["EndpointArn"], EndpointStatus="Creating")
                self.create(record["EndpointArn"])

    def keeps(self) -> set[tuple[str, str]]:
        """Return kind and key of all that may be on the engine."""
        return {
            (ENDPOINT, job_key(record["EndpointName"], _region(record["EndpointArn"])))
            for record in self._records.all(ENDPOINT)
        }

    def create(self, arn: str) -> None:
        """Start the container of an endpoint whose record is there."""
        record = self._records.get(ENDPOINT, arn)
        assert record is not None
        variant = record["Variant"]
        serverless = variant.get("ServerlessConfig")
        served = ServedModel(
            ENDPOINT,
            record["EndpointName"],
            _region(arn),
            record["Model"],
            memory_bytes=serverless["MemorySizeInMB"] << 20 if serverless else None,
        )
        group, region, folder = self._log_of(record)
        stream = LogStream(group, region, f"{variant['VariantName']}/{_instance_name()}", folder)
        endpoint = _Endpoint(ModelServer(self._context, served, self._place(record), stream))
        seconds = variant.get("ContainerStartupHealthCheckTimeoutInSeconds", HEALTH_SECONDS)
        with self._lock:
            self._endpoints[arn] = endpoint
            endpoint.thread = threading.Thread(target=self._live, args=(arn, endpoint, seconds), name=arn, daemon=True)
            endpoint.thread.start()

    def delete(self, arn: str) -> None:
        """Let an endpoint drain and end; then nothing knows it."""
        self._set(arn, EndpointStatus="Deleting")
        with self._lock:
            endpoint = self._endpoints.pop(arn, None)
        threading.Thread(target=self._end, args=(arn, endpoint), name=f"end of {arn}", daemon=True).start()

    def invoke(self, arn: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Return what the container answers; raise NoAnswerError, KeyError if no container serves."""
        with self._lock:
            endpoint = self._endpoints[arn]
        return endpoint.server.ask("POST", "/invocations", body, headers, seconds=INVOCATION_SECONDS)

    def close(self) -> None:
        """End all containers; the next server starts them anew."""
        self._closed.set()
        with self._lock:
            endpoints, self._endpoints = list(self._endpoints.values()), {}
        for endpoint in endpoints:
            endpoint.cancelled.set()
        for endpoint in endpoints:
            if endpoint.thread is not None:
                endpoint.thread.join()
            endpoint.server.stop(seconds=0)

    def _live(self, arn: str, endpoint: _Endpoint, seconds: float) -> None:
        try:
            endpoint.server.start(endpoint.cancelled)
            endpoint.server.wait_until_healthy(endpoint.cancelled, seconds)
        except CancelledError:
            return
        except NotServingError as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001 - a defect ends this endpoint alone
            _log.exception("the endpoint %s", arn)
            reason = f"A defect of the local SageMaker, whose log has more: {error!r}"
        else:
            self._set(arn, unless="Deleting", EndpointStatus="InService")
            return
        endpoint.server.stop(seconds=0)
        self._set(arn, unless="Deleting", EndpointStatus="Failed", FailureReason=reason[:1024])

    def _end(self, arn: str, endpoint: _Endpoint | None) -> None:
        if endpoint is not None:
            endpoint.cancelled.set()
            if endpoint.thread is not None:
                endpoint.thread.join()
            endpoint.server.stop()
        self._forget(arn)

    def _forget(self, arn: str) -> None:
        record = self._records.get(ENDPOINT, arn)
        if record is None:
            return
        with contextlib.suppress(OSError):
            safe_files.wipe(self._place(record))
        self._records.delete(ENDPOINT, arn)
        self._records.delete("tags", arn)

    def _set(self, arn: str, *, unless: str = "", **fields: object) -> None:
        def changed(record: Record) -> Record:
            if record["EndpointStatus"] == unless:
                return record
            return record | fields | {"LastModifiedTime": time.time()}

        self._records.change(ENDPOINT, arn, changed)

    def _log_of(self, record: Record) -> tuple[str, str, Path]:
        """Return group, region and folder of an endpoint's log."""
        folder = self._place(record) / "log" / record["Variant"]["VariantName"]
        return f"/aws/sagemaker/Endpoints/{record['EndpointName']}", _region(record["EndpointArn"]), folder

    def _place(self, record: Record) -> Path:
        return self._folder / job_key(record["EndpointName"], _region(record["EndpointArn"]))


def _region(arn: str) -> str:
    return arn.split(":")[3]


def _instance_name() -> str:
    return f"i-{uuid.uuid4().hex[:17]}"
