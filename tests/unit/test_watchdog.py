"""A stall is noticed, and what only looks like one is not."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from star_rating.failures import ExitCode, StalledError
from star_rating.training import watchdog as module
from star_rating.training.watchdog import FIRST_STEP_PATIENCE, Watchdog

TIMEOUT = 0.2


class Stalls:
    def __init__(self) -> None:
        self.found: list[StalledError] = []
        self.event = threading.Event()

    def __call__(self, stall: StalledError) -> None:
        self.found.append(stall)
        self.event.set()


def test_no_beat_for_too_long_is_a_stall_and_says_in_what() -> None:
    stalls = Stalls()
    with Watchdog(TIMEOUT, stalls) as watchdog:
        watchdog.beat("validation")
        assert stalls.event.wait(10)
    assert stalls.found[0].exit_code == ExitCode.STALLED
    assert ", in validation." in str(stalls.found[0])
    assert "stall_timeout_minutes" in str(stalls.found[0])


def test_beats_keep_it_quiet() -> None:
    stalls = Stalls()
    with Watchdog(TIMEOUT, stalls) as watchdog:
        for _ in range(10):
            time.sleep(TIMEOUT / 4)
            watchdog.beat("training")
    assert not stalls.found


def test_the_first_step_has_longer_as_it_traces_and_compiles() -> None:
    stalls = Stalls()
    started = time.monotonic()
    with Watchdog(TIMEOUT, stalls) as watchdog:
        watchdog.beat("the first step", patience=FIRST_STEP_PATIENCE)
        assert stalls.event.wait(10)
    assert time.monotonic() - started > TIMEOUT * FIRST_STEP_PATIENCE
    assert "in the first step" in str(stalls.found[0])


def test_what_comes_after_it_has_not() -> None:
    stalls = Stalls()
    with Watchdog(TIMEOUT, stalls) as watchdog:
        watchdog.beat("the first step", patience=1000)
        watchdog.beat("training")
        assert stalls.event.wait(10)


def test_zero_watches_nothing() -> None:
    stalls = Stalls()
    with Watchdog(0, stalls):
        time.sleep(TIMEOUT)
    assert not stalls.found


def test_time_in_which_the_process_did_not_run_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    # The clock as a process sees it that was paused for an hour between two looks.
    stalls = Stalls()
    looks = iter([0.0, *(3600.0 + 0.01 * look for look in range(100_000))])
    monkeypatch.setattr(module, "TICK_SECONDS", 0.01)
    monkeypatch.setattr(time, "monotonic", lambda: next(looks))
    with Watchdog(60, stalls):
        assert not stalls.event.wait(0.3)


def test_a_process_that_hangs_is_ended_with_a_stack_of_every_thread_and_a_sentence(tmp_path: Path) -> None:
    # A main thread in a read that never ends, as of a FIFO that nobody writes to.
    program = """
        import os, sys, train
        from types import SimpleNamespace
        from pathlib import Path
        from star_rating import logs
        from star_rating.hosts.cluster import Cluster
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
        cwd=Path(__file__).parents[2],
        env=environment,
        timeout=60,
    )
    assert ended.returncode == ExitCode.STALLED, ended.stderr
    assert (tmp_path / "code").read_text() == str(int(ExitCode.STALLED))
    assert "There was no progress for" in (tmp_path / "failure").read_text()
    assert 'File "<string>", line 13 in <module>' in ended.stdout, "the stack does not show the line that hangs"
    assert "Current thread" in ended.stdout
