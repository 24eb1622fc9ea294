"""A job's log from CloudWatch: all hosts in time order, each line once, at most a page of each host in memory.

    tail = LogTail("/aws/sagemaker/TrainingJobs", "star-rating-1", session)
    for line in tail.new_lines(): ...       # what has come since the last call

Each stream is read with its forward token, so nothing is read twice or missed, whatever the clocks say; the streams'
pages are merged by time as they come.
"""

from __future__ import annotations

import datetime as dt
import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from launcher.aws.errors import Answer, is_missing, is_transient, translating_aws_errors
from launcher.aws.session import Session

PAGE = 10_000
"""Events a page; also AWS's limit, beside a megabyte."""


@dataclass(frozen=True)
class LogLine:
    """One line that a host wrote."""

    time: dt.datetime
    host: str
    text: str

    def __str__(self) -> str:
        return f"{self.host} {self.text}"


@dataclass
class _Stream:
    name: str
    token: str | None = None

    @property
    def host(self) -> str:
        """`star-rating-1/algo-2-1732274634` is host algo-2."""
        return "-".join(self.name.rpartition("/")[2].split("-")[:2])


class LogTail:
    """The log of one job, from its first line on."""

    def __init__(self, log_group: str, job_name: str, session: Session) -> None:
        self._group = log_group
        self._prefix = f"{job_name}/"
        self._session = session
        self._streams: dict[str, _Stream] = {}

    def new_lines(self) -> Iterator[LogLine]:
        """Yield every line that has come since the last call, in time order over all hosts.

        A throttled stream is left for the next call, with nothing lost.
        """
        self._find_streams()
        return heapq.merge(*(self._pages(stream) for stream in self._streams.values()), key=lambda line: line.time)

    def _find_streams(self) -> None:
        """Look for new streams: hosts start at different times, and a restarted host begins another one."""
        arguments: dict[str, Any] = {"logGroupName": self._group, "logStreamNamePrefix": self._prefix}
        while True:
            page = self._call("describe_log_streams", arguments)
            if page is None:
                return
            for stream in page.get("logStreams", []):
                self._streams.setdefault(stream["logStreamName"], _Stream(stream["logStreamName"]))
            if not page.get("nextToken"):
                return
            arguments["nextToken"] = page["nextToken"]

    def _pages(self, stream: _Stream) -> Iterator[LogLine]:
        while True:
            arguments = {
                "logGroupName": self._group,
                "logStreamName": stream.name,
                "startFromHead": True,
                "limit": PAGE,
            }
            page = self._call("get_log_events", arguments | ({"nextToken": stream.token} if stream.token else {}))
            if page is None:
                return
            for event in page["events"]:
                time = dt.datetime.fromtimestamp(event["timestamp"] / 1000, dt.UTC)
                yield LogLine(time, stream.host, event["message"].rstrip("\n"))
            # AWS's sign for the end: the token that came back is the one that was sent.
            at_end = page["nextForwardToken"] == stream.token
            stream.token = page["nextForwardToken"]
            if at_end:
                return

    def _call(self, operation: str, arguments: dict[str, Any]) -> Answer:
        """Return a page, or None if there is none yet, or none now."""
        with translating_aws_errors("read the log"):
            try:
                return getattr(self._session.client("logs"), operation)(**arguments)
            except Exception as error:
                if is_missing(error) or is_transient(error):
                    return None
                raise
