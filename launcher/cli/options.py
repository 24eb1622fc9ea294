"""Options that several commands have, each written down once."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from launcher.aws.session import Session
    from launcher.job_file.load import LoadedJob

Function = TypeVar("Function", bound=Callable[..., Any])

FEATURES = {
    "debugger": "debug_hook_config.enabled",
    "profiler": "profiler_config.enabled",
    "experiment": "experiment_config.enabled",
}
"""What --without takes out -> the key that does it."""

LOCAL_POLL_INTERVAL = 0.5
"""Seconds, instead of poll_interval's default, with --local."""


class Number(click.FloatRange):
    """A number in a range; neither `nan`, which is in every range, nor `inf`."""

    def convert(self, value: float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read a number, which is a text on the command line, or end the command."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no number that can be waited for or paid.", param, ctx)
        return number


output = click.option(
    "--output",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="Format of the results.",
)
region = click.option("--region", help="AWS region; by default the job's record, then AWS_REGION, then the profile.")
poll_interval = click.option(
    "--poll-interval",
    type=Number(min=0.05),
    default=10.0,
    show_default=True,
    help="Maximum seconds between two polls of a job.",
)
timeout = click.option("--timeout", type=Number(min=0), help="Maximum seconds to wait; then exit code 124.")
logs = click.option("--logs/--no-logs", default=True, show_default=True, help="Show the job's log while waiting.")


def local(function: Function) -> Function:
    """Add --local; the command gets the session of AWS or of the local SageMaker, which --dry-run does not start."""

    @functools.wraps(function)
    def command(*arguments: object, local: bool, **others: object) -> object:
        from launcher.aws.session import aws

        if not local:
            return function(*arguments, session=aws(), **others)
        from launcher.cli.local import local_session

        if click.get_current_context().get_parameter_source("poll_interval") is click.core.ParameterSource.DEFAULT:
            others["poll_interval"] = LOCAL_POLL_INTERVAL  # nobody throttles here
        return function(*arguments, session=local_session(start=not others.get("dry_run")), **others)

    option = click.option("--local", is_flag=True, help="Use the local SageMaker, on this machine's Docker engine.")
    return option(command)  # type: ignore[return-value]


def job_name(function: Function) -> Function:
    """Add the argument that names a job."""
    return click.argument("job", metavar="JOB|latest", default="latest")(function)


@dataclass(frozen=True)
class JobChoice:
    """What --file, --set, --without, --image and --job-name say."""

    path: Path
    settings: tuple[str, ...]
    without: tuple[str, ...]
    image: str | None
    job_name: str | None

    def load(self, session: Session, more_settings: Mapping[str, str] | None = None) -> LoadedJob:
        """Read the job file with everything that stands above it; raise JobFileError."""
        from launcher.job_file.load import load_job, parse_settings

        left_out = {FEATURES[feature]: "false" for feature in self.without}
        image = {"training_image": self.image} if self.image else {}
        settings = parse_settings(self.settings) | left_out | image | dict(more_settings or {})
        return load_job(self.path, settings, default_region=session.region if session.is_local else None)


def job_file(function: Callable[..., None]) -> Callable[..., None]:
    """Add what makes a job; the command gets it as a JobChoice, its first argument."""

    @functools.wraps(function)
    def command(
        *,
        path: Path,
        settings: tuple[str, ...],
        without: tuple[str, ...],
        image: str | None,
        job_name: str | None,
        **others: object,
    ) -> None:
        function(JobChoice(path, settings, without, image, job_name), **others)

    for option in (
        click.option("--image", metavar="URI", help="Training image, instead of the file's."),
        click.option("--job-name", help="Name of the job; by default base_job_name and the time."),
        click.option(
            "--without",
            type=click.Choice(list(FEATURES)),
            multiple=True,
            help="Leave a feature out of the request, rules included.",
        ),
        click.option(
            "--set",
            "settings",
            metavar="KEY=VALUE",
            multiple=True,
            help="Override section.key of the file; a name with a dot in quotes.",
        ),
        click.option(
            "--file", "path", type=click.Path(path_type=Path), default="job.toml", show_default=True, help="Job file."
        ),
    ):
        command = option(command)
    return command
