"""A stall is noticed, and what only looks like one is not."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from star_rating.failures import ExitCode, StalledError
from star_rating.training.watchdog import FIRST_STEP_PATIENCE, TICK_SECONDS, StallClock, Watchdog

TIMEOUT = 60.0
LONGEST_WAIT = 300.0
"""Seconds, on however busy a machine; here it is one."""


class Watched:
    """A watchdog that looks at a time of the test's own, once a second: no thread, and no waiting."""

    def __init__(self) -> None:
        self.dog = Watchdog(TIMEOUT, lambda _: None)
        self._now = 1000.0
        self._clock = StallClock(self._now, 0.0)
        self.dog.look(self._clock, self._now, 0.0)

    def stall_within(self, seconds: float) -> StalledError | None:
        """Let this time pass without a beat; return the stall that is found in it, if one is."""
        for _ in range(int(seconds)):
            self._now += 1.0
            if stall := self.dog.look(self._clock, self._now, 0.0):
                return stall
        return None


def test_a_thread_calls_on_stall_once_when_no_beat_comes() -> None:
    found: list[StalledError] = []
    stalled = threading.Event()

    def on_stall(stall: StalledError) -> None:
        found.append(stall)
        stalled.set()

    with Watchdog(0.04, on_stall):
        assert stalled.wait(LONGEST_WAIT)
    assert [stall.exit_code for stall in found] == [ExitCode.STALLED]


def test_no_beat_for_too_long_is_a_stall_and_says_in_what() -> None:
    watched = Watched()
    watched.dog.heartbeat("validation")
    assert watched.stall_within(TIMEOUT) is None
    stall = watched.stall_within(2)
    assert stall is not None
    assert stall.exit_code == ExitCode.STALLED
    assert ", in validation." in str(stall)
    assert "stall_timeout_minutes" in str(stall)


def looks(*steps: tuple[float, float, int]) -> float:
    """Return how long a clock finds a process idle after these steps of time, of processor time, and of beats."""
    now, cpu, beats = 1000.0, 50.0, 0
    clock = StallClock(now, cpu)
    for time_step, cpu_step, beat in steps:
        now, cpu, beats = now + time_step, cpu + cpu_step, beats + beat
        clock.look(now, cpu, beats)
    return clock.idle


def test_a_beat_ends_what_was_idle() -> None:
    assert looks(*[(1.0, 0.0, 0)] * 9) == pytest.approx(9.0)
    assert looks(*[(1.0, 0.0, 0)] * 9, (1.0, 0.0, 1)) == 0.0
    assert looks(*[(1.0, 0.0, 0)] * 9, (1.0, 0.0, 1), (1.0, 0.0, 0)) == pytest.approx(1.0)


def test_a_process_that_computes_on_a_busy_machine_does_not_stall() -> None:
    # An import of TensorFlow that gets a fifth of a core takes a minute: less than a timeout of six seconds and a bit.
    assert looks(*[(1.0, 0.2, 0)] * 59) < 6.0
    assert looks(*[(1.0, 0.02, 0)] * 59) == pytest.approx(59.0), "what samples metrics is no progress"
    assert looks(*[(1.0, 1.0, 0)] * 100) == pytest.approx(10.0), "nor is a loop that never ends"


def test_time_in_which_the_process_did_not_run_does_not_count() -> None:
    assert looks((3600.0, 0.0, 0), (0.5, 0.0, 0)) == pytest.approx(2 * TICK_SECONDS + 0.5)


def test_the_first_step_has_longer_as_it_traces_and_compiles() -> None:
    watched = Watched()
    watched.dog.heartbeat("the first step", patience=FIRST_STEP_PATIENCE)
    assert watched.stall_within(TIMEOUT * FIRST_STEP_PATIENCE) is None
    assert "in the first step" in str(watched.stall_within(2))


def test_what_comes_after_it_has_not() -> None:
    watched = Watched()
    watched.dog.heartbeat("the first step", patience=1000)
    watched.dog.heartbeat("training")
    assert "in training" in str(watched.stall_within(TIMEOUT + 2))


def test_what_has_a_limit_of_its_own_is_not_watched() -> None:
    watched = Watched()
    watched.dog.heartbeat("reading the channels")
    with watched.dog.paused():
        assert watched.stall_within(100 * TIMEOUT) is None
    assert watched.stall_within(TIMEOUT - 2) is None
    assert "in reading the channels" in str(watched.stall_within(4))


def test_zero_watches_nothing() -> None:
    with Watchdog(0, lambda _: None):
        assert "watchdog" not in [thread.name for thread in threading.enumerate()]


def test_a_process_that_hangs_is_ended_with_a_stack_of_every_thread_and_a_sentence(tmp_path: Path) -> None:
    # A main thread in a read that never ends, as of a FIFO that nobody writes to.
    program = """
        import os, sys, train
        from types import SimpleNamespace
        from pathlib import Path
        from star_rating import logs
        from star_rating.distributed.cluster import Cluster
        from star_rating.training.watchdog import Watchdog
        logs.configure()
        cluster = Cluster(("algo-1",), "algo-1")
        contract = SimpleNamespace(output_dir=Path(sys.argv[1]))
        with Watchdog(0.2, lambda stall: train.end_hanging(stall, contract, cluster)):
            os.mkfifo(sys.argv[1] + "/fifo")
            open(sys.argv[1] + "/fifo")
    """
    environment = {**os.environ, "TRAINING_EXIT_CODE_FILE": str(tmp_path / "code"), "PYTHONPATH": "src"}
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[4],
        env=environment,
        timeout=LONGEST_WAIT,
    )
    assert ended.returncode == ExitCode.STALLED, ended.stderr
    assert (tmp_path / "code").read_text() == str(int(ExitCode.STALLED))
    assert "There was no progress for" in (tmp_path / "failure").read_text()
    assert 'File "<string>", line 13 in <module>' in ended.stdout, "the stack does not show the line that hangs"
    assert "Current thread" in ended.stdout
