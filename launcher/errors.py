"""What can go wrong, each with the exit code that the command line ends with.

raise JobFileError([Problem("job.toml: compute.instance_count", "is 0; at least 1 is needed")])
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any


class ExitCode(IntEnum):
    """What the process says to the shell that started it."""

    COMPLETED = 0
    ERROR = 1
    JOB_FILE = 2
    JOB_FAILED = 3
    JOB_STOPPED = 4
    TIMEOUT = 124
    DETACHED = 130


class LauncherError(Exception):
    """The launcher or AWS could not do what was asked."""

    exit_code = ExitCode.ERROR


class AwsError(LauncherError):
    """AWS refused or could not be reached."""


@dataclass(frozen=True)
class Problem:
    """One mistake, or one warning: where it stands (file, key) and what to change."""

    location: str
    message: str
    is_warning: bool = False
    is_about_aws: bool = False
    """Whether it is nothing to the local SageMaker."""

    def __str__(self) -> str:
        return f"{self.location} {self.message}"


class JobFileError(LauncherError):
    """The job file, an override or the request that they make is wrong; all problems at once."""

    exit_code = ExitCode.JOB_FILE

    def __init__(self, problems: Sequence[Problem], rest: object = None) -> None:
        self.problems = tuple(problems)
        self.rest: Any = rest
        """The LoadedJob without its wrong keys, if they are all that is known to be wrong so far."""
        super().__init__("\n".join(str(problem) for problem in self.problems))

    @classmethod
    def of(cls, location: str, message: str) -> JobFileError:
        """Return the error for a single problem."""
        return cls([Problem(location, message)])


class UsageError(LauncherError):
    """The command line asks for something that cannot be."""

    exit_code = ExitCode.JOB_FILE


class JobFailedError(LauncherError):
    """The job ended as Failed."""

    exit_code = ExitCode.JOB_FAILED


class JobStoppedError(LauncherError):
    """The job was stopped or ran out of its time."""

    exit_code = ExitCode.JOB_STOPPED


class WaitTimeoutError(LauncherError):
    """The job still runs, but the time that --timeout allows for waiting is over."""

    exit_code = ExitCode.TIMEOUT


def os_error_text(error: OSError) -> str:
    """Return what the operating system says: of which file, and why."""
    why = error.strerror or str(error) or type(error).__name__
    return why if error.filename is None else f"{os.fspath(error.filename)}: {why}"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that `name` most likely means, or None."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def advice(name: str, known: Iterable[str]) -> str:
    """Return `did you mean X?`, or the short list of what is known."""
    names = list(known)
    match = nearest(name, names)
    if match:
        return f"did you mean {match}?"
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return f"known are {shown}"
