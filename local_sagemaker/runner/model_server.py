"""A container that serves a model: what stands behind an endpoint, and behind a transform job.

server = ModelServer(hosting, record)
with server.serving(cancelled, seconds=480):        # `docker run IMAGE serve` with /opt/ml/model; GET /ping is 200
    server.ask("POST", "/invocations", body, headers, seconds=60)
                                                    # SIGTERM, SIGKILL after 30 s

A container that a killed server has left goes on; the log of one that has ended meanwhile is read to its end.
"""

from __future__ import annotations

import http.client
import logging
import tarfile
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from local_sagemaker.container_contract.channels import ChannelError, objects_of
from local_sagemaker.container_contract.paths import Layout, UnsafeKeyError, split
from local_sagemaker.docker_client.container import CannotStartError, Container, ContainerGoneError, EngineGoneError
from local_sagemaker.docker_client.container_log import LogLine
from local_sagemaker.docker_client.container_request import ContainerRequest, Image
from local_sagemaker.docker_client.engine import EngineError
from local_sagemaker.entity_store import Record
from local_sagemaker.errors import EmulatorError
from local_sagemaker.runner.log_follower import LogReader
from local_sagemaker.runner.running_resources import RunningResources
from local_sagemaker.services.logs import LogStream
from local_sagemaker.services.s3_store import NoSuchObjectError
from local_sagemaker.state_files import StorageError
from local_sagemaker.volumes import safe_files
from local_sagemaker.volumes.channels import BucketReader
from local_sagemaker.volumes.download import CancelledError, Throttle, Transfer

PORT = 8080
HOST = "algo-1"

HEALTH_SECONDS = 480.0
"""For the first 200 of /ping, where the variant names no other limit."""

STOP_SECONDS = 30.0
"""Between SIGTERM and SIGKILL; SageMaker's documentation of inference containers."""

_PING_SECONDS = 2.0
"""For an answer to one /ping, on SageMaker."""

_BETWEEN_PINGS = 0.1
_LOG_SECONDS = 5.0
"""For the last lines of a container that has ended."""

_LAST_LINES = 3
"""Of the log, that a reason quotes."""

_log = logging.getLogger(__name__)


class NotServingError(EmulatorError):
    """The container cannot serve; the text is for FailureReason."""


class NoAnswerError(EmulatorError):
    """The container has not answered a request: it has ended, or took too long."""


@dataclass(frozen=True)
class Reply:
    """What the container answers."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


class ModelServer:
    """One container; `ask` may be called from any thread."""

    def __init__(
        self,
        resources: RunningResources,
        record: Record,
        environment: Mapping[str, str] = MappingProxyType({}),
        memory_bytes: int | None = None,
    ) -> None:
        """Serve the `Model` of a record of `resources`; the model's own variables stand above `environment`."""
        self._context = resources.context
        self._kind, self._key = resources.kind, resources.key(record)
        self._region, self._log = resources.region(record), resources.log_of(record)
        self._folder = resources.place(record)
        self._model: Record = record["Model"]
        self._definition: Record = self._model.get("PrimaryContainer") or self._model["Containers"][0]
        self._environment = {**environment, **self._definition.get("Environment", {})}
        self._memory_bytes = memory_bytes or self._context.limits.memory_bytes
        self._container: Container | None = None
        self._follower: threading.Thread | None = None
        self._lines: deque[str] = deque(maxlen=_LAST_LINES)

    @contextmanager
    def serving(self, cancelled: threading.Event, seconds: float) -> Iterator[None]:
        """Serve within the block, once /ping is answered with 200; raise NotServingError, CancelledError.

        The block's end lets it drain; an exception does not.
        """
        drain = 0.0
        try:
            self._start(cancelled)
            self._wait_until_healthy(cancelled, seconds)
            yield
            drain = STOP_SECONDS
        finally:
            self._stop(drain)

    def _start(self, cancelled: threading.Event) -> None:
        """Find the container that a killed server has left, or start one on a volume of its own."""
        engine = self._context.engine
        try:
            if not self._is_found():
                engine.retry(lambda: engine.remove_job(self._kind, self._key))
                layout = Layout(self._folder / "hosts" / HOST)
                safe_files.wipe(self._folder / "hosts")
                layout.inside("model").mkdir(parents=True)
                self._fill(layout.inside("model"), Transfer(self._context.objects, Throttle(cancelled)))
                image = engine.retry(lambda: engine.image(self._definition["Image"], cancelled))
                if cancelled.is_set():
                    raise CancelledError
                stream = self._new_stream()
                self._container = engine.retry(lambda: engine.create(self._request(image, layout)))
                self._container.start()
                self._follow(self._container, stream)
        except (ChannelError, NoSuchObjectError, UnsafeKeyError, tarfile.TarError, EOFError, OSError) as error:
            raise NotServingError(f"Failed to download model data: {error}") from None
        except (EngineError, EngineGoneError, ContainerGoneError, CannotStartError) as error:
            if cancelled.is_set():
                raise CancelledError from None
            raise NotServingError(str(error)) from None

    def _is_found(self) -> bool:
        """Go on with a container that runs; of one that has ended, bring the log to its end."""
        engine = self._context.engine
        for container in engine.retry(lambda: engine.containers(self._kind, self._key)):
            streams = sorted((self._folder / "log").glob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
            follower = self._follow(container, self._stream(streams[-1].stem) if streams else self._new_stream())
            if container.is_running:
                self._container = container
                return True
            follower.join()
        return False

    def _request(self, image: Image, layout: Layout) -> ContainerRequest:
        engine = self._context.engine
        is_isolated = bool(self._model.get("EnableNetworkIsolation"))
        return ContainerRequest(
            image=image,
            name=f"{engine.prefix}-{self._kind}-{self._key}",
            entrypoint=None,
            arguments=["serve"],
            environment=self._environment,
            binds=tuple(layout.binds()),
            hostname=HOST,
            network=engine.job_network(self._kind, self._key, isolated=True)
            if is_isolated
            else engine.shared_network(),
            labels=engine.labels(self._kind, self._key, HOST),
            cpus=self._context.limits.cpus,
            memory_bytes=self._memory_bytes,
            port=PORT,
        )

    def _wait_until_healthy(self, cancelled: threading.Event, seconds: float) -> None:
        give_up = time.monotonic() + seconds
        assert self._container is not None
        why = f"did not pass the ping health check within {seconds:.0f} s"
        while time.monotonic() < give_up:
            with suppress(NoAnswerError):
                if self.ask("GET", "/ping", seconds=_PING_SECONDS).status == 200:
                    return
            if not self._container.is_running:
                why = f"did not pass the ping health check: it ended with code {self._exit_code()}"
                self._read_to_the_end()
                break
            if cancelled.wait(_BETWEEN_PINGS):
                raise CancelledError
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

    def _stop(self, seconds: float) -> None:
        """End the container, and leave nothing on the engine and on the disk; an engine that is away keeps its own."""
        container, engine = self._container, self._context.engine
        if container is not None:
            container.signal("SIGTERM")
            give_up = time.monotonic() + seconds
            with suppress(EngineGoneError):
                while time.monotonic() < give_up and container.is_running:
                    time.sleep(_BETWEEN_PINGS)
                if not container.is_running:
                    self._read_to_the_end()
        try:
            engine.retry(lambda: engine.remove_job(self._kind, self._key))
        except EngineError as error:
            _log.warning("the container of %s stays until the engine answers: %s", self._key, error)
        safe_files.wipe(self._folder / "hosts")

    def _exit_code(self) -> int | str:
        assert self._container is not None
        try:
            return self._container.exit().code
        except (ContainerGoneError, EngineGoneError):
            return "unknown"

    def _read_to_the_end(self) -> None:
        if self._follower is not None:
            self._follower.join(_LOG_SECONDS)

    def _stream(self, name: str) -> LogStream:
        assert self._log is not None
        group, prefix = self._log
        return LogStream(group, self._region, f"{prefix}/{name}", self._folder / "log")

    def _new_stream(self) -> LogStream:
        """Return the stream of a container that is about to be made: the newest one is always the last container's."""
        stream = self._stream(f"i-{uuid.uuid4().hex[:17]}")
        stream.write([])
        return stream

    def _follow(self, container: Container, stream: LogStream) -> threading.Thread:
        """Write a container's log, behind what is kept of it, in a thread that ends with the container."""

        def follow() -> None:
            try:
                for entry in LogReader(container, stream.kept()).entries():
                    if isinstance(entry, LogLine):
                        self._lines.append(entry.text)
                        stream.write([entry])
                    else:
                        stream.clear()
            except ContainerGoneError:
                pass
            except StorageError:
                _log.exception("the log of %s", self._key)

        self._follower = threading.Thread(target=follow, name=f"log of {self._key}", daemon=True)
        self._follower.start()
        return self._follower

    def _fill(self, folder: Path, transfer: Transfer) -> None:
        """Bring the model's files to /opt/ml/model: an archive is unpacked."""
        source = self._definition.get("ModelDataSource", {}).get("S3DataSource")
        uri = source["S3Uri"] if source else self._definition.get("ModelDataUrl")
        if uri is None:
            return
        if source and source.get("CompressionType") == "None":
            channel = {"ChannelName": "model", "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}}
            transfer.copy(objects_of(channel, BucketReader(self._context.objects)), folder)
            return
        with tarfile.open(self._context.objects.path(*split(uri)), "r:*") as archive:
            archive.extractall(folder, filter="data")
