"""The `launcher` command: from a job file to a finished, explained SageMaker job.

    launcher setup                          # repository, bucket and roles, by CloudFormation
    launcher check                          # what is wrong with job.toml, offline and in AWS
    launcher train --dry-run                # the exact request as JSON, no AWS call
    launcher train                          # submit, follow the log, end with the job's exit code
    launcher status latest                  # from anywhere, any time
    launcher metrics latest --output csv
    launcher train --local                  # the same job on this machine's Docker engine

Each command is a function of cli/setup.py, cli/train.py, cli/tune.py, cli/jobs.py, cli/endpoints.py or cli/local.py;
what they do is in the modules that they import.
"""

from __future__ import annotations

import io
import sys

import click

import launcher as package
from launcher.cli import endpoints, jobs, local, setup, train, tune
from launcher.errors import ExitCode, LauncherError, os_error_text
from launcher.terminal import Terminal

EPILOG = """\b
exit codes
  0 completed; 1 the launcher or AWS; 2 usage or job file; 3 the job failed;
  4 the job was stopped or ran out of time; 124 --timeout is over; 130 detached with Ctrl-C

\b
examples
  launcher check --set compute.instance_type=ml.c7i.4xlarge
  launcher train --dry-run > request.json
  aws sagemaker create-training-job --cli-input-json file://request.json
  launcher train --no-wait && launcher attach latest
  launcher download latest --to out/
"""


class _Commands(click.Group):
    """Commands in the order of a job's life, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self.commands)


def _version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:  # noqa: FBT001 - click's signature
    """Print the version, which is only looked up if it is asked for."""
    if asked:
        click.echo(f"launcher, version {package.__version__}")
        ctx.exit()


@click.group(
    cls=_Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version and exit."
)
def launcher() -> None:
    """From a job file to a finished, explained SageMaker training job."""


for command in (setup.setup, *train.COMMANDS, *tune.COMMANDS, *jobs.COMMANDS, *endpoints.COMMANDS, local.local):
    launcher.add_command(command)


def run() -> None:
    """Run the command line and exit; no user error shows a traceback."""
    sys.exit(main(sys.argv[1:]))


def main(arguments: list[str]) -> int:
    """Run one command line and return the exit code."""
    terminal = Terminal()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that has not the character
    try:
        # click returns the code of its own Exit, and what the command returns otherwise: None.
        return launcher.main(arguments, prog_name="launcher", standalone_mode=False) or ExitCode.COMPLETED
    except click.ClickException as error:
        terminal.say(_usage(error))
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        terminal.say("interrupted")
        return ExitCode.DETACHED
    except Exception as error:
        known = _known(error)
        if known is None:
            raise
        terminal.error(known)
        return known.exit_code


def _known(error: Exception) -> LauncherError | None:
    """Return what users, networks and disks do as an error of ours; None for a defect, which is shown in full."""
    if isinstance(error, LauncherError):
        return error
    if isinstance(error, OSError):
        return LauncherError(os_error_text(error))
    if local.is_emulator_error(error):
        return LauncherError(str(error))
    if "botocore" not in sys.modules:
        return None
    from launcher.aws.errors import to_aws_error

    return to_aws_error(error, "continue")


def _usage(error: click.ClickException) -> str:
    """Return what click would write itself; it knows no terminal that lacks a character, or a colour."""
    text = io.StringIO()
    error.show(text)
    return text.getvalue().rstrip("\n")
