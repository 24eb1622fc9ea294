"""When checkpoints are due: never so often that writing takes more than its share of the time."""

from __future__ import annotations

import pytest

from star_rating.checkpointing.policy import SHARE, Schedule


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def written_in(minutes: float, cost: float, *, every_minutes: float, epoch_seconds: float = 1e9) -> tuple[int, float]:
    """Run steps of a second and return the number of checkpoints and their share of the time."""
    clock = Clock()
    schedule = Schedule(0, every_minutes * 60, cost_seconds=cost, clock=clock)
    written, epoch_end = 0, clock.now + epoch_seconds
    start = clock.now
    step = 0
    while clock.now < start + minutes * 60:
        clock.now += 1
        step += 1
        at_epoch_end = clock.now >= epoch_end
        if at_epoch_end:
            epoch_end += epoch_seconds
        if schedule.is_due_at_epoch_end() if at_epoch_end else schedule.is_due(step):
            clock.now += cost
            schedule.written(cost)
            written += 1
    return written, written * cost / (clock.now - start)


@pytest.mark.parametrize("cost", [0.1, 1.0, 3.0, 20.0])
@pytest.mark.parametrize("epoch_seconds", [10, 100, 1e9])
def test_ten_minutes_at_default_settings_cost_less_than_3_percent(cost: float, epoch_seconds: float) -> None:
    _, share = written_in(10, cost, every_minutes=5, epoch_seconds=epoch_seconds)
    assert share <= SHARE
    assert share + cost / 600 < 0.03 or cost > 5, "the one at the end of training included"


def test_cheap_checkpoints_come_every_few_minutes() -> None:
    assert written_in(60, 0.5, every_minutes=5)[0] == 11


def test_expensive_ones_come_as_often_as_the_share_allows() -> None:
    assert written_in(60, 12, every_minutes=5)[0] == pytest.approx(60 * 60 / (12 / SHARE), abs=1)


def test_an_epochs_end_is_taken_before_the_minutes_are_over() -> None:
    assert written_in(4, 1.0, every_minutes=5, epoch_seconds=100)[0] == 2


def test_zero_minutes_leave_the_epochs_ends() -> None:
    assert written_in(60, 0.5, every_minutes=0)[0] == 0
    assert written_in(60, 0.5, every_minutes=0, epoch_seconds=600)[0] == 6


def test_steps_are_kept_to_whatever_writing_takes() -> None:
    schedule = Schedule(3, 300, cost_seconds=1e6, clock=Clock())
    assert [step for step in range(1, 10) if schedule.is_due(step)] == [3, 6, 9]
    assert schedule.is_due_at_epoch_end()
