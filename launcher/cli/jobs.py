"""Commands for a job that runs or has run: list, status, attach, logs, stop, metrics, rules, download, ..."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

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
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Maximum number of jobs.")
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
    """Show a job's status, times, cost, metrics and paths."""
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
    """Follow a running job, from any machine."""
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
    """Print the log so far, all hosts in time order."""
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


@click.command()
@options.job_name
@options.region
@options.local
@click.option("--series", is_flag=True, help="CloudWatch's time series instead of the final values.")
@click.option(
    "--period", type=click.IntRange(min=1), default=60, show_default=True, help="Seconds per data point, with --series."
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
    """Show the runs of a job's experiment, MLflow's and SageMaker's, newest first."""
    from launcher.aws.training_job import TrainingJob

    Terminal(output).rows(TrainingJob.attach(job, region, session=session).experiment())


@click.command()
@options.job_name
@options.region
@options.local
@options.output
def lineage(job: str, region: str | None, session: Session, output: Output) -> None:
    """Show a job's lineage: its inputs and outputs."""
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

    training_job = TrainingJob.attach(job, region, session=session)
    downloaded = training_job.download(to or Path(training_job.name))
    terminal = Terminal(output)
    terminal.say(f"{downloaded.model}: {downloaded.files} files, {downloaded.bytes:,} bytes")
    if downloaded.evaluation is None:
        terminal.say("the model has no metrics/evaluation.json")
    else:
        _show_evaluation(downloaded.evaluation, terminal, output)


@click.command()
@click.argument("job")
@click.argument("other")
@options.region
@options.local
@options.output
def diff(job: str, other: str, region: str | None, session: Session, output: Output) -> None:
    """Compare two jobs: settings, image, git commit."""
    from launcher.aws.diff import diff_jobs

    Terminal(output).rows(diff_jobs(job, other, region, session))


COMMANDS = (list_command, status, attach, logs, stop, metrics, rules, experiment, lineage, download, diff)


def _show_evaluation(evaluation: dict[str, Any], terminal: Terminal, output: Output) -> None:
    """Write metrics/evaluation.json as tables, or as it is with --output json."""
    if output == "json":
        terminal.document(evaluation)
        return
    try:
        metrics = [{"metric": name, "value": entry["value"]} for name, entry in evaluation["metrics"].items()]
        matrix = evaluation.get("confusion_matrix")
        counts = [
            {"stars": star} | {str(column): count for column, count in enumerate(row, start=1)}
            for star, row in enumerate(matrix["counts"] if matrix else [], start=1)
        ]
        axes = f"rows are {matrix['rows']}, columns are {matrix['columns']}" if matrix else ""
    except (AttributeError, LookupError, TypeError):
        terminal.say("metrics/evaluation.json is another model's: --output json shows it as it is")
        return
    terminal.rows(metrics)
    if counts:
        terminal.say(f"confusion matrix: {axes}")
        terminal.rows(counts)
