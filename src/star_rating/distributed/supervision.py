"""Between two batches on several hosts: a stop is carried out where all hosts know of it, after the same step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from star_rating.training.supervision import Batch, Supervision


class SharedSupervision(Supervision):
    """Raises Stopped where the step's logs say that a host has been asked to stop (classifier.py)."""

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Leave it to the next step, which all hosts take together."""
        del epoch, logs

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Stop after a step that told all hosts to."""
        del batch
        self.stop.listen()
        self.watchdog.beat("training")
        if float((logs or {})["stops"]):
            self.stop.heed_another_host()

    def on_test_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Note progress; the hosts agree on a stop after validation."""
        del batch, logs
        self.watchdog.beat("validation")

    def watched(self, batches: Iterable[Batch], doing: str) -> Iterator[Batch]:
        """Yield batches until a signal has asked this host to stop; the hosts agree on it afterwards."""
        for batch in batches:
            self.watchdog.beat(doing)
            if self.stop.signal is not None:
                return
            yield batch
