"""Options that several commands have, each written down once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from launcher.job_file.load import LoadedJob

Function = TypeVar("Function", bound=Callable[..., Any])

FEATURES = {
    "debugger": "debug_hook_config.enabled",
    "profiler": "profiler_config.enabled",
    "experiment": "experiment_config.enabled",
}
"""What --without takes out -> the key that does it."""

output = click.option(
    "--output",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="Form of the data.",
)
region = click.option("--region", help="AWS region; by default the job's record, then AWS_REGION, then the profile.")
poll_interval = click.option(
    "--poll-interval",
    type=click.FloatRange(min=0.05),
    default=10.0,
    show_default=True,
    help="Most seconds between two looks at a job.",
)
timeout = click.option("--timeout", type=click.FloatRange(min=0), help="Seconds to wait at most; then exit code 124.")
logs = click.option("--logs/--no-logs", default=True, show_default=True, help="Show the job's log while waiting.")


def job_name(function: Function) -> Function:
    """Add the argument that names a job."""
    return click.argument("job", metavar="JOB|latest", default="latest")(function)


@dataclass(frozen=True)
class JobChoice:
    """What --file, --set, --without and --job-name say."""

    path: Path
    settings: tuple[str, ...]
    without: tuple[str, ...]
    job_name: str | None

    def load(self, more_settings: Mapping[str, str] | None = None) -> LoadedJob:
        """Read the job file with everything that stands above it; raise JobFileError."""
        from launcher.job_file.load import load_job, parse_settings

        left_out = {FEATURES[feature]: "false" for feature in self.without}
        return load_job(self.path, parse_settings(self.settings) | left_out | dict(more_settings or {}))


def job_file(function: Callable[..., None]) -> Callable[..., None]:
    """Add what makes a job; the command gets it as a JobChoice, its first argument."""

    @functools.wraps(function)
    def command(
        *, path: Path, settings: tuple[str, ...], without: tuple[str, ...], job_name: str | None, **others: object
    ) -> None:
        function(JobChoice(path, settings, without, job_name), **others)

    for option in (
        click.option("--job-name", help="Name of the job; by default base_job_name and the time."),
        click.option(
            "--without",
            type=click.Choice(list(FEATURES)),
            multiple=True,
            help="Leave a feature out of the request, rules included.",
        ),
        click.option("--set", "settings", metavar="KEY=VALUE", multiple=True, help="Override section.key of the file."),
        click.option(
            "--file", "path", type=click.Path(path_type=Path), default="job.toml", show_default=True, help="Job file."
        ),
    ):
        command = option(command)
    return command
