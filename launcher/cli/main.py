"""The `launcher` command: from a job file to a finished, explained SageMaker job.

    launcher check                          # what is wrong with job.toml, offline and in AWS
    launcher train --dry-run                # the exact request as JSON, no AWS call
    launcher train                          # submit, follow the log, end with the job's exit code
    launcher status latest                  # from anywhere, any time
    launcher metrics latest --output csv
    launcher train --local                  # the same job on this machine's Docker engine

Each command is a function of cli/submit.py, cli/watch.py, cli/explain.py or cli/local.py; what they do is in the
modules that they import.
"""

from __future__ import annotations

import os
import sys

import click

from launcher.cli import explain, local, submit, watch
from launcher.errors import ExitCode, LauncherError
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


@click.group(
    cls=_Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(package_name="distilbert-trainer", prog_name="launcher")
def launcher() -> None:
    """From a job file to a finished, explained SageMaker training job."""


for command in (*submit.COMMANDS, *watch.COMMANDS, *explain.COMMANDS, local.local):
    launcher.add_command(command)


def run() -> None:
    """Run the command line and exit; no user error shows a traceback."""
    sys.exit(main(sys.argv[1:]))


def main(arguments: list[str]) -> int:
    """Run one command line and return the exit code."""
    terminal = Terminal()
    try:
        # click returns the code of its own Exit, and what the command returns otherwise: None.
        return launcher.main(arguments, prog_name="launcher", standalone_mode=False) or ExitCode.COMPLETED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except LauncherError as error:
        terminal.error(error)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        terminal.say("interrupted")
        return ExitCode.DETACHED
    except BrokenPipeError:
        # The reader has left, say `head`; Python would complain once more when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.ERROR
