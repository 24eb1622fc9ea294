"""What endpoints, transform jobs and tuning jobs have in common: a record that says everything, and a thread each.

    class Transforms(RunningResources): ...
    transforms = Transforms(context, records, state / "transforms")
    transforms.start(arn); transforms.stop(arn)
    transforms.recover()        # of an earlier server: each goes on, or begins again

The record is what Describe answers, with what else the resource was made of; the API keeps it before the thread starts.
"""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from local_sagemaker.entity_store import EntityStore, Record
from local_sagemaker.errors import EmulatorError
from local_sagemaker.job_service import NoSuchJobError
from local_sagemaker.runner.job_runner import RuntimeContext
from local_sagemaker.services.logs import load_group
from local_sagemaker.state import job_key
from local_sagemaker.volumes.download import CancelledError

_log = logging.getLogger(__name__)

_LONGEST_REASON = 1024


class RunningResources(ABC):
    """All resources of a kind; safe to use from any thread."""

    kind: ClassVar[str]
    """Of the records, of labels on the engine, and in the ARN."""
    title: ClassVar[str]
    """What its fields begin with: EndpointStatus."""
    running: ClassVar[tuple[str, ...]] = ("InProgress", "Stopping")
    """Statuses with a thread."""
    kept: ClassVar[tuple[str, ...]] = ()
    """Statuses that nothing but the API changes any more: an end does not replace them."""
    end_time: ClassVar[str] = ""
    """Field of the time at which it ended, if there is one."""
    reason_prefix: ClassVar[str] = ""

    def __init__(self, context: RuntimeContext, records: EntityStore, folder: Path) -> None:
        self.context = context
        self.records = records
        self._folder = folder
        self._threads: dict[str, tuple[threading.Event, threading.Thread]] = {}
        self.closed = threading.Event()
        """Whether the server ends: what runs is left to the next one."""

    def recover(self) -> None:
        """Bring the logs of an earlier server back, and go on with what ran there."""
        for record in self.records.all(self.kind):
            log = self.log_of(record)
            if log is not None:
                load_group(log[0], self.region(record), self.place(record) / "log", log[1])
            if record[f"{self.title}Status"] in self.running:
                self.start(record[f"{self.title}Arn"])

    def keeps(self) -> set[tuple[str, str]]:
        """Return kind and key of all that may be on the engine."""
        running = [record for record in self.records.all(self.kind) if record[f"{self.title}Status"] in self.running]
        return {(self.kind, self.key(record)) for record in running}

    def start(self, arn: str) -> None:
        """Run a resource whose record is there, or go on with it."""
        cancelled = threading.Event()
        thread = threading.Thread(target=self._live, args=(arn, cancelled), name=arn, daemon=True)
        self._threads[arn] = (cancelled, thread)
        thread.start()

    def stop(self, arn: str) -> None:
        """Let a job end, unless it has ended meanwhile."""
        status = f"{self.title}Status"
        self.change(arn, lambda now: {status: "Stopping"} if now[status] in self.running else {})
        self.cancel(arn)

    def cancel(self, arn: str) -> threading.Thread | None:
        """Tell a resource's thread to end, and return it."""
        cancelled, thread = self._threads.get(arn, (None, None))
        if cancelled is not None:
            cancelled.set()
        return thread

    def close(self) -> None:
        """End all threads and containers."""
        self.closed.set()
        for thread in [self.cancel(arn) for arn in list(self._threads)]:
            if thread is not None:
                thread.join()

    @abstractmethod
    def run(self, record: Record, cancelled: threading.Event) -> str | None:
        """Run a resource to its end and return its last status, None to leave it as it is.

        EmulatorError is a failure, with its text as the reason; CancelledError is a stop.
        """

    def log_of(self, record: Record) -> tuple[str, str] | None:
        """Return the log group, and what the names of its streams begin with; None without a log of its own."""
        del record
        return None

    def place(self, record: Record) -> Path:
        """Return the folder of a resource."""
        return self._folder / self.key(record)

    def key(self, record: Record) -> str:
        """Return what tells a resource from every other of its kind, in any region."""
        return job_key(record[f"{self.title}Name"], self.region(record))

    def region(self, record: Record) -> str:
        """Return the region of a resource."""
        return str(record[f"{self.title}Arn"].split(":")[3])

    def set(self, arn: str, **fields: object) -> Record:
        """Set fields of a record and return it; raise NoSuchJobError if it has been deleted."""
        return self.change(arn, lambda _: fields)

    def change(self, arn: str, change: Callable[[Record], Record]) -> Record:
        """Set the fields that `change` makes of a record, likewise."""
        now = {"LastModifiedTime": time.time()}
        record = self.records.change(self.kind, arn, lambda record: record | change(record) | now)
        if record is None:
            raise NoSuchJobError(f"{arn} has been deleted")
        return record

    def _live(self, arn: str, cancelled: threading.Event) -> None:
        record = self.records.get(self.kind, arn)
        if record is None:
            return
        try:
            if record[f"{self.title}Status"] == "Stopping":
                cancelled.set()
            fields = self._ended(self.run(record, cancelled))
        except CancelledError:
            fields = self._ended(None if self.closed.is_set() else "Stopped")
        except NoSuchJobError:
            fields = {}
        except EmulatorError as error:  # a full disk, say
            fields = self._ended("Failed", f"{self.reason_prefix}{error}")
        except Exception as error:  # noqa: BLE001 - a defect ends this resource alone
            _log.exception("%s", arn)
            fields = self._ended("Failed", f"A defect of the local SageMaker, whose log has more: {error!r}")
        self._threads.pop(arn, None)
        if fields:
            status = f"{self.title}Status"
            self.records.change(
                self.kind, arn, lambda record: record if record[status] in self.kept else record | fields
            )

    def _ended(self, status: str | None, reason: str = "") -> Record:
        if status is None:
            return {}
        now = time.time()
        fields: Record = {f"{self.title}Status": status, "LastModifiedTime": now}
        fields |= {self.end_time: now} if self.end_time else {}
        return fields | ({"FailureReason": reason[:_LONGEST_REASON]} if reason else {})
