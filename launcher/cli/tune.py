"""`launcher tune`: many training jobs look for the best hyperparameters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from launcher.cli import options
from launcher.errors import JobFileError, Problem, UsageError
from launcher.terminal import Output, Terminal

if TYPE_CHECKING:
    from launcher.aws.session import Session
    from launcher.aws.tuning_job import TuningJob
    from launcher.job_file.load import LoadedJob

_CHART_ROWS, _CHART_COLUMNS = 9, 72


@click.group(invoke_without_command=True, subcommand_metavar="[attach|best|status|stop NAME]")
@options.job_file
@options.local
@click.option("--dry-run", is_flag=True, help="Print the request; ask no AWS service.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Follow the tuning job until it ends.")
@options.timeout
@options.poll_interval
@click.option("--max-cost", type=options.Number(min=0), help="Maximum cost in dollars, of all training jobs.")
@options.output
@click.pass_context
def tune(  # noqa: PLR0913 - one an option
    context: click.Context,
    /,
    choice: options.JobChoice,
    session: Session,
    *,
    dry_run: bool,
    wait: bool,
    timeout: float | None,
    poll_interval: float,
    max_cost: float | None,
    output: Output,
) -> None:
    """Tune hyperparameters as [tuning] of the job file says."""
    if context.invoked_subcommand is not None:
        return
    terminal = Terminal(output)
    job, request = _job_and_request(choice, session, terminal)
    _enforce_max_cost(job, max_cost, terminal)
    if dry_run:
        terminal.document(request)
        return
    from launcher.aws.tuning_job import TuningJob
    from launcher.cli.follow import detaching

    name = request["HyperParameterTuningJobName"]
    hints = [TuningJob.hint(command, name, session) for command in ("attach", "status", "stop")]
    with detaching(name, session, terminal, hints, sent=False):
        tuning_job = TuningJob.submit(request, job.region, session=session)
    terminal.say(f"submitted {name}")
    if not wait:
        terminal.record({"tuning_job": name})
        return
    _follow(tuning_job, session, terminal, timeout=timeout, poll_interval=poll_interval)


@tune.command()
@click.argument("name")
@options.region
@options.local
@options.timeout
@options.poll_interval
@options.output
def attach(
    name: str, region: str | None, session: Session, *, timeout: float | None, poll_interval: float, output: Output
) -> None:
    """Follow a tuning job until it ends, then show its training jobs."""
    tuning_job = _named(name, region, session)
    _follow(tuning_job, session, Terminal(output), timeout=timeout, poll_interval=poll_interval)


def _follow(
    tuning_job: TuningJob, session: Session, terminal: Terminal, *, timeout: float | None, poll_interval: float
) -> None:
    """Show each change of a training job, then all of them; raise JobFailedError, JobStoppedError on a bad end."""
    from launcher.cli.follow import detaching

    hints = [tuning_job.hint(command, tuning_job.name, session) for command in ("attach", "status", "stop", "best")]
    with detaching(tuning_job.name, session, terminal, hints):
        for line in tuning_job.follow(timeout=timeout, poll_interval=poll_interval):
            terminal.say(line)
    _show(tuning_job, terminal)
    tuning_job.raise_for_status()
    terminal.say(f"next: {hints[-1]}")


def _show(tuning_job: TuningJob, terminal: Terminal) -> None:
    """Write the training jobs, the best first, and their objectives in the order in which they began as a chart."""
    from launcher.aws.tuning_job import is_maximized

    rows = tuning_job.trials()
    terminal.rows(rows)
    values = [row["objective"] for row in sorted(rows, key=lambda row: row["job"])]
    for line in objective_chart(values, maximize=is_maximized(tuning_job.describe())):
        terminal.say(line)


def _named(name: str, region: str | None, session: Session) -> TuningJob:
    from launcher.aws.tuning_job import TuningJob

    found = region or session.region
    if found is None:
        raise UsageError("no region is set; add --region, or set AWS_REGION")
    return TuningJob(name, found, session=session)


@tune.command()
@click.argument("name")
@click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path),
    help="Job file: print all of it with these hyperparameters, and without [tuning].",
)
@options.region
@options.local
@options.output
def best(name: str, path: Path | None, region: str | None, session: Session, output: Output) -> None:
    """Print the best training job's [hyperparameters], or a whole job file with them."""
    from launcher.job_file.tables import hyperparameters_table, with_hyperparameters

    found, values = _named(name, region, session).best_hyperparameters()
    terminal = Terminal(output)
    if output != "table":
        terminal.record(values)
        return
    metric = found["FinalHyperParameterTuningJobObjectiveMetric"]
    comment = f"# {found['TrainingJobName']}: {metric['MetricName']} {metric['Value']:.6g}"
    table = f"{comment}\n{hyperparameters_table(values)}"
    terminal.line((table if path is None else with_hyperparameters(path, table)).rstrip("\n"))


@tune.command()
@click.argument("name")
@options.region
@options.local
@options.output
def status(name: str, region: str | None, session: Session, output: Output) -> None:
    """Show the training jobs of a tuning job, the best first."""
    terminal = Terminal(output)
    tuning_job = _named(name, region, session)
    description = tuning_job.describe()
    counters = ", ".join(f"{count} {kind}" for kind, count in description["TrainingJobStatusCounters"].items() if count)
    terminal.say(f"{name} {description['HyperParameterTuningJobStatus']}: {counters or 'no training job yet'}")
    _show(tuning_job, terminal)


@tune.command()
@click.argument("name")
@options.region
@options.local
def stop(name: str, region: str | None, session: Session) -> None:
    """Stop a tuning job and its training jobs."""
    _named(name, region, session).stop()
    Terminal().say(f"{name} is being stopped")


def _job_and_request(
    choice: options.JobChoice, session: Session, terminal: Terminal
) -> tuple[LoadedJob, dict[str, Any]]:
    """Return the job and its request; show warnings, raise JobFileError for errors."""
    from launcher.checks.offline import further_problems, offline_problems
    from launcher.request.training import training_request
    from launcher.request.tuning import new_tuning_name, tuning_problems, tuning_request

    left_out: list[str] = []

    def request_and_problems(job: LoadedJob) -> tuple[dict[str, Any], list[Problem]]:
        if job.tuning is None:
            return {}, [
                Problem(job.source.locate("tuning"), "is missing: a table with objective_metric_name and ranges")
            ]
        name = choice.job_name or new_tuning_name(job.base_job_name)
        training = training_request(job, name)
        request, left_out[:] = tuning_request(job, training, name)
        problems = {problem.location: problem for problem in tuning_problems(job, request)}
        return request, [*problems.values(), *offline_problems(job, training)]

    try:
        job = choice.load(session)
    except JobFileError as error:
        raise further_problems(error, lambda rest: request_and_problems(rest)[1]) from None
    request, problems = request_and_problems(job)
    terminal.problems(
        problem for problem in problems if problem.is_warning and not (session.is_local and problem.is_about_aws)
    )
    errors = [problem for problem in problems if not problem.is_warning]
    if errors:
        raise JobFileError(errors)
    if left_out:
        terminal.say(f"training jobs of a tuning job go without {', '.join(left_out)}", colour="yellow")
    return job, request


def _enforce_max_cost(job: LoadedJob, ceiling: float | None, terminal: Terminal) -> None:
    """Say what the tuning job can cost at most; raise JobFileError if that is above the ceiling, or not known."""
    from launcher.checks.cost import max_cost, max_cost_scenario
    from launcher.request.tuning import number_of_jobs

    assert job.tuning is not None
    of_one, count = max_cost(job), number_of_jobs(job.tuning)
    if of_one is None:
        if ceiling is not None:
            raise JobFileError.of("--max-cost", f"cannot be held: {max_cost_scenario(job)}; take it out")
        return
    of_all = f"{count} training jobs, {max_cost_scenario(job)} each: ${of_one * count:.2f}"
    if ceiling is not None and of_one * count > ceiling:
        location = job.source.locate("tuning.max_number_of_training_jobs")
        raise JobFileError.of(location, f"allows {of_all}; --max-cost is ${ceiling:g}: fewer, or shorter ones")
    terminal.say(of_all)


def objective_chart(values: Sequence[float | None], *, maximize: bool) -> list[str]:
    """Return a chart's lines: a column for each training job, in the order in which they began.

    `o` is a job's objective, `*` the best one, `-` the best one until then. A value that is None leaves its column
    empty. Fewer than two values make no chart.
    """
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return []
    low, high = min(known), max(known)
    best = values.index(high if maximize else low)
    width = max(1, min(4, _CHART_COLUMNS // len(values)))

    def row_of(value: float) -> int:
        return _CHART_ROWS - 1 - round((value - low) / ((high - low) or 1.0) * (_CHART_ROWS - 1))

    rows = [[" "] * (width * len(values)) for _ in range(_CHART_ROWS)]
    so_far: float | None = None
    for number, value in enumerate(values):
        if so_far is not None:
            rows[row_of(so_far)][width * number : width * (number + 1)] = "-" * width
        if value is not None:
            rows[row_of(value)][width * number + width - 1] = "*" if number == best else "o"
            so_far = value if so_far is None else max(so_far, value) if maximize else min(so_far, value)
    labels = {0: f"{high:.6g}", _CHART_ROWS - 1: f"{low:.6g}"}
    margin = max(map(len, labels.values()))
    lines = [f"{labels.get(at, ''):>{margin}} |{''.join(row).rstrip()}" for at, row in enumerate(rows)]
    axis = f"{'':{margin}} +{'-' * (width * len(values))}"
    return [
        *lines,
        axis,
        f"{'':{margin}}  1 to {len(values)}: training jobs as they began; * is the best, - the best until then",
    ]


COMMANDS = (tune,)
