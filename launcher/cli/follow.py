"""Following a job on the terminal: events as lines, Ctrl-C as a goodbye, the end as an exit code."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import click

from launcher.aws.following import Event, Phase, RuleVerdict, Waiting, as_line
from launcher.aws.log_tail import LogLine
from launcher.aws.metrics import rule_statuses
from launcher.aws.processing_job import ProcessingJob
from launcher.aws.processing_job import raise_for_status as raise_for_processing
from launcher.aws.session import own_command
from launcher.aws.summary import summary
from launcher.aws.training_job import TrainingJob, raise_for_status
from launcher.errors import ExitCode, JobFailedError
from launcher.local.client import running_local
from launcher.request.fields import host_count
from launcher.terminal import Terminal

LAST_LINES = 10
"""Log lines that a failure is shown with."""


@contextmanager
def detaching(name: str, terminal: Terminal, next_commands: Sequence[str]) -> Iterator[None]:
    """Let Ctrl-C leave the job alone: say that it goes on, and how to come back."""
    try:
        yield
    except KeyboardInterrupt:
        where = "the local SageMaker" if running_local() else "SageMaker"
        terminal.say(f"\ndetached: {name} goes on in {where}")
        _say_next(next_commands, terminal)
        raise click.exceptions.Exit(ExitCode.DETACHED) from None


def announce(job: TrainingJob, terminal: Terminal) -> None:
    """Say what was submitted, and where the console, or the local SageMaker's page, shows it."""
    terminal.say(f"submitted {job.name}")
    with detaching(job.name, terminal, _ways_back(job)):
        for page, address in job.links().items():
            terminal.say(f"  {page:12} {address}")


def follow(job: TrainingJob, terminal: Terminal, *, logs: bool, timeout: float | None, poll_interval: float) -> None:
    """Show a training job until it ends, then what became of it; raise JobFailedError, JobStoppedError on a bad end."""
    with detaching(job.name, terminal, _ways_back(job)):
        events = job.follow(logs=logs, timeout=timeout, poll_interval=poll_interval, waiting=True)
        last = _show(events, terminal, hosts=host_count(job.describe()["ResourceConfig"]))
    description = job.describe()
    terminal.record(summary(description, job.region))
    try:
        raise_for_status(description)
    except JobFailedError:
        terminal.say("last log lines:")
        for line in last if logs else deque(job.logs(), LAST_LINES):
            terminal.say(f"  {line}")
        _say_next([own_command(f"logs {job.name}")], terminal)
        raise
    rules = ["rules"] if rule_statuses(description) else []
    _say_next(_commands(job, "download", "metrics", *rules, "lineage"), terminal)


def follow_processing(job: ProcessingJob, terminal: Terminal, *, timeout: float | None, poll_interval: float) -> None:
    """Show a Processing job until it ends; raise JobFailedError, JobStoppedError on a bad end."""
    terminal.say(f"submitted {job.name}")
    with detaching(job.name, terminal, [job.way_back]):
        _show(job.follow(timeout=timeout, poll_interval=poll_interval, waiting=True), terminal, hosts=1)
    description = job.describe()
    outputs = description["ProcessingOutputConfig"]["Outputs"]
    terminal.record(
        {
            "job": job.name,
            "status": description["ProcessingJobStatus"],
            "channels": outputs[0]["S3Output"]["S3Uri"],
        }
    )
    raise_for_processing(description)


def _ways_back(job: TrainingJob) -> list[str]:
    return _commands(job, "attach", "status", "stop")


def _commands(job: TrainingJob, *names: str) -> list[str]:
    return [own_command(f"{name} {job.name}") for name in names]


def _say_next(commands: Sequence[str], terminal: Terminal) -> None:
    for command in commands:
        terminal.say(f"next: {command}")


def _show(events: Iterable[Event], terminal: Terminal, hosts: int) -> deque[LogLine]:
    last: deque[LogLine] = deque(maxlen=LAST_LINES)
    for event in events:
        if isinstance(event, Waiting):
            terminal.progress(str(event))
            continue
        if isinstance(event, LogLine):
            last.append(event)
        terminal.say(_line(event, several_hosts=hosts > 1))
    return last


def _line(event: Phase | LogLine | RuleVerdict, *, several_hosts: bool) -> str:
    line = as_line(event, several_hosts=several_hosts)
    if isinstance(event, LogLine):
        return line
    found = isinstance(event, RuleVerdict) and event.status == "IssuesFound"
    return click.style(line, fg="yellow" if found else None, bold=True)
