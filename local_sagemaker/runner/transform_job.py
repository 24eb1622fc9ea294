"""Batch transform jobs: a container of the model's image answers for each object below a prefix, OBJECT.out in S3.

    transforms = Transforms(context, records, state / "transforms")
    transforms.start(arn); transforms.stop(arn)
    transforms.recover()        # of an earlier server: begun anew, as their outputs are replaced

A transform job is a record of its own kind: what DescribeTransformJob answers, and `Model`, which it was made of.
"""

from __future__ import annotations

import gzip
import json
import logging
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from local_sagemaker.container_contract.channels import ChannelError, Item, objects_of
from local_sagemaker.container_contract.paths import join, split
from local_sagemaker.errors import EmulatorError
from local_sagemaker.runner.hosting import HEALTH_SECONDS, Records
from local_sagemaker.runner.job_runner import RuntimeContext
from local_sagemaker.runner.model_server import ModelServer, NoAnswerError, ServedModel
from local_sagemaker.services.logs import LogStream, load_group
from local_sagemaker.services.s3_store import NoSuchObjectError
from local_sagemaker.state import job_key
from local_sagemaker.volumes.channels import BucketReader
from local_sagemaker.volumes.download import CancelledError

TRANSFORM = "transform-job"
"""Kind of record, of label on the engine, and in the ARN."""

GROUP = "/aws/sagemaker/TransformJobs"

_RUNS = ("InProgress", "Stopping")
_INVOCATION_SECONDS = 600
_PAYLOAD_MB = 6
"""MaxPayloadInMB of a request that names none."""

_PARAMETERS_SECONDS = 10.0

_log = logging.getLogger(__name__)

Record = dict[str, Any]


class TransformError(EmulatorError):
    """The job cannot go on; the text is for FailureReason."""


class Transforms:
    """All transform jobs, each with a thread while it runs."""

    def __init__(self, context: RuntimeContext, records: Records, folder: Path) -> None:
        self._context = context
        self._records = records
        self._folder = folder
        self._running: dict[str, tuple[threading.Event, threading.Thread]] = {}
        self._closed = threading.Event()

    def recover(self) -> None:
        """Bring the logs of an earlier server back, and begin its jobs anew."""
        for record in self._records.all(TRANSFORM):
            load_group(GROUP, _region(record), self._place(record) / "log", record["TransformJobName"])
            if record["TransformJobStatus"] == "Stopping":
                self._end(record["TransformJobArn"], "Stopped")
            elif record["TransformJobStatus"] == "InProgress":
                self.start(record["TransformJobArn"])

    def keeps(self) -> set[tuple[str, str]]:
        """Return kind and key of all that may be on the engine."""
        return {
            (TRANSFORM, job_key(record["TransformJobName"], _region(record)))
            for record in self._records.all(TRANSFORM)
            if record["TransformJobStatus"] in _RUNS
        }

    def start(self, arn: str) -> None:
        """Begin with a job whose record is there."""
        cancelled = threading.Event()
        thread = threading.Thread(target=self._live, args=(arn, cancelled), name=arn, daemon=True)
        self._running[arn] = (cancelled, thread)
        thread.start()

    def stop(self, arn: str) -> None:
        """Let a job end: what it has written stays."""
        self._records.change(TRANSFORM, arn, lambda record: record | {"TransformJobStatus": "Stopping"})
        if arn in self._running:
            self._running[arn][0].set()

    def close(self) -> None:
        """End all containers; the next server begins their jobs anew."""
        self._closed.set()
        for cancelled, thread in list(self._running.values()):
            cancelled.set()
            thread.join()

    def _live(self, arn: str, cancelled: threading.Event) -> None:
        record = self._records.get(TRANSFORM, arn)
        assert record is not None
        region, place = _region(record), self._place(record)
        stream = LogStream(GROUP, region, f"{record['TransformJobName']}/i-{uuid.uuid4().hex[:17]}", place / "log")
        served = ServedModel(TRANSFORM, record["TransformJobName"], region, record["Model"], _environment(record))
        server = ModelServer(self._context, served, place, stream)
        try:
            server.start(cancelled)
            server.wait_until_healthy(cancelled, HEALTH_SECONDS)
            self._transform(record, server, cancelled)
        except CancelledError:
            status, reason = "Stopped", None
        except EmulatorError as error:
            status, reason = "Failed", f"ClientError: {error}"
        except Exception as error:  # noqa: BLE001 - a defect ends this job alone
            _log.exception("the transform job %s", arn)
            status, reason = "Failed", f"A defect of the local SageMaker, whose log has more: {error!r}"
        else:
            status, reason = "Completed", None
        server.stop()
        self._running.pop(arn, None)
        if not (self._closed.is_set() and status == "Stopped"):
            self._end(arn, status, reason)

    def _transform(self, record: Record, server: ModelServer, cancelled: threading.Event) -> None:
        """Ask for each object's records, some at a time, and write the answers in their order."""
        source = record["TransformInput"]["DataSource"]["S3DataSource"]
        channel = {"ChannelName": "input", "DataSource": {"S3DataSource": source}}
        try:
            items = objects_of(channel, BucketReader(self._context.objects))
        except (ChannelError, ValueError) as error:
            raise TransformError(str(error)) from None
        at_once = record.get("MaxConcurrentTransforms") or _asked(server).get("MaxConcurrentTransforms") or 1
        self._records.change(
            TRANSFORM, record["TransformJobArn"], lambda now: now | {"TransformStartTime": time.time()}
        )
        with ThreadPoolExecutor(max(1, int(at_once))) as pool:
            for item in items:
                bodies = list(self._bodies(record, item))
                answers = list(pool.map(lambda body, item=item: _answer(record, server, item, body, cancelled), bodies))
                self._write(record, item, answers)

    def _bodies(self, record: Record, item: Item) -> Iterator[bytes]:
        """Yield an object's requests: the whole, a line each, or as many lines as a request may have."""
        try:
            content = self._context.objects.path(item.bucket, item.key).read_bytes()
            if record["TransformInput"].get("CompressionType") == "Gzip":
                content = gzip.decompress(content)
        except (NoSuchObjectError, OSError, EOFError) as error:
            raise TransformError(f"{item.uri} cannot be read: {error}") from None
        largest = (record.get("MaxPayloadInMB", _PAYLOAD_MB) or 100) << 20
        is_split = record["TransformInput"].get("SplitType", "None") == "Line"
        parts = content.splitlines(keepends=True) if is_split else [content]
        if any(len(part) > largest for part in parts):
            what = "a record" if is_split else "the object"
            raise TransformError(f"{item.uri}: {what} is larger than MaxPayloadInMB, {largest >> 20}")
        if is_split and record.get("BatchStrategy", "MultiRecord") == "MultiRecord":
            parts = list(_joined(parts, largest))
        yield from parts

    def _write(self, record: Record, item: Item, answers: list[bytes]) -> None:
        output = record["TransformOutput"]
        is_lines = output.get("AssembleWith", "None") == "Line"
        content = b"".join(answer if not is_lines or answer.endswith(b"\n") else answer + b"\n" for answer in answers)
        bucket, key = split(join(output["S3OutputPath"], f"{item.path}.out"))
        path = self._place(record) / "answer"
        path.write_bytes(content)
        try:
            self._context.objects.put_file(bucket, key, path)
        except NoSuchObjectError as error:
            raise TransformError(f"{output['S3OutputPath']} cannot be written: {error}") from None
        finally:
            path.unlink()

    def _end(self, arn: str, status: str, reason: str | None = None) -> None:
        ended = {"TransformJobStatus": status, "TransformEndTime": time.time()}
        if reason is not None:
            ended["FailureReason"] = reason[:1024]
        self._records.change(TRANSFORM, arn, lambda record: record | ended)

    def _place(self, record: Record) -> Path:
        return self._folder / job_key(record["TransformJobName"], _region(record))


def _answer(record: Record, server: ModelServer, item: Item, body: bytes, cancelled: threading.Event) -> bytes:
    """Return what the container answers; raise TransformError for one that is no success."""
    client = record.get("ModelClientConfig", {})
    headers = {
        "Content-Type": record["TransformInput"].get("ContentType"),
        "Accept": record["TransformOutput"].get("Accept"),
    }
    said = ""
    for _ in range(1 + client.get("InvocationsMaxRetries", 0)):
        if cancelled.is_set():
            raise CancelledError
        try:
            reply = server.ask(
                "POST",
                "/invocations",
                body,
                {header: value for header, value in headers.items() if value is not None},
                seconds=client.get("InvocationsTimeoutInSeconds", _INVOCATION_SECONDS),
            )
        except NoAnswerError as error:
            said = str(error)
            continue
        if 200 <= reply.status < 300:
            return reply.body
        said = f"{reply.status}: {reply.body[:500].decode('utf-8', 'replace')}"
        if reply.status < 500 and reply.status != 429:  # the same again would be the same
            break
    raise TransformError(f"{item.uri}: the container's answer is no success. {said}")


def _asked(server: ModelServer) -> Record:
    """Return what the container says of itself, where it does."""
    try:
        reply = server.ask("GET", "/execution-parameters", seconds=_PARAMETERS_SECONDS)
        found = json.loads(reply.body) if reply.status == 200 else {}
    except (NoAnswerError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _joined(lines: list[bytes], largest: int) -> Iterator[bytes]:
    batch: list[bytes] = []
    size = 0
    for line in lines:
        if batch and size + len(line) > largest:
            yield b"".join(batch)
            batch, size = [], 0
        batch.append(line)
        size += len(line)
    if batch:
        yield b"".join(batch)


def _environment(record: Record) -> dict[str, str]:
    """Return what the platform tells the container, and the job's own variables."""
    platform = {
        "SAGEMAKER_BATCH": "true",
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": str(record.get("MaxPayloadInMB", _PAYLOAD_MB)),
        "SAGEMAKER_BATCH_STRATEGY": {"SingleRecord": "SINGLE_RECORD"}.get(
            record.get("BatchStrategy", ""), "MULTI_RECORD"
        ),
    }
    if "MaxConcurrentTransforms" in record:
        platform["SAGEMAKER_MAX_CONCURRENT_TRANSFORMS"] = str(record["MaxConcurrentTransforms"])
    return {**platform, **record.get("Environment", {})}


def _region(record: Record) -> str:
    return str(record["TransformJobArn"].split(":")[3])
