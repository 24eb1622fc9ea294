"""One thread per core or per logical CPU: what is measured, what is chosen, and what ends the measurement."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from star_rating.checkpointing.store import CheckpointStore, saved_threads
from star_rating.hardware import calibration
from star_rating.hardware.calibration import Work, calibrate, choose_faster
from star_rating.hardware.threads import INTRA_OP, Threads

SRC = Path(calibration.__file__).parents[2]
SMT = Threads(cores=18, intra_op=18, inter_op=18, hardware_threads=36, most=36)
"""ml.c5.9xlarge."""


def sleeping(seconds: Callable[[int], float]) -> Callable[[], Work]:
    """Return work that takes so long with each number of threads; it runs in a child of this process."""

    def make() -> Work:
        duration = seconds(int(os.environ[INTRA_OP]))
        return lambda _: time.sleep(duration)

    return make


def no_work() -> Work:
    raise AssertionError("nothing was to be measured")


@pytest.fixture
def enough_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the number of turns end a measurement, however busy the machine is."""
    monkeypatch.setattr(calibration, "SECONDS", 60.0)
    monkeypatch.setattr(calibration, "MOST_TURNS", 7)


@pytest.mark.usefixtures("enough_time")
@pytest.mark.parametrize(("per_logical_cpu", "expected"), [(0.001, 36), (0.06, 18)])
def test_the_faster_number_of_threads_is_taken(
    per_logical_cpu: float, expected: int, caplog: pytest.LogCaptureFixture
) -> None:
    environ: dict[str, str] = {}
    with caplog.at_level("INFO"):
        chosen = calibrate(SMT, sleeping({18: 0.02, 36: per_logical_cpu}.__getitem__), lambda: None, environ)
    assert (chosen.intra_op, chosen.inter_op, chosen.cores) == (expected, expected, 18)
    assert environ == {"TF_NUM_INTRAOP_THREADS": str(expected), "TF_NUM_INTEROP_THREADS": str(expected)}
    assert f"computes in {expected} threads" in caplog.text
    assert chosen.reason in caplog.text


def test_a_difference_within_the_noise_leaves_one_per_core() -> None:
    assert choose_faster((18, 36), [(1.0, 0.97)] * 5)[0] == 18
    assert choose_faster((18, 36), [(1.0, 0.9)] * 5)[0] == 36
    assert choose_faster((18, 36), [(1.0, 0.1)] * 3)[0] == 18, "too few turns"


def test_where_nothing_is_to_be_chosen_nothing_is_done() -> None:
    settled = Threads(cores=2, intra_op=2, inter_op=2, hardware_threads=2)
    environ: dict[str, str] = {}
    assert calibrate(settled, no_work, no_work, environ) is settled  # type: ignore[arg-type]
    assert environ == {}


@pytest.mark.parametrize("before", [18, 36])
def test_a_resumed_run_keeps_its_choice(before: int) -> None:
    chosen = calibrate(SMT, no_work, lambda: {"intra_op": before}, {})
    assert chosen.intra_op == before


@pytest.mark.usefixtures("enough_time")
@pytest.mark.parametrize("previous", [None, {}, {"intra_op": 4}, {"intra_op": "36"}])
def test_what_another_machine_had_is_measured_anew(previous: dict[str, object] | None) -> None:
    chosen = calibrate(SMT, sleeping({18: 0.02, 36: 0.001}.__getitem__), lambda: previous, {})
    assert chosen.intra_op == 36


def children() -> str:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text()


@pytest.mark.parametrize(
    "make_work",
    [
        pytest.param(sleeping(lambda _: 60.0), id="hangs"),
        pytest.param(lambda: lambda _: os.kill(os.getpid(), signal.SIGILL), id="traps"),
        pytest.param(lambda: lambda _: os.read(-1, 1), id="fails"),
    ],
)
def test_work_that_does_not_end_well_leaves_one_per_core_and_no_process(
    make_work: Callable[[], Work], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "SECONDS", 0.2)
    before, began = children(), time.monotonic()
    assert calibrate(SMT, make_work, lambda: None, {}).intra_op == 18
    assert time.monotonic() - began < 5
    assert children() == before


def test_the_newest_checkpoint_tells_the_threads(tmp_path: Path) -> None:
    assert saved_threads(tmp_path) is None
    store = CheckpointStore(tmp_path, kept=2)
    for step, number in ((1, 18), (2, 36)):
        store.write(f"step-{step:08d}-epochs-00", {}, {"acceleration": {"threads": {"intra_op": number}}})
    assert saved_threads(tmp_path) == {"intra_op": 36}
    (tmp_path / "step-00000002-epochs-00" / "state.json").write_text("[]")
    assert saved_threads(tmp_path) == {"intra_op": 18}
    (tmp_path / "step-00000001-epochs-00" / "state.json").write_text("{}")
    assert saved_threads(tmp_path) is None


def test_tensorflow_multiplies_in_the_children_and_then_here() -> None:
    """In a process of its own, as TensorFlow must have run nothing before."""
    program = """
import json, os
from star_rating import quiet_tensorflow
quiet_tensorflow.import_tensorflow()
import tensorflow as tf
from star_rating.hardware import calibration
calibration.SECONDS = 60.0
turns = calibration.measure((1, 2), lambda: calibration.matrix_products(256, 64, 128))
print(json.dumps([turns, float(tf.matmul(tf.ones([2, 3]), tf.ones([3, 2]))[0, 0])]))
"""
    environ = {**os.environ, "PYTHONPATH": str(SRC)}
    child = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, check=True, text=True)
    turns, product = json.loads(child.stdout.splitlines()[-1])
    assert product == 3.0
    assert len(turns) == calibration.MOST_TURNS
    assert all(seconds > 0 for turn in turns for seconds in turn)
