"""A container that serves a model: what stands behind an endpoint, and behind a transform job.

server = ModelServer(context, ServedModel("endpoint", "star-rating", "us-east-1", model), folder, stream)
server.start(cancelled)                             # /opt/ml/model, the image, `docker run IMAGE serve`
server.wait_until_healthy(cancelled, seconds=480)   # GET /ping is 200; raises NotHealthyError with the log's end
server.ask("POST", "/invocations", body, headers, seconds=60)
server.stop()                                       # SIGTERM, SIGKILL after 30 s
"""

from __future__ import annotations

import http.client
import logging
import tarfile
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local_sagemaker.container_contract.channels import ChannelError, objects_of
from local_sagemaker.container_contract.paths import Layout, UnsafeKeyError, split
from local_sagemaker.docker_client.container import CannotStartError, Container, ContainerGoneError, EngineGoneError
from local_sagemaker.docker_client.container_request import ContainerRequest
from local_sagemaker.docker_client.engine import EngineError
from local_sagemaker.errors import EmulatorError
from local_sagemaker.runner.job_runner import RuntimeContext
from local_sagemaker.services.logs import LogStream
from local_sagemaker.services.s3_store import NoSuchObjectError
from local_sagemaker.state import job_key
from local_sagemaker.state_files import StorageError
from local_sagemaker.volumes import safe_files
from local_sagemaker.volumes.channels import BucketReader
from local_sagemaker.volumes.download import CancelledError, Throttle, Transfer

PORT = 8080
HOST = "algo-1"

STOP_SECONDS = 30.0
"""Between SIGTERM and SIGKILL; SageMaker's documentation of inference containers."""

_PING_SECONDS = 2.0
"""For an answer to one /ping, on SageMaker."""

_BETWEEN_PINGS = 0.1
_LAST_LINES = 3
"""Of the log, that a reason quotes."""

_log = logging.getLogger(__name__)


class NotServingError(EmulatorError):
    """The container cannot serve; the text is for FailureReason."""


class NoAnswerError(EmulatorError):
    """The container has not answered a request: it has ended, or took too long."""


@dataclass(frozen=True)
class ServedModel:
    """Whose container it is, and what it serves."""

    kind: str
    name: str
    region: str
    model: Mapping[str, Any]
    """CreateModel's request."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What the platform adds to the model's."""
    memory_bytes: int | None = None

    @property
    def key(self) -> str:
        """What tells it from every other of its kind, in any region."""
        return job_key(self.name, self.region)

    @property
    def container(self) -> dict[str, Any]:
        """The model's container as CreateModel has it."""
        definition: dict[str, Any] = self.model.get("PrimaryContainer") or self.model["Containers"][0]
        return definition


@dataclass(frozen=True)
class Reply:
    """What the container answers."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


class ModelServer:
    """One container; `ask` may be called from any thread."""

    def __init__(self, context: RuntimeContext, served: ServedModel, folder: Path, stream: LogStream) -> None:
        self._context = context
        self._served = served
        self._folder = folder
        self._stream = stream
        self._container: Container | None = None
        self._follower: threading.Thread | None = None
        self._lines: deque[str] = deque(maxlen=_LAST_LINES)

    def start(self, cancelled: threading.Event) -> None:
        """Make the volume and start the container; raise NotServingError, CancelledError."""
        engine, served = self._context.engine, self._served
        try:
            engine.retry(lambda: engine.remove_job(served.kind, served.key))  # of a server that was killed
            safe_files.wipe(self._folder / "hosts")
            layout = Layout(self._folder / "hosts" / HOST)
            layout.inside("model").mkdir(parents=True)
            self._fill(layout.inside("model"), Transfer(self._context.objects, Throttle(cancelled)))
            image = engine.retry(lambda: engine.image(served.container["Image"], cancelled))
            if cancelled.is_set():
                raise CancelledError
            isolated = bool(served.model.get("EnableNetworkIsolation"))
            self._container = engine.retry(
                lambda: engine.create(
                    ContainerRequest(
                        image=image,
                        name=f"{engine.prefix}-{served.kind}-{served.key}",
                        entrypoint=None,
                        arguments=["serve"],
                        environment={**served.environment, **served.container.get("Environment", {})},
                        binds=tuple(layout.binds()),
                        hostname=HOST,
                        network=engine.job_network(served.kind, served.key, isolated=True)
                        if isolated
                        else engine.shared_network(),
                        labels=engine.labels(served.kind, served.key, HOST),
                        cpus=self._context.limits.cpus,
                        memory_bytes=served.memory_bytes or self._context.limits.memory_bytes,
                        port=PORT,
                    )
                )
            )
            self._container.start()
        except (ChannelError, NoSuchObjectError, UnsafeKeyError, tarfile.TarError, EOFError, OSError) as error:
            raise NotServingError(f"Failed to download model data: {error}") from None
        except (EngineError, EngineGoneError, ContainerGoneError, CannotStartError) as error:
            if cancelled.is_set():
                raise CancelledError from None
            raise NotServingError(str(error)) from None
        self._follower = threading.Thread(target=self._follow, args=(self._container,), daemon=True)
        self._follower.start()

    def wait_until_healthy(self, cancelled: threading.Event, seconds: float) -> None:
        """Return when /ping is answered with 200; raise NotServingError, with the end of the log, CancelledError."""
        give_up = time.monotonic() + seconds
        assert self._container is not None
        why = f"did not pass the ping health check within {seconds:.0f} s"
        while time.monotonic() < give_up:
            try:
                if self.ask("GET", "/ping", seconds=_PING_SECONDS).status == 200:
                    return
            except NoAnswerError:
                pass
            if not self._container.is_running:
                why = f"did not pass the ping health check: it ended with code {self._exit_code()}"
                break
            if cancelled.wait(_BETWEEN_PINGS):
                raise CancelledError
        if self._follower is not None and not self._container.is_running:
            self._follower.join(_PING_SECONDS)
        said = " | ".join(line.strip() for line in self._lines if line.strip())
        raise NotServingError(f"The container {why}. Please check CloudWatch logs. {said and f'Its log ends: {said}'}")

    def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        seconds: float,
    ) -> Reply:
        """Return the container's answer to a request; raise NoAnswerError."""
        try:
            address = self._container.address(PORT) if self._container is not None else None
            if address is None:
                raise NoAnswerError("the container does not run")
            connection = http.client.HTTPConnection(*address, timeout=seconds)
            try:
                connection.request(method, path, body or None, dict(headers or {}))
                answer = connection.getresponse()
                found = {name.lower(): value for name, value in answer.getheaders()}
                return Reply(answer.status, found, answer.read())
            finally:
                connection.close()
        except TimeoutError:
            raise NoAnswerError(f"it took more than {seconds:.0f} s") from None
        except (OSError, http.client.HTTPException, ContainerGoneError, EngineGoneError) as error:
            raise NoAnswerError(f"the container does not answer: {error}") from None

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """End the container, and leave nothing on the engine and on the disk; an engine that is away keeps its own."""
        container, engine = self._container, self._context.engine
        if container is not None:
            container.signal("SIGTERM")
            give_up = time.monotonic() + seconds
            while time.monotonic() < give_up and _runs(container):
                time.sleep(_BETWEEN_PINGS)
        try:
            engine.retry(lambda: engine.remove_job(self._served.kind, self._served.key))
        except EngineError as error:
            _log.warning("the container of %s stays until the engine answers: %s", self._served.name, error)
        if self._follower is not None:
            self._follower.join(_PING_SECONDS)
        safe_files.wipe(self._folder / "hosts")

    def _exit_code(self) -> int | str:
        assert self._container is not None
        try:
            return self._container.exit().code
        except (ContainerGoneError, EngineGoneError):
            return "unknown"

    def _follow(self, container: Container) -> None:
        try:
            for line in container.follow():
                self._lines.append(line.text)
                self._stream.write([line])
        except (ContainerGoneError, EngineGoneError):
            pass
        except StorageError:
            _log.exception("the log of %s", self._served.name)

    def _fill(self, folder: Path, transfer: Transfer) -> None:
        """Bring the model's files to /opt/ml/model: an archive is unpacked."""
        container = self._served.container
        source = container.get("ModelDataSource", {}).get("S3DataSource")
        uri = source["S3Uri"] if source else container.get("ModelDataUrl")
        if uri is None:
            return
        if source and source.get("CompressionType") == "None":
            channel = {"ChannelName": "model", "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}}
            transfer.copy(objects_of(channel, BucketReader(self._context.objects)), folder)
            return
        with tarfile.open(self._context.objects.path(*split(uri)), "r:*") as archive:
            archive.extractall(folder, filter="data")


def _runs(container: Container) -> bool:
    try:
        return container.is_running
    except EngineGoneError:
        return False
