"""Signals, zombies and remaining processes: what PID 1 does with the processes of one command.

Each test runs the supervisor in a process of its own, because it adopts orphans and waits for every child it has.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CONTAINER = Path(__file__).parents[2] / "container"

SUPERVISE = """
import json, os, sys
import process_group
options, program = json.loads(sys.argv[1]), sys.argv[2]
process_group.block_signals()
ending = process_group.run([sys.executable, "-c", program], os.environ, **options)
stop = ending.stop_signal.name if ending.stop_signal else None
kill = ending.kill.name if ending.kill else None
print(json.dumps([ending.main_process, ending.reparented, stop, kill, ending.exit_code]))
"""

LONGEST_WAIT = 300.0
"""Seconds for what takes one on an idle machine."""

SAVES_ON_SIGTERM = """
import os, signal, sys, time
def save(*_):  # os.write: print is not reentrant, and the signal may come while "ready" is being printed
    os.write(1, b"saving\\n")
    time.sleep(0.3)
    os.write(1, b"saved\\n")
    sys.exit(7)
signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
time.sleep(60)
"""

IGNORES_SIGTERM = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(60)
"""


class Supervised:
    """A supervisor in a process of its own, and what its command prints."""

    def __init__(self, program: str, **options: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SUPERVISE, json.dumps(options), program],
            env={**os.environ, "PYTHONPATH": str(CONTAINER)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.stdout = self.process.stdout
        self.rest: list[str] = []
        """Lines that nobody has waited for."""

    def wait_for(self, line: str) -> None:
        assert self.stdout.readline() == line + "\n"

    def ending(self) -> list[Any]:
        """Return main_process, reparented, stop signal, kill and exit code."""
        # Not communicate(): it does not see what readline() has read ahead.
        output = self.stdout.read()
        _, errors = self.process.communicate(timeout=LONGEST_WAIT)
        assert self.process.returncode == 0, errors
        *self.rest, last = output.splitlines()
        result: list[Any] = json.loads(last)
        return result


@pytest.fixture
def supervise() -> Iterator[type[Supervised]]:
    started: list[Supervised] = []

    class Tracked(Supervised):
        def __init__(self, program: str, **options: Any) -> None:
            super().__init__(program, **options)
            started.append(self)

    yield Tracked
    for supervised in started:
        supervised.process.kill()
        supervised.process.wait()
        supervised.stdout.close()
        assert supervised.process.stderr is not None
        supervised.process.stderr.close()


def leaves_running(program: str) -> str:
    """Return a program that starts another, as the toolkit starts train.py, and dies of SIGTERM before it."""
    return f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', {program!r}]))"


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_an_exit_code_is_passed_on(supervise: type[Supervised]) -> None:
    assert supervise("import sys; sys.exit(3)").ending() == [3, None, None, None, 3]


def test_death_by_a_signal_is_told_from_an_exit_code(supervise: type[Supervised]) -> None:
    program = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    assert supervise(program).ending() == [-11, None, None, None, 139]


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_lets_the_command_finish(supervise: type[Supervised], stop: signal.Signals) -> None:
    supervised = supervise(SAVES_ON_SIGTERM)
    supervised.wait_for("ready")
    supervised.process.send_signal(stop)
    supervised.wait_for("saving")
    supervised.wait_for("saved")
    assert supervised.ending() == [7, None, stop.name, None, 7]


def test_a_stop_reaches_a_grandchild_that_outlives_its_parent(supervise: type[Supervised]) -> None:
    supervised = supervise(leaves_running(SAVES_ON_SIGTERM))
    supervised.wait_for("ready")
    supervised.process.send_signal(signal.SIGTERM)
    supervised.wait_for("saving")
    supervised.wait_for("saved")
    assert supervised.ending() == [-15, 7, "SIGTERM", None, 143]


def test_a_stop_reaches_a_child_that_is_forked_while_it_is_on_its_way(supervise: type[Supervised]) -> None:
    # As subprocess forks: signals blocked, and what is pending by then stays with the parent.
    program = """
import os, signal, time
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
print("ready", flush=True)
while signal.SIGTERM not in signal.sigpending():
    time.sleep(0.001)
child = os.fork()
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
assert child == 0
time.sleep(60)
"""
    supervised = supervise(program, stop_grace_seconds=20)
    supervised.wait_for("ready")
    supervised.process.send_signal(signal.SIGTERM)
    assert supervised.ending() == [-15, -15, "SIGTERM", None, 143]


def test_a_stop_is_sent_once_to_what_was_there_before_it(supervise: type[Supervised]) -> None:
    counts = """
import os, signal, time
came = []
def count(*_):
    came.append(1)
    os.write(1, b"SIGTERM\\n")
signal.signal(signal.SIGTERM, count)
time.sleep(0.1)  # not a latecomer
print("ready", flush=True)
while not came:
    time.sleep(0.01)
time.sleep(0.5)  # for one that comes again
"""
    supervised = supervise(leaves_running(counts))
    supervised.wait_for("ready")
    supervised.process.send_signal(signal.SIGTERM)
    supervised.wait_for("SIGTERM")
    assert supervised.ending() == [-15, 0, "SIGTERM", None, 143]
    assert supervised.rest == []


def test_a_second_signal_ends_the_command_at_once(supervise: type[Supervised]) -> None:
    supervised = supervise(leaves_running(IGNORES_SIGTERM))
    supervised.wait_for("ready")
    supervised.process.send_signal(signal.SIGTERM)
    assert supervised.process.stderr is not None
    assert "SIGTERM received" in supervised.process.stderr.readline()
    supervised.process.send_signal(signal.SIGINT)
    main_process, remaining, *rest = supervised.ending()
    assert [main_process, *rest] == [-15, "SIGTERM", "SECOND_SIGNAL", 143]
    assert remaining in (-9, None)  # None: killed before its parent had ended, so it never came to us


def test_a_stop_that_takes_too_long_is_ended(supervise: type[Supervised]) -> None:
    supervised = supervise(IGNORES_SIGTERM, stop_grace_seconds=0.3)
    supervised.wait_for("ready")
    supervised.process.send_signal(signal.SIGTERM)
    assert supervised.ending() == [-9, None, "SIGTERM", "GRACE_OVER", 137]


def test_a_signal_that_comes_before_the_command_is_not_lost() -> None:
    program = """
import os, signal, sys
import process_group
process_group.block_signals()
os.kill(os.getpid(), signal.SIGTERM)
ending = process_group.run([sys.executable, "-c", "import time; time.sleep(60)"], os.environ)
print(ending.main_process, ending.stop_signal.name)
"""
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(CONTAINER)},
        capture_output=True,
        text=True,
        check=True,
        timeout=LONGEST_WAIT,
    )
    assert result.stdout == "-15 SIGTERM\n"


def test_a_process_that_outlives_the_command_is_asked_to_end(supervise: type[Supervised]) -> None:
    program = (
        "import subprocess, sys\n"
        "helper = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(helper.pid, flush=True)\n"
    )
    supervised = supervise(program)
    helper = int(supervised.stdout.readline())
    assert supervised.ending() == [0, -15, None, None, 0]
    assert not is_alive(helper)


def test_a_process_that_will_not_end_is_killed(supervise: type[Supervised]) -> None:
    program = (
        "import subprocess, sys\n"
        f"helper = subprocess.Popen([sys.executable, '-c', {IGNORES_SIGTERM!r}], stdout=subprocess.PIPE)\n"
        "helper.stdout.readline()\n"
        "print(helper.pid, flush=True)\n"
    )
    supervised = supervise(program, remaining_grace_seconds=0.2)
    helper = int(supervised.stdout.readline())
    assert supervised.ending() == [0, -9, None, "REMAINING_PROCESS", 0]
    assert not is_alive(helper)


def test_zombies_are_reaped_while_the_command_runs(supervise: type[Supervised]) -> None:
    # The middle process of a double fork ends at once; its child becomes the supervisor's, and ends, too.
    program = """
import os, sys, time
if os.fork() == 0:
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        os._exit(0)
    os._exit(0)
os.wait()
time.sleep(600)
"""
    supervised = supervise(program)
    reparented = int(supervised.stdout.readline())
    deadline = time.monotonic() + LONGEST_WAIT
    while is_alive(reparented):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    supervised.process.send_signal(signal.SIGTERM)
    assert supervised.ending() == [-15, None, "SIGTERM", None, 143]


def test_the_command_starts_with_no_signal_blocked(supervise: type[Supervised]) -> None:
    program = "import signal, sys; sys.exit(len(signal.pthread_sigmask(signal.SIG_BLOCK, [])))"
    assert supervise(program).ending()[0] == 0
