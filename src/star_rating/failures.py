"""Every way in which the image ends badly: its exit code, and the one sentence that says what to change.

    raise HyperparameterError("epochs is 'three'; a whole number from 1 to 1000 is needed. Set epochs=3.")

SageMaker shows the first 1,024 characters of `/opt/ml/output/failure` as the job's FailureReason, so that a
message is one sentence or two: what was wrong, where, and what to change. The README's table of exit codes is
made from the classes below.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path

FAILURE_MAX_CHARACTERS = 1024
"""What SageMaker reads of the failure file (DescribeTrainingJob, FailureReason)."""


class ExitCode(IntEnum):
    """The process's exit codes; SageMaker calls a job Completed on 0 and Failed on anything else."""

    SUCCESS = 0
    BUG = 1
    USAGE = 2
    HYPERPARAMETER = 10
    DATA = 11
    WEIGHTS = 12
    CONFIGURATION = 13
    DISK_FULL = 14
    LOSS_NOT_FINITE = 15
    EXPORT = 16


class Failure(Exception):  # noqa: N818 - a job that fails has not always erred
    """A way to end that has a cause to name and something to change; never shown with a traceback."""

    exit_code: ExitCode = ExitCode.BUG


class UsageError(Failure):
    """The command line names a command or option that does not exist."""

    exit_code = ExitCode.USAGE


class HyperparameterError(Failure):
    """A hyperparameter is unknown, mistyped or out of range."""

    exit_code = ExitCode.HYPERPARAMETER


class DataError(Failure):
    """A channel or an input file is missing, empty, damaged, or not what training reads."""

    exit_code = ExitCode.DATA


class WeightsError(Failure):
    """The pretrained weights cannot be found or read."""

    exit_code = ExitCode.WEIGHTS


class ConfigurationError(Failure):
    """A config file, a folder or a checkpoint does not fit the job, or the job asks for several hosts."""

    exit_code = ExitCode.CONFIGURATION


class DiskFullError(Failure):
    """A file could not be written because its disk is full."""

    exit_code = ExitCode.DISK_FULL


class LossNotFiniteError(Failure):
    """The training loss or the weights became NaN or infinite."""

    exit_code = ExitCode.LOSS_NOT_FINITE


class ExportError(Failure):
    """An export, loaded again, does not give the trained model's logits."""

    exit_code = ExitCode.EXPORT


def as_failure(error: BaseException) -> Failure:
    """Turn any exception into the Failure that a user should read; what is not recognised is a bug."""
    if isinstance(error, Failure):
        return error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f" while writing {error.filename}" if error.filename else ""
        return DiskFullError(f"The disk is full{where}. Give the job a larger volume (VolumeSizeInGB).")
    if type(error).__name__ == "ResourceExhaustedError" and "No space left" in str(error):
        # TensorFlow reports ENOSPC from its own file writers in this class.
        return DiskFullError("The disk is full. Give the job a larger volume (VolumeSizeInGB).")
    summary = " ".join(str(error).split()) or "no message"
    return Failure(
        f"A defect of the training image, not of your job: {type(error).__name__}: {summary[:600]}. "
        "The log has the traceback; please report it with the image's version."
    )


def write_failure(failure: Failure, output_dir: Path) -> None:
    """Write the failure file that SageMaker turns into FailureReason; a disk that refuses it is not an error."""
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        (output_dir / "failure").write_text(str(failure)[:FAILURE_MAX_CHARACTERS], encoding="utf-8")
    except OSError:
        return  # the same sentence goes to stderr, and the exit code still tells


def nearest_name(name: str, known: Mapping[str, object]) -> str | None:
    """Return the known name that a typing error most likely meant, or None."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None
