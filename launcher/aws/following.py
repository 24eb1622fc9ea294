"""The wait loop: poll, yield what is new, sleep; with growing intervals while nothing changes.

    for event in follow(name, reattach_command, look, tail, timeout=3600, poll_interval=10): print(event)

An event prints as one line. A poll that AWS refuses because it is busy counts as nothing new; after a
quarter of an hour of that, the wait ends.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from launcher.aws.errors import NotFoundError
from launcher.aws.log_tail import LogLine, LogTail
from launcher.aws.metrics import rule_statuses
from launcher.errors import AwsError, WaitTimeoutError
from launcher.terminal import Terminal

RETRY_SECONDS = 900.0
"""Seconds that AWS may be busy without a single answer."""

FIRST_INTERVAL = 1.0
"""Seconds; grows by half each time that nothing has changed, up to poll_interval."""

QUIET_POLLS = 3
QUIET_INTERVAL = 2.0
"""Empty readings after the end, and seconds between them, before the log counts as complete: lines come late."""


@dataclass(frozen=True)
class Phase:
    """A secondary status that the job has entered."""

    time: dt.datetime
    status: str
    message: str

    def __str__(self) -> str:
        return f"--- {self.time:%H:%M:%S} {self.status}  {self.message}".rstrip()


@dataclass(frozen=True)
class RuleVerdict:
    """A rule whose status has changed."""

    rule: str
    status: str
    details: str | None

    def __str__(self) -> str:
        return f"--- rule {self.rule}: {self.status}" + (f" ({self.details})" if self.details else "")


@dataclass(frozen=True)
class PendingStatus:
    """Nothing new; how long it has been."""

    status: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.status} {self.seconds:.0f} s"


@dataclass(frozen=True)
class Remark:
    """What the wait has to do without from now on, and why."""

    text: str

    def __str__(self) -> str:
        return f"--- {self.text}"


Event = Phase | LogLine | RuleVerdict | Remark | PendingStatus


def follow(
    name: str,
    reattach_command: str,
    look: Callable[[], dict[str, Any] | None],
    tail: LogTail | None,
    *,
    timeout: float | None,
    poll_interval: float,
    waiting: bool = False,
) -> Iterator[Event]:
    """Yield what is new until the job has ended and its log is complete; with `waiting`, PendingStatus if nothing is.

    `reattach_command` is the command that a wait which is given up names. A log that cannot be read is done without.
    """
    began = answered = time.monotonic()
    interval = min(FIRST_INTERVAL, poll_interval)
    news, log = _News(), _Log(tail)
    while True:
        try:
            description = look()
        except NotFoundError:
            raise
        except AwsError as error:
            raise type(error)(f"{error}; {name} continues: {reattach_command}") from None
        has_news = False
        for event in news.of(description, log):
            has_news = True
            yield event
        if description is not None:
            answered = time.monotonic()
            if has_ended(description):
                yield from _rest_of(log, min(poll_interval, QUIET_INTERVAL))
                return
        if time.monotonic() - answered > RETRY_SECONDS:
            raise AwsError(f"AWS has not answered for {RETRY_SECONDS:.0f} s; {name} continues: {reattach_command}")
        if timeout is not None and time.monotonic() - began >= timeout:
            raise WaitTimeoutError(f"{name} has not ended after {timeout:g} s, and continues: {reattach_command}")
        if waiting:
            yield PendingStatus(news.status, time.monotonic() - began)
        interval = min(FIRST_INTERVAL if has_news else interval * 1.5, poll_interval)
        time.sleep(interval if timeout is None else max(0.0, min(interval, began + timeout - time.monotonic())))


def as_line(event: Event, *, several_hosts: bool) -> str:
    """Return an event as one line; a log line of a job's only host without the host's name."""
    line = event.text if isinstance(event, LogLine) and not several_hosts else str(event)
    return line.replace("\n", "\\n")


def print_events(events: Iterable[Event], *, several_hosts: bool) -> None:
    """Print each event on stdout: what a notebook's cell and a script's log show."""
    terminal = Terminal()
    for event in events:
        terminal.line(as_line(event, several_hosts=several_hosts))


def has_ended(description: dict[str, Any]) -> bool:
    """Tell whether a training or processing job will not change any more."""
    status = description.get("TrainingJobStatus") or description.get("ProcessingJobStatus")
    return status in ("Completed", "Failed", "Stopped")


class _News:
    """What of a description has not been told yet."""

    def __init__(self) -> None:
        self._phases = 0
        self._message = ""
        self._status = "waiting"
        self._rules: dict[str, str] = {}

    @property
    def status(self) -> str:
        """The phase that was told last."""
        return self._status

    def of(self, description: dict[str, Any] | None, log: _Log) -> Iterator[Event]:
        if description is not None:
            phases, verdicts = self._new_phases(description), self._new_verdicts(description)
            # A rule's last verdict often comes in one answer with the job's end: the end is what is told last.
            for events in (verdicts, phases) if has_ended(description) else (phases, verdicts):
                yield from events
        yield from log.news()

    def _new_phases(self, description: dict[str, Any]) -> Iterator[Phase]:
        transitions = description.get("SecondaryStatusTransitions", [])
        for number, transition in enumerate(transitions, start=1):
            message = transition.get("StatusMessage", "")
            # The newest phase's message changes while it lasts: "Downloading", then "Downloading the training image".
            if number > self._phases or (number == self._phases and message != self._message):
                yield Phase(transition["StartTime"], transition["Status"], message)
                self._phases, self._message, self._status = number, message, transition["Status"]

    def _new_verdicts(self, description: dict[str, Any]) -> Iterator[RuleVerdict]:
        for row in rule_statuses(description):
            if self._rules.get(row["rule"]) != row["status"]:
                self._rules[row["rule"]] = row["status"]
                yield RuleVerdict(row["rule"], row["status"], row["details"])


class _Log:
    """The job's log for as long as it can be read; a wait does not end with it."""

    def __init__(self, tail: LogTail | None) -> None:
        self._tail = tail

    def news(self) -> Iterator[LogLine | Remark]:
        if self._tail is None:
            return
        try:
            yield from self._tail.new_lines()
        except AwsError as error:
            self._tail = None
            yield Remark(f"{error}; waiting continues without it")

    @property
    def is_read(self) -> bool:
        return self._tail is not None


def _rest_of(log: _Log, interval: float) -> Iterator[LogLine | Remark]:
    """Read on after the end, until nothing has come for some rounds."""
    quiet = 0
    while log.is_read and quiet < QUIET_POLLS:
        time.sleep(interval)
        quiet += 1
        for line in log.news():
            quiet = 0
            yield line
