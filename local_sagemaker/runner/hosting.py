"""Endpoints: one container of the model's image behind each, from CreateEndpoint to DeleteEndpoint.

    hosting = Hosting(context, records, state / "endpoints")
    hosting.start(arn); hosting.delete(arn)
    hosting.invoke(arn, body, headers)      # the container's answer
    hosting.recover()                       # endpoints of an earlier server serve again

An endpoint's record has also `Model` and `Variant`, which it was made of: its model and its configuration may be
deleted meanwhile.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from pathlib import Path

from local_sagemaker.entity_store import EntityStore, Record
from local_sagemaker.runner.job_runner import RuntimeContext
from local_sagemaker.runner.model_server import HEALTH_SECONDS, ModelServer, NotServingError, Reply
from local_sagemaker.runner.running_resources import RunningResources
from local_sagemaker.volumes import safe_files

ENDPOINT = "endpoint"

INVOCATION_SECONDS = 60.0


class Hosting(RunningResources):
    """All endpoints."""

    kind, title = ENDPOINT, "Endpoint"
    running = ("Creating", "InService")
    kept = ("Deleting",)

    def __init__(self, context: RuntimeContext, records: EntityStore, folder: Path) -> None:
        super().__init__(context, records, folder)
        self._servers: dict[str, ModelServer] = {}
        for record in records.all(ENDPOINT):  # before anybody asks: no container of an earlier server is known yet
            if record["EndpointStatus"] == "InService":
                self.set(record["EndpointArn"], EndpointStatus="Creating")

    def recover(self) -> None:
        """Let the endpoints of an earlier server serve again; forget those that were being deleted."""
        for record in self.records.all(ENDPOINT):
            if record["EndpointStatus"] == "Deleting":
                self._forget(record)
        super().recover()

    def delete(self, arn: str) -> None:
        """Let an endpoint drain and end; then nothing knows it."""
        record = self.set(arn, EndpointStatus="Deleting")

        def end() -> None:
            thread = self.cancel(arn)
            if thread is not None:
                thread.join()
            self._forget(record)

        threading.Thread(target=end, name=f"end of {arn}", daemon=True).start()

    def invoke(self, arn: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Return what the container answers; raise NoAnswerError, KeyError if no container serves."""
        return self._servers[arn].ask("POST", "/invocations", body, headers, seconds=INVOCATION_SECONDS)

    def run(self, record: Record, cancelled: threading.Event) -> None:
        """Serve until the endpoint is deleted."""
        arn, variant = record["EndpointArn"], record["Variant"]
        memory = variant.get("ServerlessConfig", {}).get("MemorySizeInMB", 0) << 20
        server = ModelServer(self, record, memory_bytes=memory or None)
        seconds = variant.get("ContainerStartupHealthCheckTimeoutInSeconds", HEALTH_SECONDS)
        try:
            with server.serving(cancelled, seconds):
                self._servers[arn] = server
                self.change(
                    arn, lambda now: {} if now["EndpointStatus"] in self.kept else {"EndpointStatus": "InService"}
                )
                cancelled.wait()
                del self._servers[arn]
        except NotServingError:
            if not cancelled.is_set():
                raise

    def log_of(self, record: Record) -> tuple[str, str]:
        """Return the endpoint's own group."""
        return f"/aws/sagemaker/Endpoints/{record['EndpointName']}", record["Variant"]["VariantName"]

    def _forget(self, record: Record) -> None:
        with contextlib.suppress(OSError):
            safe_files.wipe(self.place(record))
        for kind in (ENDPOINT, "tags"):
            self.records.delete(kind, record["EndpointArn"])
