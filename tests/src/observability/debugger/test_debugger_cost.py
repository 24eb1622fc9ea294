"""What the debugger costs is measured, and what costs much is done less often."""

from __future__ import annotations

from observability.debugger.cost import AdaptiveInterval, Cost


class Clock:
    """Stands still but where a test lets it go on."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_stretch_within_a_stretch_counts_once() -> None:
    clock = Clock()
    cost = Cost(clock)
    with cost.measured():
        clock.now += 1
        with cost.measured():
            clock.now += 2
    clock.now += 10
    with cost.measured():
        clock.now += 1
    assert (cost.seconds, cost.most_seconds) == (4, 3)


def test_a_stretch_that_fails_counts_too() -> None:
    clock = Clock()
    cost = Cost(clock)
    try:
        with cost.measured():
            clock.now += 1
            raise OSError
    except OSError:
        pass
    with cost.measured():
        clock.now += 1
    assert cost.seconds == 2


def test_saving_stays_within_its_share_of_the_time() -> None:
    clock = Clock()
    cost = Cost(clock)
    pace = AdaptiveInterval(cost, share=0.02)
    saved = []
    for step in range(0, 10_000, 10):
        if pace.allows(step):
            saved.append(step)
            with cost.measured():
                clock.now += 3
        assert pace.allows(step) == (step in saved), "one decision a step"
        clock.now += 10
    assert saved[0] == 0
    assert cost.seconds <= 0.02 * clock.now
    assert 50 <= len(saved) <= 70  # 10,000 s, of which 200 may go to stretches of 3 s


def test_what_costs_little_is_always_saved() -> None:
    clock = Clock()
    cost = Cost(clock)
    pace = AdaptiveInterval(cost, share=0.02)
    for step in range(100):
        with cost.measured():
            clock.now += 0.001
        assert pace.allows(step)
        clock.now += 1
