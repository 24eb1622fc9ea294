"""Signals: noticed between batches, at once before there is anything to save, at once the second time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from star_rating.interruption import Stopped, StopRequest


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_kept_until_it_is_asked_for(number: signal.Signals) -> None:
    with StopRequest() as stop:
        stop.enable_graceful_stop()
        stop.raise_if_requested()
        os.kill(os.getpid(), number)
        with pytest.raises(Stopped):
            stop.raise_if_requested()
        record = stop.record()
    assert record is not None
    assert record["signal"] == number.name
    assert 0 <= float(record["seconds"]) < 5


def test_without_a_signal_nothing_is_recorded() -> None:
    with StopRequest() as stop:
        stop.enable_graceful_stop()
    assert stop.record() is None


def test_the_handlers_of_before_are_back_afterwards() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with StopRequest() as stop:
        stop.enable_graceful_stop()
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def ended_by(program: str) -> int:
    header = "import os, signal, time\nfrom star_rating.interruption import StopRequest\n"
    return subprocess.run(
        [sys.executable, "-c", header + textwrap.dedent(program)],
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "src")},
        timeout=300,
    ).returncode


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_before_there_is_anything_to_save_a_signal_ends_the_process_at_once(number: signal.Signals) -> None:
    program = f"""
        with StopRequest():
            os.kill(os.getpid(), {int(number)})
            time.sleep(30)
    """
    assert ended_by(program) == -number


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_process_at_once(second: signal.Signals) -> None:
    program = f"""
        with StopRequest() as stop:
            stop.enable_graceful_stop()
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.signal == signal.SIGTERM
            os.kill(os.getpid(), {int(second)})
            time.sleep(30)
    """
    assert ended_by(program) == -second
