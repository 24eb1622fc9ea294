"""Between two batches: the watchdog hears that training goes on, and a stop that was asked for is carried out.

Beside these it holds the run's profiler, whose callbacks stand around all others.

supervision = Supervision(stop, watchdog, profile)
model.fit(..., callbacks=[*others, supervision])
for batch in supervision.watched(batches, "evaluation"):
    ...
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import tf_keras

from observability.profiler.profiler import NullProfiler, Profiler
from star_rating.interruption import StopRequest
from star_rating.training.watchdog import Watchdog

Batch = TypeVar("Batch")


class Supervision(tf_keras.callbacks.Callback):
    """Raises Stopped out of Keras's loop; stands last among the callbacks, so that they have all seen the batch."""

    def __init__(self, stop: StopRequest, watchdog: Watchdog, profile: Profiler | NullProfiler) -> None:
        super().__init__()
        self.stop = stop
        self.watchdog = watchdog
        self.profile = profile

    def between_batches(self, doing: str) -> None:
        """Note progress; raise Stopped if a signal has asked for it."""
        self.watchdog.beat(doing)
        self.stop.raise_if_requested()

    def watched(self, batches: Iterable[Batch], doing: str) -> Iterator[Batch]:
        """Yield batches; raise Stopped before one if a signal has asked for it."""
        for batch in batches:
            self.between_batches(doing)
            yield batch

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Stop before an epoch."""
        del epoch, logs
        self.stop.raise_if_requested()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Stop after a step; from the first one on there is something to save."""
        del batch, logs
        self.stop.listen()
        self.between_batches("training")

    def on_test_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Stop within validation."""
        del batch, logs
        self.between_batches("validation")
