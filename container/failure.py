"""How the container itself fails: an exit code, and one sentence for `/opt/ml/output/failure`.

    raise ContainerError(ExitCode.CONFIGURATION, "resourceconfig.json has no hosts. Name at least one.")

The training program has its own failures (src/star_rating/failures.py); the codes that both use are the same
numbers. This side cannot import that one: it must be able to speak when the program cannot start at all.
"""

from __future__ import annotations

import sys
from enum import IntEnum
from pathlib import Path

FAILURE_MAX_CHARACTERS = 1024
"""What SageMaker reads of the failure file (DescribeTrainingJob, FailureReason)."""

SIGNAL_BASE = 128
"""A command that died of signal N is reported as 128 + N, as shells do."""


class ExitCode(IntEnum):
    """The exit codes that this side decides on; the program's own are passed on as they are."""

    SUCCESS = 0
    BUG = 1
    USAGE = 2
    HYPERPARAMETER = 10
    CONFIGURATION = 13
    DISK_FULL = 14


class ContainerError(Exception):
    """A way to end before, after or around the program, with something to change; shown without a traceback."""

    def __init__(self, exit_code: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def failure_file(root: Path) -> Path:
    """Return the file that SageMaker shows as the job's FailureReason."""
    return root / "output" / "failure"


def read_failure(root: Path) -> str:
    """Return the failure file's text, "" if there is none."""
    try:
        return failure_file(root).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def report(error: ContainerError, root: Path | None = None) -> None:
    """Say what went wrong on stderr and, below `root`, in the failure file."""
    sys.stderr.write(f"error: {error}\n")
    sys.stderr.flush()
    if root is None:
        return
    try:
        failure_file(root).parent.mkdir(parents=True, exist_ok=True)
        # A name that the sentence repeats may hold what is not UTF-8.
        text = str(error).encode("utf-8", "backslashreplace").decode()
        failure_file(root).write_text(text[:FAILURE_MAX_CHARACTERS], encoding="utf-8")
    except OSError as problem:
        sys.stderr.write(f"error: {failure_file(root)} cannot be written: {problem.strerror}\n")
