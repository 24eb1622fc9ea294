"""What follows from a trial's numbers."""

from __future__ import annotations

import math
from typing import Any

import pytest

from star_rating.autotune.benchmark import Measurement, Mode, fastest, slower_setting, summarize, table

FLOAT32, BFLOAT16 = Mode(xla=False, compute_dtype="float32"), Mode(xla=False, compute_dtype="bfloat16")
COMPILED = Mode(xla=True, compute_dtype="float32")


def steps(mode: int, seconds: list[float], losses: list[float]) -> list[dict[str, Any]]:
    return [{"mode": mode, "seconds": a, "loss": b} for a, b in zip(seconds, losses, strict=True)]


def line(mode: Mode, seconds: float, first_step: float = 10.0, *, agrees: bool = True) -> Measurement:
    return Measurement(mode.xla, mode.compute_dtype, seconds, first_step, loss=1.6, agrees=agrees)


def test_a_mode_is_measured_by_the_median_of_its_steps_after_the_first() -> None:
    events = steps(0, [9.0, 2.0, 7.0, 3.0], [1.6, 1.5, 1.5, 1.4]) + steps(
        1, [8.0, 1.0, 1.0, 4.0], [1.6, 1.5, 1.5, 1.41]
    )
    first, second = summarize([FLOAT32, BFLOAT16], events, "ended")
    assert first == Measurement(False, "float32", 3.0, 9.0, loss=1.4, agrees=True)  # noqa: FBT003 - as a table's line
    assert (second.seconds_per_step, second.first_step_seconds, second.agrees) == (1.0, 8.0, True)


@pytest.mark.parametrize(
    ("loss", "agrees"), [(1.63, True), (1.65, False), (1.57, True), (1.55, False), (math.nan, False)]
)
def test_a_loss_agrees_within_two_per_cent(loss: float, agrees: bool) -> None:  # noqa: FBT001
    events = steps(0, [1, 1], [1.6, 1.6]) + steps(1, [1, 1], [1.6, loss])
    assert [found.agrees for found in summarize([FLOAT32, BFLOAT16], events, "ended")] == [True, agrees]


def test_losses_are_compared_after_as_many_steps_as_all_have_taken() -> None:
    events = steps(0, [1, 1, 1], [1.6, 1.5, 0.9]) + steps(1, [1, 1], [1.6, 1.5])
    assert [found.loss for found in summarize([FLOAT32, BFLOAT16], events, "ended")] == [1.5, 1.5]


def test_a_mode_that_was_left_out_or_cut_off_says_why() -> None:
    events = [*steps(0, [1, 1], [1.6, 1.5]), {"mode": 1, "reason": "no time"}, *steps(2, [9], [1.6])]
    measured = summarize([FLOAT32, BFLOAT16, COMPILED], events, "the trial was ended by SIGALRM")
    assert [found.reason for found in measured] == [None, "no time", "the trial was ended by SIGALRM"]
    assert [found.seconds_per_step for found in measured] == [1, None, None]


@pytest.mark.parametrize(
    ("measured", "chosen", "why"),
    [
        ([line(FLOAT32, 2.3), line(BFLOAT16, 1.7)], BFLOAT16, "1.7 s a step, float32 without XLA 2.3 s"),
        ([line(FLOAT32, 2.3), line(BFLOAT16, 2.2)], FLOAT32, "2.3 s a step, and nothing else clearly faster"),
        (
            [line(FLOAT32, 2.3), line(BFLOAT16, 1.7, agrees=False)],
            FLOAT32,
            "2.3 s a step, and nothing else clearly faster",
        ),
        (
            [line(FLOAT32, 2.3), line(BFLOAT16, 1.7), line(COMPILED, 1.4)],
            COMPILED,
            "1.4 s a step, float32 without XLA 2.3 s",
        ),
        (
            [line(FLOAT32, 2.3), line(BFLOAT16, 1.7), line(COMPILED, 1.4, first_step=100)],
            BFLOAT16,
            "1.7 s a step, float32 without XLA 2.3 s",
        ),
        ([line(BFLOAT16, 1.7)], FLOAT32, "float32 without XLA could not be measured"),
    ],
    ids=["clearly faster", "within the noise", "other losses", "with XLA", "compiling never pays", "no reference"],
)
def test_the_fastest_for_the_run_is_taken_if_it_wins_clearly(
    measured: list[Measurement], chosen: Mode, why: str
) -> None:
    assert fastest([FLOAT32, BFLOAT16, COMPILED], measured, steps=1000) == (chosen, why)


def test_a_mode_that_a_switch_rules_out_is_not_taken() -> None:
    assert fastest([FLOAT32, COMPILED], [line(FLOAT32, 2.3), line(BFLOAT16, 0.1)], steps=1000)[0] == FLOAT32


def test_the_warning_names_the_setting_its_opposite_and_both_times() -> None:
    assert (
        slower_setting("use_xla", 3.94, 2.3, value=True)
        == "use_xla=True makes this run slower: 3.94 s a step, 2.3 s with use_xla=False"
    )
    assert (
        slower_setting("use_amp", 2.3, 1.7, value=False)
        == "use_amp=False makes this run slower: 2.3 s a step, 1.7 s with use_amp=True"
    )


@pytest.mark.parametrize(("chosen", "opposite"), [(2.0, 2.3), (2.3, 2.2), (None, 1.0), (1.0, None)])
def test_no_warning_without_a_clear_difference(chosen: float | None, opposite: float | None) -> None:
    assert slower_setting("use_amp", chosen, opposite, value=True) is None


def test_the_table_has_a_line_a_mode() -> None:
    left_out = Measurement(xla=True, compute_dtype="float32", reason="no time")
    assert table([line(FLOAT32, 2.345), line(BFLOAT16, 1.2, agrees=False), left_out]).splitlines() == [
        "                      s a step  first step    loss",
        "float32 without XLA      2.345        10.0  1.6000",
        "bfloat16 without XLA     1.200        10.0  1.6000  differs too much",
        "float32 with XLA      not measured: no time",
    ]
