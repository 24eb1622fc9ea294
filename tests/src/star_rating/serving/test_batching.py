"""Which reviews go into which batch, in which order, and what becomes of those that cannot."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, Future
from itertools import pairwise

import numpy as np
import pytest

from star_rating.serving.batching import Batcher, Probabilities, QueueFullError, Rows, length_class

LONGEST_WAIT = 60.0


class Gate:
    """A model that says of each review how long it is and which it is, and works on a batch when it is let."""

    def __init__(self) -> None:
        self.batches: list[list[list[int]]] = []
        self.begun = threading.Event()
        self.open = threading.Event()

    def __call__(self, rows: Rows) -> Probabilities:
        self.begun.set()
        assert self.open.wait(LONGEST_WAIT)
        self.batches.append([list(row) for row in rows])
        if rows[0][0] < 0:
            raise ValueError("a defect")
        return np.array([[len(row), row[0]] for row in rows], np.float32)


def review(number: int, tokens: int = 8) -> list[int]:
    return [number] * tokens


def answered(future: Future[Probabilities]) -> list[list[float]]:
    rows: list[list[float]] = future.result(LONGEST_WAIT).tolist()
    return rows


def held(batcher: Batcher, gate: Gate) -> Future[Probabilities]:
    """Occupy the model, so that what is submitted next waits."""
    first = batcher.submit([review(99)])
    assert gate.begun.wait(LONGEST_WAIT)
    return first


def test_what_arrives_while_the_model_works_is_the_next_batch() -> None:
    gate = Gate()
    with Batcher(gate, max_batch=8) as batcher:
        held(batcher, gate)
        futures = [batcher.submit([review(number)]) for number in range(5)]
        assert batcher.waiting == 5
        gate.open.set()
        assert [answered(future) for future in futures] == [[[8, number]] for number in range(5)]
    assert [len(batch) for batch in gate.batches] == [1, 5]


def test_a_batch_is_never_larger_than_allowed_and_answers_keep_the_order() -> None:
    gate = Gate()
    gate.open.set()
    with Batcher(gate, max_batch=4) as batcher:
        rows = [review(number, 3 + 29 * (number % 3)) for number in range(30)]
        assert answered(batcher.submit(rows)) == [[len(row), row[0]] for row in rows]
    assert max(len(batch) for batch in gate.batches) == 4


def test_a_batch_holds_one_length_class() -> None:
    gate = Gate()
    with Batcher(gate, max_batch=32) as batcher:
        held(batcher, gate)
        futures = [batcher.submit([review(number, 4 if number % 2 else 300)]) for number in range(10)]
        gate.open.set()
        for future in futures:
            answered(future)
    assert [{length_class(len(row)) for row in batch} for batch in gate.batches[1:]] == [{512}, {32}]


@pytest.mark.parametrize(("tokens", "bound"), [(2, 32), (32, 32), (33, 64), (64, 64), (65, 128), (512, 512)])
def test_a_length_class_is_a_power_of_two(tokens: int, bound: int) -> None:
    assert length_class(tokens) == bound


def test_a_request_of_many_reviews_does_not_hold_up_one_of_a_single_review() -> None:
    gate = Gate()
    with Batcher(gate, max_batch=4) as batcher:
        held(batcher, gate)
        large = batcher.submit([review(1) for _ in range(40)])
        small = batcher.submit([review(2)])
        gate.open.set()
        answered(large)
        answered(small)
    numbers = [{row[0] for row in batch} for batch in gate.batches]
    assert numbers.index({1, 2}) <= 2
    assert len(numbers) == 12


def test_requests_of_many_reviews_take_turns() -> None:
    gate = Gate()
    with Batcher(gate, max_batch=4) as batcher:
        held(batcher, gate)
        futures = [batcher.submit([review(number) for _ in range(12)]) for number in (1, 2)]
        gate.open.set()
        for future in futures:
            answered(future)
    owners = [batch[0][0] for batch in gate.batches[1:]]
    assert all(one != other for one, other in pairwise(owners))


def test_a_request_that_finds_no_room_is_refused_whole() -> None:
    gate = Gate()
    with Batcher(gate, max_batch=4, max_queue=6) as batcher:
        held(batcher, gate)
        kept = batcher.submit([review(number) for number in range(5)])
        with pytest.raises(QueueFullError):
            batcher.submit([review(7), review(8)])
        assert batcher.waiting == 5
        batcher.submit([review(9)])
        gate.open.set()
        assert len(answered(kept)) == 5


def test_a_cancelled_request_costs_no_work() -> None:
    gate = Gate()
    with Batcher(gate, max_batch=4) as batcher:
        held(batcher, gate)
        gone = batcher.submit([review(1) for _ in range(8)])
        stays = batcher.submit([review(2)])
        assert gone.cancel()
        gate.open.set()
        answered(stays)
    assert [row[0] for batch in gate.batches for row in batch] == [99, 2]


def test_a_batch_that_fails_fails_its_requests_alone() -> None:
    gate = Gate()
    gate.open.set()
    with Batcher(gate, max_batch=1) as batcher:
        with pytest.raises(ValueError, match="a defect"):
            answered(batcher.submit([review(-1), review(3)]))
        assert answered(batcher.submit([review(4)])) == [[8, 4]]


def test_the_end_cancels_what_waits_and_answers_what_runs() -> None:
    gate = Gate()
    with Batcher(gate, max_batch=1) as batcher:
        running = held(batcher, gate)
        waiting = batcher.submit([review(1)])
        batcher.cancel_waiting()
        with pytest.raises(QueueFullError):
            batcher.submit([review(2)])
        gate.open.set()
    assert answered(running) == [[8, 99]]
    with pytest.raises(CancelledError):
        answered(waiting)


def test_concurrent_batches_share_a_request() -> None:
    both = threading.Barrier(2)

    def work(rows: Rows) -> Probabilities:
        both.wait(LONGEST_WAIT)  # no batch ends before another one has begun
        return np.array([[len(row), row[0]] for row in rows], np.float32)

    with Batcher(work, max_batch=4, concurrent_batches=2) as batcher:
        rows = [review(number) for number in range(32)]
        assert answered(batcher.submit(rows)) == [[8, number] for number in range(32)]
