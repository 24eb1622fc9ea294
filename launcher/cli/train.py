"""Commands that start from the job file: check, train, process, schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from launcher.cli import options
from launcher.errors import JobFileError, Problem, UsageError
from launcher.terminal import Output, Terminal

if TYPE_CHECKING:
    from launcher.aws.session import Session
    from launcher.job_file.load import LoadedJob


@click.command()
@options.job_file
@options.local
@click.option("--offline", is_flag=True, help="Ask no AWS service.")
@click.option("--max-cost", type=options.Number(min=0), help="Maximum cost in dollars.")
@options.output
def check(
    choice: options.JobChoice, session: Session, *, offline: bool, max_cost: float | None, output: Output
) -> None:
    """Validate a job before it costs anything."""
    from launcher.checks.cost import enforce_max_cost, max_cost_scenario, serving_costs
    from launcher.checks.debugger import closed_features

    terminal = Terminal(output)
    job, request = _job_and_request(choice, session, terminal)
    enforce_max_cost(job, max_cost)
    rows = [
        {"check": "offline", "result": "ok", "detail": "job file and request"},
        {"check": "cost", "result": "ok", "detail": max_cost_scenario(job)},
    ]
    rows += [{"check": name, "result": "ok", "detail": sentence} for name, sentence in serving_costs(job)]
    rows += [
        {"check": feature, "result": result, "detail": detail}
        for feature in closed_features(job)
        for result, detail in [_account_of_debugger(session)]
    ]
    if not offline:
        from launcher.aws.preflight import preflight_checks

        rows += preflight_checks(job, request, session)
    terminal.rows(rows)
    failed = [row["check"] for row in rows if row["result"] == "failed"]
    if failed:
        raise JobFileError.of(str(choice.path), f"does not pass: {', '.join(failed)}")


@click.command()
@options.job_file
@options.local
@click.option("--dry-run", is_flag=True, help="Print the request; ask no AWS service.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["json", "sdk-v3"]),
    default="json",
    show_default=True,
    help="With --dry-run: the request as JSON, or the program that sends it by SageMaker's Python SDK v3.",
)
@click.option("--wait/--no-wait", default=True, show_default=True, help="Follow the job until it ends.")
@options.logs
@options.timeout
@options.poll_interval
@click.option("--max-cost", type=options.Number(min=0), help="Maximum cost in dollars.")
@click.option("--resume-from", metavar="JOB", help="Resume from the checkpoints of an earlier job.")
@click.option(
    "--interrupt-after",
    metavar="SECONDS[..SECONDS]",
    help="With --local: interrupt the spot job once, this long after training has started.",
)
@options.output
def train(  # noqa: PLR0913 - one an option
    choice: options.JobChoice,
    session: Session,
    *,
    dry_run: bool,
    form: str,
    wait: bool,
    logs: bool,
    timeout: float | None,
    poll_interval: float,
    max_cost: float | None,
    resume_from: str | None,
    interrupt_after: str | None,
    output: Output,
) -> None:
    """Submit the training job, and follow it to its end."""
    from launcher.checks.cost import enforce_max_cost

    terminal = Terminal(output)
    if form != "json" and not dry_run:
        raise UsageError(f"--format {form} needs --dry-run: it prints the program and submits nothing")
    resumed = _checkpoints_of(resume_from, session, may_ask_aws=not dry_run)
    job, request = _job_and_request(choice, session, terminal, resumed)
    enforce_max_cost(job, max_cost)
    if dry_run and form == "sdk-v3":
        from launcher.request.sdk_v3 import sdk_v3_program

        terminal.line(sdk_v3_program(request, job.base_job_name, job.region).rstrip())
        return
    if dry_run:
        terminal.document(request)
        return
    from launcher.cli.follow import follow, submit

    if interrupt_after is not None:
        from launcher.cli.local import interrupt_later

        interrupt_later(request, interrupt_after, session)
    training_job = submit(request, job.region, session, terminal)
    if wait:
        follow(training_job, session, terminal, logs=logs, timeout=timeout, poll_interval=poll_interval)
    else:
        terminal.record({"job": training_job.name, "arn": training_job.arn})


@click.command()
@options.job_file
@options.local
@click.option("--dry-run", is_flag=True, help="Print the request as JSON; ask no AWS service.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Follow the job until it ends.")
@options.timeout
@options.poll_interval
@options.output
def process(
    choice: options.JobChoice,
    session: Session,
    *,
    dry_run: bool,
    wait: bool,
    timeout: float | None,
    poll_interval: float,
    output: Output,
) -> None:
    """Run the image's prepare as a Processing job: raw reviews to channels."""
    from launcher.checks.offline import build_processing_request, further_problems, processing_problems

    terminal = Terminal(output)
    try:
        job = choice.load(session)
    except JobFileError as error:
        raise further_problems(error, lambda rest: processing_problems(rest, choice.job_name)) from None
    request = build_processing_request(job, choice.job_name)
    if dry_run:
        terminal.document(request)
        return
    from launcher.aws.processing_job import ProcessingJob
    from launcher.cli.follow import detaching, follow_processing

    name = request["ProcessingJobName"]
    reattach = ProcessingJob(name, job.region, "", session=session).reattach_command
    with detaching(name, session, terminal, [reattach], sent=False):
        processing_job = ProcessingJob.submit(request, job.region, session=session)
    terminal.say(f"submitted {processing_job.name}\n  {'arn':12} {processing_job.arn}")
    if processing_job.remark:
        terminal.say(processing_job.remark)
    if wait:
        follow_processing(processing_job, session, terminal, timeout=timeout, poll_interval=poll_interval)
    else:
        terminal.record({"job": processing_job.name, "arn": processing_job.arn})


@click.command()
def schema() -> None:
    """Print the job file's JSON Schema, for editors."""
    from launcher.job_file.schema import Job

    Terminal().document({"$schema": "https://json-schema.org/draft/2020-12/schema"} | Job.model_json_schema())


def _job_and_request(
    choice: options.JobChoice, session: Session, terminal: Terminal, more_settings: Mapping[str, str] | None = None
) -> tuple[LoadedJob, dict[str, Any]]:
    """Return the job and its request; show warnings, raise JobFileError for errors."""
    from launcher.checks.offline import further_problems, offline_problems
    from launcher.request.training import new_job_name, training_request

    def request_and_problems(job: LoadedJob) -> tuple[dict[str, Any], list[Problem]]:
        request = training_request(job, choice.job_name or new_job_name(job.base_job_name))
        return request, offline_problems(job, request)

    try:
        job = choice.load(session, more_settings)
    except JobFileError as error:
        raise further_problems(error, lambda rest: request_and_problems(rest)[1]) from None
    request, problems = request_and_problems(job)
    warnings = (problem for problem in problems if problem.is_warning)
    terminal.problems(warning for warning in warnings if not (session.is_local and warning.is_about_aws))
    errors = [problem for problem in problems if not problem.is_warning]
    if errors:
        raise JobFileError(errors)
    return job, request


def _account_of_debugger(session: Session) -> tuple[str, str]:
    """Return result and detail of whether the account may use Debugger: only the local SageMaker tells."""
    if not session.is_local:
        return "unknown", "AWS does not tell whether the account used Debugger before 2026-07-30; if not, it refuses"
    from launcher.cli.local import running_account

    if running_account() == "new":
        return "failed", "the local SageMaker is a new account's: it refuses what Debugger has, as AWS does"
    return "ok", "the local SageMaker is that of an account which used Debugger before 2026-07-30"


def _checkpoints_of(job_name: str | None, session: Session, *, may_ask_aws: bool) -> dict[str, str]:
    """Return the settings that make a job resume from another job's checkpoints."""
    if job_name is None:
        return {}
    record = session.records.find(job_name)
    if record is not None:
        config = record.request.get("CheckpointConfig")
    elif may_ask_aws:
        from launcher.aws.training_job import TrainingJob

        config = TrainingJob.attach(job_name, session=session).describe().get("CheckpointConfig")
    else:
        raise JobFileError.of(
            f"--resume-from {job_name}", "was not submitted from here, and --dry-run does not ask AWS; leave that out"
        )
    if config is None:
        raise JobFileError.of(f"--resume-from {job_name}", "has no CheckpointConfig, so it left no checkpoints")
    settings = {"checkpoint_config.s3_uri": config["S3Uri"], "hyperparameters.enable_checkpointing": "True"}
    return settings | ({"checkpoint_config.local_path": config["LocalPath"]} if "LocalPath" in config else {})


COMMANDS = (check, train, process, schema)
