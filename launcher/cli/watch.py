"""Commands for a job that runs or has run: list, status, attach, logs, stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from launcher.cli import options
from launcher.terminal import Output, Terminal

if TYPE_CHECKING:
    from launcher.aws.session import Session


@click.command(name="list")
@options.region
@options.local
@click.option("--name", help="Part of the job's name.")
@click.option("--status", type=click.Choice(["InProgress", "Completed", "Failed", "Stopping", "Stopped"]))
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Most jobs to show.")
@options.output
def list_command(
    region: str | None, session: Session, name: str | None, status: str | None, limit: int, output: Output
) -> None:
    """List training jobs, newest first."""
    from launcher.aws.training_job import list_jobs

    Terminal(output).rows(list_jobs(session.for_region(region), name_contains=name, status=status, limit=limit))


@click.command()
@options.job_name
@options.region
@options.local
@options.output
def status(job: str, region: str | None, session: Session, output: Output) -> None:
    """Show where a job is, its times, cost, metrics and paths."""
    from launcher.aws.summary import summary
    from launcher.aws.training_job import TrainingJob

    training_job = TrainingJob.attach(job, region, session=session)
    Terminal(output).record(summary(training_job.describe(), training_job.region))


@click.command()
@options.job_name
@options.region
@options.local
@options.logs
@options.timeout
@options.poll_interval
@options.output
def attach(
    job: str,
    region: str | None,
    session: Session,
    *,
    logs: bool,
    timeout: float | None,
    poll_interval: float,
    output: Output,
) -> None:
    """Follow a job that runs, from any machine."""
    from launcher.aws.training_job import TrainingJob
    from launcher.cli.follow import follow

    training_job = TrainingJob.attach(job, region, session=session)
    follow(training_job, session, Terminal(output), logs=logs, timeout=timeout, poll_interval=poll_interval)


@click.command()
@options.job_name
@options.region
@options.local
@options.output
def logs(job: str, region: str | None, session: Session, output: Output) -> None:
    """Print the log that is there, all hosts in time order."""
    from launcher.aws.training_job import TrainingJob

    terminal = Terminal(output)
    lines = TrainingJob.attach(job, region, session=session).logs()
    if output == "table":
        for line in lines:
            terminal.line(f"{line.time:%Y-%m-%dT%H:%M:%S.%fZ} {line.host} {line.text}")
    else:
        terminal.rows([{"time": line.time, "host": line.host, "text": line.text} for line in lines])


@click.command()
@options.job_name
@options.region
@options.local
def stop(job: str, region: str | None, session: Session) -> None:
    """Stop a job: it has two minutes to save what it has."""
    from launcher.aws.training_job import TrainingJob

    training_job = TrainingJob.attach(job, region, session=session)
    training_job.stop()
    Terminal().say(f"{training_job.name} is being stopped\nnext: {session.cli_hint(f'attach {training_job.name}')}")


COMMANDS = (list_command, status, attach, logs, stop)
