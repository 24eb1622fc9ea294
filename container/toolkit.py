"""Runs training through sagemaker-training, and says how it ended where the toolkit cannot.

    exit_code = train()

The toolkit turns the contract into train.py's arguments and SM_* variables, and starts it. Three things it does not
do are done here: a stop signal reaches train.py (process_group.py), train.py's own exit code becomes the container's
(the toolkit's is always 1), and every bad end leaves one sentence in the failure file (causes.py).
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import causes
import process_group
from configuration import read_configuration
from contract import ROOT, make_output_folders, success_file, toolkit_base
from failure import SIGNAL_BASE, ContainerError, ExitCode, read_failure, report

HOME = Path(__file__).resolve().parent.parent
"""/opt/distilbert-trainer in the image."""

PROGRAM_DIR = HOME / "src"
PROGRAM = "train.py"

EXIT_CODE_FILE_VARIABLE = "TRAINING_EXIT_CODE_FILE"
"""train.py writes its exit code, in decimal, to the file that this variable names."""

CONFIG_DIR_VARIABLE = "TRAINING_CONFIG_DIR"
"""Where train.py reads the config files that the toolkit does not: its messages name them there."""

_SCRIPT_FAILED = re.compile(r"\w+:\nExitCode (-?\d+)\n")
_TOOLKIT_FAILED = re.compile(r"(Framework|SMTrainingCompiler) Error: ?\n")
"""How the toolkit's own failure files begin; anything else was written by train.py."""

_EXCEPTION = re.compile(r"^[A-Za-z_][\w.]*(?:Error|Exception)\b.*$", re.MULTILINE)


@dataclass(frozen=True)
class ExitContext:
    """What is known of a job once its processes are gone."""

    process: process_group.ProcessExit
    exit_code_file: int | None
    """What train.py wrote as its exit code."""
    failure: str
    """The failure file, "" if there is none."""
    success: bool
    """Whether the toolkit left its success file."""
    out_of_memory: bool
    process_limit: int | None = None
    """The container's limit on processes, if one was refused by it meanwhile."""


def train(root: Path = ROOT, program_dir: Path = PROGRAM_DIR, output: int | None = None) -> int:
    """Run one training job below `root` and return the container's exit code.

    `output` is a file descriptor for everything that the job prints; by default it is this process's own stdout and
    stderr.
    """
    try:
        make_output_folders(root)
        configuration = read_configuration(root)
        for note in configuration.notes:
            sys.stderr.write(f"{note}\n")
        with toolkit_base(root, program_dir, configuration) as base:
            context = _run(base, root, output)
        exit_code, sentence = classify_exit(context)
        sentence = sentence.replace(str(base), str(root))  # the toolkit's folder is gone, and nobody has seen it
        if _TOOLKIT_FAILED.match(context.failure):
            sys.stderr.write(context.failure + "\n")
        if sentence:
            raise ContainerError(exit_code, sentence)
    except ContainerError as error:
        report(error, root)
        return error.exit_code
    return exit_code


def classify_exit(context: ExitContext) -> tuple[int, str]:
    """Return the job's exit code, and a sentence where train.py has not left one ("" where it has, or none is due)."""
    code = _training_exit_code(context)
    if code == ExitCode.SUCCESS:
        return code, ""
    if code == ExitCode.BUG and context.process_limit:
        # Whatever broke was not made for a thread or process that cannot be started.
        return ExitCode.CONFIGURATION, causes.processes_refused(context.process_limit)
    says_itself = bool(context.failure) and not _is_the_toolkits(context.failure)
    exit_code = SIGNAL_BASE - code if code < 0 else code
    return exit_code, "" if says_itself else _message(code, context)


def _run(base: Path, root: Path, output: int | None) -> ExitContext:
    exit_code_file = base / "exit-code"
    kills_before = causes.out_of_memory_kills() or 0
    refusals_before = causes.refused_processes() or 0
    try:
        process = process_group.run(
            # -P keeps the container's own modules off the path that the toolkit hands to train.py.
            [sys.executable, "-P", str(Path(__file__).with_name("run_toolkit.py"))],
            {**_environment(os.environ, base, exit_code_file), CONFIG_DIR_VARIABLE: str(root / "input" / "config")},
            output=output,
        )
    except BlockingIOError:  # what the system says of a process too many
        raise ContainerError(ExitCode.CONFIGURATION, causes.processes_refused(causes.process_limit())) from None
    return ExitContext(
        process=process,
        exit_code_file=_read_exit_code(exit_code_file),
        failure=read_failure(root),
        success=success_file(root).exists(),
        out_of_memory=(causes.out_of_memory_kills() or 0) > kills_before,
        process_limit=causes.process_limit() if (causes.refused_processes() or 0) > refusals_before else None,
    )


def _environment(environ: Mapping[str, str], base: Path, exit_code_file: Path) -> dict[str, str]:
    return {
        **environ,
        "SAGEMAKER_BASE_DIR": str(base),
        "SAGEMAKER_PROGRAM": PROGRAM,
        "SAGEMAKER_CONTAINER_LOG_LEVEL": "50",  # read as a number, or the toolkit breaks
        EXIT_CODE_FILE_VARIABLE: str(exit_code_file),
        "PYTHONUNBUFFERED": "1",  # a line reaches CloudWatch when it is written
        "PYTHONFAULTHANDLER": "1",  # a crash in a native library leaves the Python stack in the log
        # Without it the toolkit asks for the address of every host, one after the other, for up to 15 minutes each,
        # and then does not say which has none; training's own hosts meet by themselves. It changes nothing else.
        "SM_STUDIO_LOCAL_MODE": "true",
    }


def _read_exit_code(file: Path) -> int | None:
    try:
        text = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return int(text) if text.isdecimal() and int(text) <= 255 else None


def _training_exit_code(context: ExitContext) -> int:
    """Return train.py's exit code, -N if signal N killed it, from the best witness there is."""
    if context.exit_code_file is not None:
        return context.exit_code_file
    process = context.process
    if process.main_process < 0 and process.stop_signal is not None and process.reparented is not None:
        return process.reparented  # the stop ended the toolkit; train.py was then waited for here
    script = _SCRIPT_FAILED.match(context.failure)
    if script:
        return int(script[1])
    if process.main_process == 0 and not context.success:
        # The toolkit exits with 0 if it cannot write how the script ended.
        return ExitCode.DISK_FULL
    if _TOOLKIT_FAILED.match(context.failure):
        return ExitCode.BUG
    return process.main_process


def _is_the_toolkits(failure: str) -> bool:
    return bool(_SCRIPT_FAILED.match(failure) or _TOOLKIT_FAILED.match(failure))


def _message(code: int, context: ExitContext) -> str:
    """Say why the job ended badly; `code` is train.py's exit code or, negative, the signal that killed it."""
    stopped_by = context.process.stop_signal.name if context.process.stop_signal else "a stop"
    if context.process.kill is process_group.Kill.SECOND_SIGNAL:
        return f"The job was ended at once by a second signal, before training had saved its state after {stopped_by}."
    if context.process.kill is process_group.Kill.GRACE_OVER:
        return (
            f"Training did not end within {process_group.STOP_GRACE_SECONDS:.0f} s of {stopped_by} and was killed. "
            "What the last finished checkpoint holds is safe."
        )
    if code < 0:
        return causes.signal_message(
            -code,
            out_of_memory=context.out_of_memory and -code == signal.SIGKILL,
            process_limit=context.process_limit,
        )
    if _TOOLKIT_FAILED.match(context.failure):
        return _toolkit_message(context)
    if context.process.main_process == 0:
        return (
            "How training ended could not be written below output/: the disk is full or read-only. Give the job a "
            "larger volume (VolumeSizeInGB)."
        )
    return f"{PROGRAM} ended with exit code {code} and gave no reason. The log above has its last words."


def _toolkit_message(context: ExitContext) -> str:
    exceptions = _EXCEPTION.findall(context.failure) or context.failure.strip().splitlines()
    return (
        f"sagemaker-training could not start {PROGRAM}: {exceptions[-1][:600]}. The log has the traceback; please "
        "report it with the image's version."
    )
