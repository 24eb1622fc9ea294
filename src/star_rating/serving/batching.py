"""Batches that form by themselves: what arrives while the model works goes into the next batch.

    with Batcher(engine.probabilities, max_batch=32, max_delay=0.005, on_batch=print) as batcher:
        future = batcher.submit([[101, 2307, 102], [101, 2919, 102]])       # token ids, not padded
        rows = future.result()                                              # probabilities, in the same order

A batch holds reviews of one length class alone: a review never waits for a batch that is long because of a stranger's
review. Which class is next, and who of it, is fair queueing: a request's first `max_batch` reviews stand in the first
round after its arrival, its next ones in the round after that, so that a request of thousands does not hold up one of
a single review.

Several batches may run at a time (`concurrent_batches`): one's sequential parts, such as Python's, leave the cores to
the other's products.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

Rows = Sequence[Sequence[int]]
Probabilities = npt.NDArray[np.float32]
Predict = Callable[[Rows], Probabilities]
"""Token ids of reviews, not padded -> float32[reviews, classes]."""

CONCURRENT_BATCHES = 2
"""What keeps the cores at work; more only makes the batches smaller."""
SHORTEST_CLASS = 32
"""Tokens: below that, a review's own work is no more than what a batch costs anyway."""


class QueueFullError(Exception):
    """There is no room for these reviews now."""


@dataclass
class _Request:
    rows: Rows
    round: int
    """In which its first reviews stand."""
    future: Future[Probabilities] = field(default_factory=Future)
    left: int = 0
    results: list[npt.NDArray[np.float32] | None] = field(default_factory=list)


_Entry = tuple[int, int, int, _Request]
"""Round, number of arrival, position in its request, request."""


def length_class(tokens: int) -> int:
    """Return the power of two that bounds the lengths of a review's class."""
    return max(SHORTEST_CLASS, 1 << (tokens - 1).bit_length())


class Batcher:
    """Threads that run the model over whatever waits."""

    def __init__(
        self,
        predict: Predict,
        *,
        max_batch: int,
        max_delay: float = 0.0,
        max_queue: int | None = None,
        concurrent_batches: int = 1,
        on_batch: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._predict = predict
        self.max_batch = max_batch
        self.max_delay = max_delay
        self.max_queue = max_queue
        self._on_batch = on_batch
        self._changed = threading.Condition()
        self._waiting: dict[int, list[_Entry]] = {}
        """Length class -> heap."""
        self.waiting = 0
        """Reviews in the queue."""
        self._arrivals = 0
        self._round = 0
        """Of the batch that was formed last."""
        self._expected = 1
        """Requests that the last batch answered: where it was more than one, several clients ask at once."""
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"model-{number}", daemon=True)
            for number in range(concurrent_batches)
        ]

    def __enter__(self) -> Self:
        """Start the threads."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Answer nothing more: what still waits is cancelled."""
        self.cancel_waiting()
        for thread in self._threads:
            thread.join()

    def cancel_waiting(self) -> None:
        """Cancel what waits, and take nothing more."""
        with self._changed:
            self._closed = True
            for heap in self._waiting.values():
                for *_, request in heap:
                    request.future.cancel()
            self._changed.notify_all()

    def submit(self, rows: Rows) -> Future[Probabilities]:
        """Queue the reviews of a request; QueueFullError where `max_queue` has no room for all of them.

        Cancelling the future takes those that still wait out of the queue.
        """
        with self._changed:
            if self._closed or (self.max_queue is not None and self.waiting + len(rows) > self.max_queue):
                raise QueueFullError
            request = _Request(rows, self._round + 1, left=len(rows), results=[None] * len(rows))
            self._arrivals += 1
            for position, row in enumerate(rows):
                entry = (request.round + position // self.max_batch, self._arrivals, position, request)
                heapq.heappush(self._waiting.setdefault(length_class(len(row)), []), entry)
            self.waiting += len(rows)
            self._changed.notify_all()
        return request.future

    def _work(self) -> None:
        while batch := self._next_batch():
            try:
                probabilities = self._predict([request.rows[position] for _, _, position, request in batch])
            except BaseException as error:  # noqa: BLE001 - the clients are told, and the thread goes on
                for *_, request in batch:
                    _finish(request, error)
                continue
            for request in self._answered(batch, probabilities):
                _finish(request)

    def _answered(self, batch: list[_Entry], probabilities: Probabilities) -> list[_Request]:
        """Note a batch's results; return the requests that have all of theirs."""
        with self._changed:  # another thread may have reviews of the same request
            for (_, _, position, request), row in zip(batch, probabilities, strict=True):
                request.results[position] = row
                request.left -= 1
            answered = {id(request): request for *_, request in batch if not request.left}
            self._expected = len(answered)
            return list(answered.values())

    def _next_batch(self) -> list[_Entry]:
        """Wait for work; return the reviews of the next batch, none where the batcher is closed."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self.waiting or self._closed)
                if self._expected > 1 and self.max_delay:
                    self._wait_for_others()
                if self._closed:
                    return []
                if self.waiting and (batch := self._take()):  # another thread may have taken all
                    self._on_batch(len(batch))
                    return batch

    def _wait_for_others(self) -> None:
        """Let the clients that have just been answered ask again, if they do so soon."""
        deadline = time.monotonic() + self.max_delay
        enough = min(self._expected, self.max_batch)
        while self.waiting < enough and not self._closed:
            left = deadline - time.monotonic()
            if left <= 0 or not self._changed.wait(left):
                break

    def _take(self) -> list[_Entry]:
        """Take up to `max_batch` reviews of the class whose first one stands first."""
        heap = min(self._waiting.values(), key=lambda heap: heap[0][:3])
        batch: list[_Entry] = []
        while heap and len(batch) < self.max_batch:
            entry = heapq.heappop(heap)
            self.waiting -= 1
            if not entry[-1].future.done():
                batch.append(entry)
                self._round = max(self._round, entry[0])
        self._waiting = {length: heap for length, heap in self._waiting.items() if heap}
        return batch


def _finish(request: _Request, error: BaseException | None = None) -> None:
    try:
        if error is not None:
            request.future.set_exception(error)
        else:
            request.future.set_result(np.stack([row for row in request.results if row is not None]))
    except InvalidStateError:
        return  # the client has gone meanwhile, or another batch of the request has failed already
