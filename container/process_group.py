"""Runs one command as PID 1 should: signals are passed on, every process is waited for, none is left behind.

    ending = run([sys.executable, "prepare.py"], os.environ)
    sys.exit(ending.exit_code)

Signals are blocked and then waited for (sigtimedwait), as init programs do: PID 1 has no default actions, and a
handler could run between a check and the wait that follows it. A stop (SIGTERM, or SIGINT from Ctrl-C) reaches every
process of the command's group as SIGTERM, once; whatever asked for the stop, the command sees the same thing. A
process whose parent did not outlive the signal becomes this process's child, so that its end is seen here.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from failure import SIGNAL_BASE

STOP_GRACE_SECONDS = 110.0
"""SageMaker kills the container 120 s after SIGTERM; the rest is for saying what happened."""

REMAINING_GRACE_SECONDS = 30.0
"""What a process gets that outlives its command."""

_STOPS = frozenset({signal.SIGTERM, signal.SIGINT})
_WATCHED = _STOPS | {signal.SIGCHLD}
_POLL_SECONDS = 1.0
_CLOCK_TICK = 1 / os.sysconf("SC_CLK_TCK")
"""Seconds: how exactly the kernel tells when a process was started."""
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


class Kill(Enum):
    """Why the group was ended with SIGKILL."""

    SECOND_SIGNAL = "a second signal asked for it"
    GRACE_OVER = "it had not ended in the time that a stop allows"
    REMAINING_PROCESS = "it outlived the command that had started it"


@dataclass(frozen=True)
class ProcessExit:
    """How a command and its process group ended."""

    main_process: int
    """The command's exit code; -N if signal N killed it."""
    reparented: int | None
    """The same of the first process that the command left running, None if it left none."""
    stop_signal: signal.Signals | None
    """The first stop signal that arrived, if one did."""
    kill: Kill | None

    @property
    def exit_code(self) -> int:
        """The command's exit code as a shell would give it."""
        return self.main_process if self.main_process >= 0 else SIGNAL_BASE - self.main_process


def block_signals() -> None:
    """Keep stop signals pending until `run` looks at them; without this, one that comes early is lost to PID 1."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)


def run(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    output: int | None = None,
    stop_grace_seconds: float = STOP_GRACE_SECONDS,
    remaining_grace_seconds: float = REMAINING_GRACE_SECONDS,
) -> ProcessExit:
    """Run a command in a session of its own and return when its last process has ended.

    `output` is a file descriptor that replaces the command's stdout and stderr. Raises OSError if the command cannot
    be started.
    """
    block_signals()
    _become_subreaper()
    redirections = [(os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)] if output is not None else []
    main_process = os.posix_spawn(
        command[0],
        list(command),
        environment,
        file_actions=redirections,
        setsid=True,
        setsigmask=(),
        # Python ignores SIGPIPE and SIGXFSZ for itself; a command expects the system's defaults.
        setsigdef=(*_STOPS, signal.SIGPIPE, signal.SIGXFSZ),
    )
    return _Watch(main_process, stop_grace_seconds, remaining_grace_seconds).wait()


def _become_subreaper() -> None:
    """Become the parent of the command's orphans where this process is not PID 1 (tests, `docker run --init`)."""
    if os.getpid() == 1:
        return
    import ctypes  # noqa: PLC0415 - the image's PID 1 starts faster without

    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class _Watch:
    """The wait for one group: what has arrived so far, and until when it may last."""

    def __init__(self, main_process: int, stop_grace_seconds: float, remaining_grace_seconds: float) -> None:
        self.group = main_process
        self.stop_grace_seconds = stop_grace_seconds
        self.remaining_grace_seconds = remaining_grace_seconds
        self.main_process: int | None = None
        self.reparented: int | None = None
        self.stop_signal: signal.Signals | None = None
        self.stopped_at: float | None = None
        """Seconds since boot; None without a stop, and once its new children have been stopped."""
        self.kill: Kill | None = None
        self.deadline: float | None = None

    def wait(self) -> ProcessExit:
        while True:
            self._reap()
            if self.main_process is not None:
                if not self._signal_group(0):
                    return ProcessExit(self.main_process, self.reparented, self.stop_signal, self.kill)
                self._stop_new_children()
                self._stop_remaining()
            received = self._next_signal()
            if received is not None and received in _STOPS:
                self._stop(received)
            elif self.deadline is not None and time.monotonic() >= self.deadline:
                self._kill(Kill.GRACE_OVER if self.stop_signal else Kill.REMAINING_PROCESS)

    def _reap(self) -> None:
        """Collect every child that has ended; the first reparented one after main process or stop counts.

        A main process that dies of the stop hands its child over a moment before it can be collected itself.
        """
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            if pid == self.group:
                self.main_process = code
            elif self.reparented is None and (self.main_process is not None or self.stop_signal is not None):
                self.reparented = code

    def _next_signal(self) -> signal.Signals | None:
        """Wait for a signal; return None where there is something else to look at."""
        if self.deadline is None and self.main_process is None:
            return signal.Signals(signal.sigwaitinfo(_WATCHED).si_signo)
        # The poll is for a group whose last process is somebody else's child: its end sends no SIGCHLD here.
        remaining = _POLL_SECONDS if self.deadline is None else self.deadline - time.monotonic()
        received = signal.sigtimedwait(_WATCHED, min(max(remaining, 0.0), _POLL_SECONDS))
        return signal.Signals(received.si_signo) if received is not None else None

    def _stop(self, received: signal.Signals) -> None:
        if self.stop_signal is not None:
            self._kill(Kill.SECOND_SIGNAL)
            return
        self.stop_signal = received
        self.deadline = time.monotonic() + self.stop_grace_seconds
        self.stopped_at = time.clock_gettime(time.CLOCK_BOOTTIME)
        _print(f"{received.name} received; waiting up to {self.stop_grace_seconds:.0f} s for an orderly end")
        self._signal_group(signal.SIGTERM)

    def _stop_new_children(self) -> None:
        """Stop what the main process forked while the stop was on its way to it.

        A fork with signals blocked (subprocess does that) leaves a pending one with the parent, which dies of it later.
        A process as young as that has no handler yet: it does no harm if it gets the signal twice.
        """
        if self.stopped_at is not None:
            for pid in _members_started_since(self.group, self.stopped_at - _CLOCK_TICK):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGTERM)
            self.stopped_at = None

    def _stop_remaining(self) -> None:
        if self.deadline is None and self.kill is None:
            self.deadline = time.monotonic() + self.remaining_grace_seconds
            self._signal_group(signal.SIGTERM)

    def _kill(self, reason: Kill) -> None:
        self.kill = self.kill or reason
        self.deadline = None
        self._signal_group(signal.SIGKILL)

    def _signal_group(self, signal_number: int) -> bool:
        """Signal every process of the group; return whether there is one."""
        try:
            os.killpg(self.group, signal_number)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


def _members_started_since(group: int, since: float) -> Iterator[int]:
    """Yield the processes of a group that were forked at or after a time, in seconds since boot."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # Behind the name, which may hold anything: state, parent, group, ..., and as the twentieth the start.
            fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and int(fields[19]) * _CLOCK_TICK >= since:
            yield int(folder.name)


def _print(message: str) -> None:
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()
