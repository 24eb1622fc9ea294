"""Every way in which the image ends badly: its exit code, and the one sentence that says what to change.

    raise HyperparameterError("epochs is 'three'; a whole number from 1 to 1000 is needed. Set epochs=3.")

SageMaker shows the first 1,024 characters of `/opt/ml/output/failure` as the job's FailureReason, so that a
message is one sentence or two: what was wrong, where, and what to change. The README's table of exit codes is
made from the classes below.
"""

from __future__ import annotations

import difflib
import errno
import os
import reprlib
from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path

FAILURE_MAX_CHARACTERS = 1024
"""What SageMaker reads of the failure file (DescribeTrainingJob, FailureReason)."""

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = 80


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
    OUT_OF_MEMORY = 17
    STALLED = 18
    HOST_LOST = 19
    DEBUGGER = 20


class Failure(Exception):  # noqa: N818 - a job that fails has not always erred
    """A way to end that has a cause to name and something to change; never quote with a traceback."""

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
    """A config file, a folder or a checkpoint does not fit the job, or its hosts do not fit each other."""

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


class OutOfMemoryError(Failure):
    """An allocation failed; if the kernel kills the process instead, it is 137; if native code crashes, 134 or 139."""

    exit_code = ExitCode.OUT_OF_MEMORY


class StalledError(Failure):
    """There was no progress for longer than stall_timeout_minutes."""

    exit_code = ExitCode.STALLED


class HostLostError(Failure):
    """Another of the job's hosts failed, fell silent or never connected; start the job again."""

    exit_code = ExitCode.HOST_LOST


class DebuggerError(Failure):
    """require_sagemaker_debugger is True, and the debugger does not run or has disabled itself."""

    exit_code = ExitCode.DEBUGGER


class OtherHostError(Failure):
    """Another host has failed and said why: this one ends with the same code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = ExitCode(exit_code)


def as_failure(error: BaseException) -> Failure:
    """Turn any exception into the Failure that a user should read; what is not recognised is a bug."""
    known = error if isinstance(error, Failure) else _recognised(error)
    if known is not None:
        return known
    return Failure(
        f"A defect of the training image, not of your job: {type(error).__name__}: {_summary(error)}. "
        "The log has the traceback; please report it with the image's version."
    )


def _recognised(error: BaseException) -> Failure | None:
    """Return what an exception of Python, TensorFlow or the operating system means; None where it is a defect."""
    name = type(error).__name__
    if isinstance(error, OSError):
        return _of_the_system(error)
    if name == "ResourceExhaustedError":
        # TensorFlow's one class for what its file writers and its allocator are refused.
        return _disk_full() if "No space left" in str(error) else _out_of_memory()
    if isinstance(error, MemoryError):
        return _out_of_memory()
    if isinstance(error, RuntimeError) and str(error) == "can't start new thread":
        return _no_more_processes()
    if name in ("DataLossError", "NotFoundError"):
        return DataError(
            f"A file of the job was whole at its start, and was changed or removed since: {_summary(error)}. Leave the "
            "channels alone while the job runs, and start it again."
        )
    return None


def _summary(error: BaseException) -> str:
    return (" ".join(str(error).split()) or "no message")[:600]


def _of_the_system(error: OSError) -> Failure | None:
    """Return what an error of the operating system means for the job; None where it can only be a defect."""
    where = f" {error.filename}" if error.filename else ""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return _disk_full(f" while writing{where}" if where else "")
        case errno.ENOMEM:
            return _out_of_memory()
        case errno.EAGAIN if not error.filename:  # fork
            return _no_more_processes()
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return ConfigurationError(
                f"User {os.getuid()} may not use{where or ' a file of the job'}: {error.strerror}. Mount it so that "
                "this user may use it, or run the container as its owner (docker run --user)."
            )
        case errno.EIO | errno.ENOTCONN | errno.ESTALE | errno.EREMOTEIO:
            return DataError(
                f"The storage below{where or ' the job'} stopped answering: {error.strerror}. Start the job again; if "
                "it happens again, use another volume or TrainingInputMode=File."
            )
        case _:
            return None


def _no_more_processes() -> Failure:
    return ConfigurationError(
        "No further process or thread could be started. Raise or remove the container's limit (docker run "
        "--pids-limit) or the user's (--ulimit nproc)."
    )


def _disk_full(where: str = "") -> Failure:
    return DiskFullError(f"The disk is full{where}. Give the job a larger volume (VolumeSizeInGB).")


def _out_of_memory() -> Failure:
    return OutOfMemoryError(
        "The job ran out of memory: an allocation was refused. Use a larger instance type (or docker run --memory), "
        "or lower train_batch_size or max_seq_length."
    )


def write_failure(failure: Failure, output_dir: Path) -> None:
    """Write the failure file that SageMaker turns into FailureReason; a disk that refuses it is not an error."""
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        # A file's name that the sentence repeats may hold what is not UTF-8.
        text = str(failure).encode("utf-8", "backslashreplace").decode()
        (output_dir / "failure").write_text(text[:FAILURE_MAX_CHARACTERS], encoding="utf-8")
    except OSError:
        return  # the same sentence goes to stderr, and the exit code still tells


def quote(value: object) -> str:
    """Return a value as a sentence can quote it: in Python's notation, without its middle where it is long."""
    return _SHORT.repr(value)


def nearest_name(name: str, known: Mapping[str, object]) -> str | None:
    """Return the known name that a typing error most likely meant, or None."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None
