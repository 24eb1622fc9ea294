"""Following a job on the terminal: events as lines, Ctrl-C detaches, the end is an exit code."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import click

from launcher.aws.following import Event, PendingStatus, Remark, RuleVerdict, as_line
from launcher.aws.log_tail import LogLine
from launcher.aws.processing_job import ProcessingJob
from launcher.aws.processing_job import raise_for_status as raise_for_processing
from launcher.aws.session import Session
from launcher.aws.summary import summary
from launcher.aws.training_job import TrainingJob, raise_for_status
from launcher.errors import ExitCode, JobFailedError, LauncherError
from launcher.request import host_count
from launcher.terminal import Terminal

LAST_LINES = 10
"""Log lines that a failure is shown with."""


@contextmanager
def detaching(
    name: str, session: Session, terminal: Terminal, next_commands: Sequence[str], *, sent: bool = True
) -> Iterator[None]:
    """Let Ctrl-C leave the job alone: say that it continues, or may (not `sent` yet), and how to reattach."""
    try:
        yield
    except KeyboardInterrupt:
        where = "the local SageMaker" if session.is_local else "SageMaker"
        continues = f"{name} continues in {where}" if sent else f"{name} may have reached {where}, and continues then"
        terminal.say(f"\ndetached: {continues}")
        _say_next(next_commands, terminal)
        raise click.exceptions.Exit(ExitCode.DETACHED) from None


def submit(request: dict[str, Any], region: str, session: Session, terminal: Terminal) -> TrainingJob:
    """Submit a job, and say at once its name, its ARN and where the console, or the local page, shows it."""
    name = request["TrainingJobName"]
    why = session.records.why_unwritable()
    if why is not None:
        terminal.say(f"no record of {name} will be kept here: {why}", colour="yellow")
    with detaching(name, session, terminal, _reattach_commands(name, session), sent=False):
        job = TrainingJob.submit(request, region, session=session)
    with detaching(name, session, terminal, _reattach_commands(name, session)):
        terminal.say(f"submitted {name}")
        terminal.say(f"  {'arn':12} {job.arn}")
        with suppress(LauncherError):  # the job runs, linked or not
            for page, address in job.links().items():
                terminal.say(f"  {page:12} {address}")
        job.record_image(request["AlgorithmSpecification"]["TrainingImage"])
    return job


def follow(
    job: TrainingJob, session: Session, terminal: Terminal, *, logs: bool, timeout: float | None, poll_interval: float
) -> None:
    """Show a training job until it ends, then what became of it; raise JobFailedError, JobStoppedError on a bad end."""
    with detaching(job.name, session, terminal, _reattach_commands(job.name, session)):
        last = _show(job, job.follow(logs=logs, timeout=timeout, poll_interval=poll_interval, waiting=True), terminal)
    description = job.last_seen or job.describe()
    _record(summary(description, job.region), terminal)
    try:
        raise_for_status(description)
    except JobFailedError:
        terminal.say("last log lines:")
        for line in last or _last_lines(job, terminal):
            terminal.say(f"  {line}")
        _say_next(_commands(job.name, session, "logs"), terminal)
        raise
    _say_next(_commands(job.name, session, "download", "metrics", "rules", "lineage"), terminal)


def follow_processing(
    job: ProcessingJob, session: Session, terminal: Terminal, *, timeout: float | None, poll_interval: float
) -> None:
    """Show a Processing job until it ends; raise JobFailedError, JobStoppedError on a bad end."""
    with detaching(job.name, session, terminal, [job.reattach_command]):
        _show(job, job.follow(timeout=timeout, poll_interval=poll_interval, waiting=True), terminal)
    description = job.last_seen or job.describe()
    outputs = description.get("ProcessingOutputConfig", {}).get("Outputs", [])
    _record(
        {
            "job": job.name,
            "status": description["ProcessingJobStatus"],
            "channels": next((output["S3Output"]["S3Uri"] for output in outputs if "S3Output" in output), None),
        },
        terminal,
    )
    raise_for_processing(description)


def _record(fields: dict[str, Any], terminal: Terminal) -> None:
    """Write a job's summary; if that fails, the job's own end still decides the exit code."""
    try:
        terminal.record(fields)
    except LauncherError as error:
        terminal.error(error)


def _last_lines(job: TrainingJob, terminal: Terminal) -> Iterable[LogLine]:
    try:
        return deque(job.logs(), LAST_LINES)
    except LauncherError as error:
        terminal.say(f"  {error}")
        return ()


def _reattach_commands(name: str, session: Session) -> list[str]:
    return _commands(name, session, "attach", "status", "stop")


def _commands(job: str, session: Session, *names: str) -> list[str]:
    return [session.cli_hint(f"{name} {job}") for name in names]


def _say_next(commands: Sequence[str], terminal: Terminal) -> None:
    for command in commands:
        terminal.say(f"next: {command}")


def _show(job: TrainingJob | ProcessingJob, events: Iterable[Event], terminal: Terminal) -> deque[LogLine]:
    last: deque[LogLine] = deque(maxlen=LAST_LINES)
    for event in events:
        if isinstance(event, PendingStatus):
            terminal.progress(str(event))
            continue
        if isinstance(event, LogLine):
            last.append(event)
        _tell(event, terminal, several_hosts=host_count((job.last_seen or {}).get("ResourceConfig", {})) > 1)
    return last


def _tell(event: Event, terminal: Terminal, *, several_hosts: bool) -> None:
    line = as_line(event, several_hosts=several_hosts)
    if isinstance(event, LogLine):
        terminal.say(line)
        return
    is_bad = isinstance(event, Remark) or (isinstance(event, RuleVerdict) and event.status == "IssuesFound")
    terminal.say(line, colour="yellow" if is_bad else None, bold=True)
