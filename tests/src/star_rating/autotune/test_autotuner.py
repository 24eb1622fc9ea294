"""Modes measured in a child process: with real models, within a budget, and whatever becomes of the child."""

from __future__ import annotations

import itertools
import math
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import tf_keras

from star_rating.autotune import worker
from star_rating.autotune.autotuner import ROUNDS, Trial
from star_rating.autotune.benchmark import Mode
from star_rating.autotune.worker import ENOUGH_ROUNDS, run, start_training
from star_rating.data.channel import open_channel
from star_rating.hyperparameters import Hyperparameters
from star_rating.model import pretrained_weights
from tests.helpers.training_job import LENGTH, TrainingJob

FLOAT32, BFLOAT16 = Mode(xla=False, compute_dtype="float32"), Mode(xla=False, compute_dtype="bfloat16")
COMPILED, COMPILED_BFLOAT16 = Mode(xla=True, compute_dtype="float32"), Mode(xla=True, compute_dtype="bfloat16")


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    job = TrainingJob(tmp_path_factory.mktemp("job"))
    pretrained = pretrained_weights.load(job.weights)
    channel = open_channel(
        "train", job.channel("train"), max_seq_length=LENGTH, vocabulary_size=pretrained.config.vocab_size
    )
    return Trial(Hyperparameters(max_seq_length=LENGTH, train_batch_size=8), pretrained, channel, steps=10)


class Clock:
    """Time that passes in steps alone: by chance one of two that take none may take twice the other's."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


CLOCK = Clock()


@pytest.fixture(autouse=True)
def _time_passes_in_steps_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "time", CLOCK)


class Steps:
    """Stands for models whose steps take as long as they are told."""

    def __init__(
        self, first_step: float = 0.0, failing: Mode | None = None, slow: Mode | None = None, pause: float = 0.0
    ) -> None:
        self.first_step = first_step
        self.failing = failing
        self.slow = slow
        self.pause = pause

    def start(self, mode: Mode) -> Callable[[], float]:
        if mode == self.failing:
            raise ValueError("in user code:\n\n    no kernel for it")
        pauses = itertools.chain(
            [self.first_step], itertools.repeat(4 * self.pause if mode == self.slow else self.pause)
        )

        def step() -> float:
            CLOCK.sleep(next(pauses))
            return 1.6

        return step


def no_sooner(_: float) -> float:
    return math.inf


def modes_of(events: Sequence[Mapping[str, object]]) -> list[object]:
    return [event["mode"] for event in events]


def test_modes_take_turns_and_those_with_xla_come_after() -> None:
    events = list(run([FLOAT32, BFLOAT16, COMPILED], Steps().start, CLOCK.monotonic() + 60, no_sooner))
    assert modes_of(events) == [0, 1, *[0, 1] * ROUNDS, 2, *[0, 1, 2] * ROUNDS]


def test_a_mode_that_fails_is_left_out_with_its_error() -> None:
    events = list(run([FLOAT32, BFLOAT16], Steps(failing=BFLOAT16).start, CLOCK.monotonic() + 60, no_sooner))
    assert {"mode": 1, "reason": "ValueError: no kernel for it"} in events
    assert modes_of(events) == [0, 1, 0]


def test_a_mode_that_is_alone_is_measured_as_far_as_tells_what_the_run_takes() -> None:
    seen: list[float] = []

    def until_for(seconds_per_step: float) -> float:
        seen.append(seconds_per_step)
        return math.inf

    events = list(run([FLOAT32, COMPILED], Steps(pause=0.01).start, CLOCK.monotonic() + 60, until_for))
    assert modes_of(events) == [0, 0, 1, *[0, 1] * ROUNDS]
    assert seen == [pytest.approx(0.01, rel=0.5)] * 2


def test_a_mode_that_does_not_fit_into_the_time_left_is_not_begun() -> None:
    events = list(
        run(
            [FLOAT32, BFLOAT16, COMPILED],
            Steps(first_step=0.2).start,
            until=CLOCK.monotonic() + 1.2,
            until_for=no_sooner,
        )
    )
    assert [event["mode"] for event in events if "reason" in event] == [2]
    assert next(event["reason"] for event in events if "reason" in event).startswith("may take 1 s, and 1 s are left")


def test_a_mode_that_has_lost_is_measured_no_further_and_xla_not_tried_for_its_dtype() -> None:
    steps = Steps(slow=FLOAT32, pause=0.01)
    until = CLOCK.monotonic() + 60
    events = list(run([FLOAT32, BFLOAT16, COMPILED, COMPILED_BFLOAT16], steps.start, until, no_sooner))
    assert modes_of(events) == [0, 1, *[0, 1] * ROUNDS, 2, 3, *[1, 3] * ROUNDS]
    (reason,) = [str(event["reason"]) for event in events if "reason" in event]
    assert re.fullmatch(r"without XLA bfloat16 takes 0\.01\S* s a step, and float32 0\.04\S* s", reason)


def test_steps_that_take_their_time_are_repeated_only_until_one_mode_has_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "CHEAP_SECONDS", 0.0)
    steps = Steps(slow=FLOAT32, pause=0.01)
    events = list(run([FLOAT32, BFLOAT16, COMPILED_BFLOAT16], steps.start, CLOCK.monotonic() + 60, no_sooner))
    assert modes_of(events) == [0, 1, *[0, 1] * ENOUGH_ROUNDS, 2, *[1, 2] * ROUNDS]


def test_nothing_is_begun_that_takes_more_than_the_share_of_what_the_run_really_takes() -> None:
    steps, seen = Steps(first_step=0.02, pause=0.02), []

    def until_for(seconds_per_step: float) -> float:
        seen.append(seconds_per_step)
        return CLOCK.monotonic()

    events = list(run([FLOAT32, BFLOAT16, COMPILED], steps.start, CLOCK.monotonic() + 60, until_for))
    assert modes_of(events) == [0, 1, *[0, 1] * ROUNDS, 2]
    assert str(events[-1]["reason"]).endswith("0 s are left for measuring")
    assert seen == [pytest.approx(0.02)]


@pytest.fixture
def keras_settings() -> Iterator[None]:
    before = tf_keras.mixed_precision.global_policy()
    yield
    tf_keras.mixed_precision.set_global_policy(before)


@pytest.mark.slow
@pytest.mark.usefixtures("keras_settings")
def test_every_mode_starts_from_the_same_weights_and_seeds_and_sees_the_same_batches(trial: Trial) -> None:
    losses = []
    for mode in (FLOAT32, FLOAT32, BFLOAT16):
        step = start_training(mode, trial.hyperparameters, trial.pretrained, trial.channel, trial.steps)
        losses.append([step() for _ in range(3)])
    assert losses[0] == losses[1]
    assert losses[2] == pytest.approx(losses[0], rel=0.01)


def python_that(does: str, folder: Path) -> str:
    """Return an interpreter that does this instead."""
    script = folder / "python"
    script.write_text(f"#!/bin/sh\n{does}\n")
    script.chmod(0o755)
    return str(script)


@pytest.mark.parametrize(
    ("does", "reason"),
    [
        ("kill -ILL $$", "the trial was ended by SIGILL"),
        ("kill -KILL $$", "the trial was ended by SIGKILL"),
        ("kill -ALRM $$", "not finished within the 9 s that a trial may take here"),
        ("echo 'MemoryError: of some kind' >&2; exit 1", "MemoryError: of some kind"),
    ],
)
def test_a_child_that_ends_badly_leaves_the_modes_that_it_did_not_finish_unmeasured(
    trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str, reason: str
) -> None:
    step = '{"mode": 0, "seconds": 1.5, "loss": 1.6}'
    monkeypatch.setattr(sys, "executable", python_that(f"echo '{step}'; echo '{step}'; {does}", tmp_path))
    finished, cut_off = trial.measure([FLOAT32, BFLOAT16], seconds=9, share=1.0)
    assert (finished.seconds_per_step, finished.reason) == (1.5, None)
    assert (cut_off.seconds_per_step, cut_off.reason) == (None, reason)


def test_a_child_that_cannot_be_started_is_no_reason_to_fail(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    (line,) = trial.measure([FLOAT32], seconds=9, share=1.0)
    assert line.reason is not None
    assert line.reason.startswith("the trial failed: ")


@pytest.mark.slow
@pytest.mark.parametrize("other", [BFLOAT16, COMPILED])
def test_a_trial_measures_real_steps_with_and_without_xla(trial: Trial, other: Mode) -> None:
    # Not all three at once: by chance a small step takes twice as long, and XLA is not tried for a dtype that lost.
    measured = trial.measure([FLOAT32, other], seconds=120, share=1e9)
    assert [line.mode for line in measured] == [FLOAT32, other]
    for line in measured:
        assert line.reason is None
        assert line.seconds_per_step is not None
        assert line.first_step_seconds is not None
        assert line.first_step_seconds > line.seconds_per_step > 0
        assert line.agrees


@pytest.mark.slow
def test_a_trial_ends_when_its_time_is_over(trial: Trial) -> None:
    started = time.monotonic()
    measured = trial.measure([FLOAT32, BFLOAT16], seconds=1, share=1e9)
    assert time.monotonic() - started < 300, "most of it is the import of TensorFlow"
    assert {line.reason for line in measured} == {"not finished within the 1 s that a trial may take here"}
