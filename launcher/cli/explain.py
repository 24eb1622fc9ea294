"""Commands that say what a job has come to: metrics, rules, experiment, lineage, download, diff."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from launcher.cli import options
from launcher.terminal import Output, Terminal

if TYPE_CHECKING:
    from launcher.aws.session import Session


@click.command()
@options.job_name
@options.region
@options.local
@click.option("--series", is_flag=True, help="CloudWatch's time series instead of the final values.")
@click.option(
    "--period", type=click.IntRange(min=1), default=60, show_default=True, help="Seconds a point, with --series."
)
@options.output
def metrics(job: str, region: str | None, session: Session, *, series: bool, period: int, output: Output) -> None:
    """Show a job's metrics: exact final values, or the time series."""
    from launcher.aws.training_job import TrainingJob

    training_job = TrainingJob.attach(job, region, session=session)
    Terminal(output).rows(training_job.metric_series(period) if series else training_job.metrics())


@click.command()
@options.job_name
@options.region
@options.local
@options.output
def rules(job: str, region: str | None, session: Session, output: Output) -> None:
    """Show the verdicts of Debugger's and Profiler's rules."""
    from launcher.aws.training_job import TrainingJob

    Terminal(output).rows(TrainingJob.attach(job, region, session=session).rules())


@click.command()
@options.job_name
@options.region
@options.local
@options.output
def experiment(job: str, region: str | None, session: Session, output: Output) -> None:
    """Show the runs of a job's experiment, newest first."""
    from launcher.aws.training_job import TrainingJob

    Terminal(output).rows(TrainingJob.attach(job, region, session=session).experiment())


@click.command()
@options.job_name
@options.region
@options.local
@options.output
def lineage(job: str, region: str | None, session: Session, output: Output) -> None:
    """Show what a job was made from and what it made."""
    from launcher.aws.training_job import TrainingJob

    Terminal(output).rows(TrainingJob.attach(job, region, session=session).lineage())


@click.command()
@options.job_name
@options.region
@options.local
@click.option("--to", type=click.Path(path_type=Path), help="Folder; by default the job's name.")
@options.output
def download(job: str, region: str | None, session: Session, to: Path | None, output: Output) -> None:
    """Fetch and unpack the model, and show its evaluation."""
    from launcher.aws.training_job import TrainingJob
    from launcher.cli.evaluation import show

    training_job = TrainingJob.attach(job, region, session=session)
    downloaded = training_job.download(to or Path(training_job.name))
    terminal = Terminal(output)
    terminal.say(f"{downloaded.model}: {downloaded.files} files, {downloaded.bytes:,} bytes")
    if downloaded.evaluation is None:
        terminal.say("the model has no metrics/evaluation.json")
    else:
        show(downloaded.evaluation, terminal, output)


@click.command()
@click.argument("job")
@click.argument("other")
@options.region
@options.local
@options.output
def diff(job: str, other: str, region: str | None, session: Session, output: Output) -> None:
    """Show in what two jobs differ: settings, image, git commit."""
    from launcher.aws.diff import diff_jobs

    Terminal(output).rows(diff_jobs(job, other, region, session))


COMMANDS = (metrics, rules, experiment, lineage, download, diff)
