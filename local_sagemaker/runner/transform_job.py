"""Batch transform jobs: a container of the model's image answers for each object below a prefix, OBJECT.out in S3.

    transforms = Transforms(context, records, state / "transforms")
    transforms.start(arn); transforms.stop(arn)

A transform job's record has also `Model`, which it was made of.
"""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from local_sagemaker.container_contract.channels import ChannelError, Item, objects_of
from local_sagemaker.container_contract.paths import join, split
from local_sagemaker.entity_store import Record
from local_sagemaker.errors import EmulatorError
from local_sagemaker.runner.model_server import HEALTH_SECONDS, ModelServer, NoAnswerError
from local_sagemaker.runner.running_resources import RunningResources
from local_sagemaker.services.s3_store import NoSuchObjectError
from local_sagemaker.volumes.channels import BucketReader
from local_sagemaker.volumes.download import CancelledError

TRANSFORM = "transform-job"

_INVOCATION_SECONDS = 600
_PAYLOAD_MB = 6
"""MaxPayloadInMB of a request that names none."""

_PARAMETERS_SECONDS = 10.0


class TransformError(EmulatorError):
    """The job cannot go on; the text is for FailureReason."""


class Transforms(RunningResources):
    """All transform jobs; one of a killed server begins again, as its outputs are replaced."""

    kind, title, end_time = TRANSFORM, "TransformJob", "TransformEndTime"
    reason_prefix = "ClientError: "

    def run(self, record: Record, cancelled: threading.Event) -> str:
        """Answer for every object."""
        server = ModelServer(self, record, _environment(record))
        with server.serving(cancelled, HEALTH_SECONDS):
            self._transform(record, server, cancelled)
        return "Completed"

    def log_of(self, record: Record) -> tuple[str, str]:
        """Return the group of all transform jobs."""
        return "/aws/sagemaker/TransformJobs", record["TransformJobName"]

    def _transform(self, record: Record, server: ModelServer, cancelled: threading.Event) -> None:
        """Ask for each object's records, some at a time, and write the answers in their order."""
        source = record["TransformInput"]["DataSource"]["S3DataSource"]
        channel = {"ChannelName": "input", "DataSource": {"S3DataSource": source}}
        try:
            items = objects_of(channel, BucketReader(self.context.objects))
        except (ChannelError, ValueError) as error:
            raise TransformError(str(error)) from None
        at_once = record.get("MaxConcurrentTransforms") or _asked(server).get("MaxConcurrentTransforms") or 1
        self.set(record["TransformJobArn"], TransformStartTime=time.time())
        with ThreadPoolExecutor(max(1, int(at_once))) as pool:
            for item in items:
                bodies = list(self._bodies(record, item))
                answers = list(pool.map(lambda body, item=item: _answer(record, server, item, body, cancelled), bodies))
                self._write(record, item, answers)

    def _bodies(self, record: Record, item: Item) -> Iterator[bytes]:
        """Yield an object's requests: the whole, a line each, or as many lines as a request may have."""
        try:
            content = self.context.objects.path(item.bucket, item.key).read_bytes()
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
        path = self.place(record) / "answer"
        path.write_bytes(content)
        try:
            self.context.objects.put_file(bucket, key, path)
        except NoSuchObjectError as error:
            raise TransformError(f"{output['S3OutputPath']} cannot be written: {error}") from None
        finally:
            path.unlink()


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
