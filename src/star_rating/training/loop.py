"""Keras's fit over the epochs of a run, from any step on; and what happens between two batches.

    lifecycle = LifecycleCallback(stop, watchdog, strategy)
    FitLoop(model, batches, validation, progress, [*callbacks, lifecycle]).run()
    for batch in lifecycle.guarded(batches, "evaluation"): ...

A run that was interrupted within an epoch first finishes that epoch, in a fit of its own; one that was interrupted in
validation first validates. What follows is one fit over whole epochs, as in a run that was never interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import tensorflow as tf
import tf_keras

from star_rating.distributed.strategy import Strategy
from star_rating.interruption import StopRequest
from star_rating.training.progress import ProgressLogger
from star_rating.training.watchdog import Watchdog

Batch = TypeVar("Batch")


@dataclass(frozen=True)
class FitSegment:
    """What one call of fit does."""

    first_epoch: int
    last_epoch: int
    """Not included."""
    steps: int
    """Of each epoch."""


def fit_segments(step: int, steps_per_epoch: int, epochs: int) -> Iterator[FitSegment]:
    """Yield what is left after `step` steps of a run."""
    epoch, done = divmod(step, steps_per_epoch)
    if done:
        yield FitSegment(epoch, epoch + 1, steps_per_epoch - done)
        epoch += 1
    if epoch < epochs:
        yield FitSegment(epoch, epochs, steps_per_epoch)


@dataclass(frozen=True)
class FitLoop:
    """A model, its data and its callbacks."""

    model: tf_keras.Model
    batches: Callable[[int], tf.data.Dataset]
    """From the number of steps done to the endless batches after them."""
    validation: tf.data.Dataset | None
    progress: ProgressLogger
    callbacks: Sequence[tf_keras.callbacks.Callback]

    def run(self) -> None:
        """Train to the last epoch, or until a callback sets stop_training; raises what the callbacks raise."""
        progress = self.progress
        callbacks = tf_keras.callbacks.CallbackList(
            list(self.callbacks), model=self.model, epochs=progress.epochs, verbose=0
        )
        if progress.validation_is_due:
            self._end_epoch(callbacks)
        for segment in fit_segments(progress.step, progress.steps_per_epoch, progress.epochs):
            if self.model.stop_training:
                break
            self.model.fit(
                self.batches(progress.step),
                initial_epoch=segment.first_epoch,
                epochs=segment.last_epoch,
                steps_per_epoch=segment.steps,
                validation_data=self.validation,
                callbacks=callbacks,
                verbose=0,  # a progress bar turns a log into thousands of lines
            )

    def _end_epoch(self, callbacks: tf_keras.callbacks.CallbackList) -> None:
        """Do what fit does after an epoch's last step."""
        logs = dict(self.progress.last)
        if self.validation is not None:
            values = self.model.evaluate(self.validation, callbacks=callbacks, return_dict=True, verbose=0)
            logs |= {f"val_{name}": value for name, value in values.items()}
        callbacks.on_epoch_end(self.progress.epochs_ended, logs)


class LifecycleCallback(tf_keras.callbacks.Callback):
    """Tells the watchdog that training goes on, and carries out a stop that was asked for by raising Stopped.

    Stands last among the callbacks, so that they have all seen the batch. One host stops between any two batches;
    several stop after the same step, of which the logs say that a host was asked to ("stops").
    """

    def __init__(self, stop: StopRequest, watchdog: Watchdog, strategy: Strategy) -> None:
        super().__init__()
        self.stop = stop
        self.watchdog = watchdog
        self.strategy = strategy

    def guarded(self, batches: Iterable[Batch], activity: str) -> Iterator[Batch]:
        """Yield batches; one host raises Stopped before one, several end early and agree on it afterwards."""
        for batch in batches:
            self.between_batches(activity)
            if self.stop.signal is not None:
                return
            yield batch

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Stop before an epoch."""
        del epoch, logs
        self._stop_single_host()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Stop after a step; from the first one on there is something to save."""
        del batch
        self.stop.enable_graceful_stop()
        self.between_batches("training")
        if float((logs or {}).get("stops", 0.0)):
            self.stop.raise_stopped_by_peer()

    def on_test_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Stop within validation; several hosts after it."""
        del batch, logs
        self.between_batches("validation")

    def between_batches(self, activity: str) -> None:
        """Note progress; one host raises Stopped here if it was asked to stop."""
        self.watchdog.heartbeat(activity)
        self._stop_single_host()

    def _stop_single_host(self) -> None:
        if not self.strategy.is_distributed:
            self.stop.raise_if_requested()
