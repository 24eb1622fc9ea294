"""Keras's fit over the epochs of a run, from any step on.

    Loop(model, batches, validation, progress, callbacks).run()

A run that was interrupted within an epoch first finishes that epoch, in a fit of its own; one that was interrupted in
validation first validates. What follows is one fit over whole epochs, as in a run that was never interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import tensorflow as tf
import tf_keras

from star_rating.training.progress import ProgressLog


@dataclass(frozen=True)
class Stretch:
    """What one call of fit does."""

    first_epoch: int
    last_epoch: int
    """Not included."""
    steps: int
    """Of each epoch."""


def stretches(step: int, steps_per_epoch: int, epochs: int) -> Iterator[Stretch]:
    """Yield what is left after `step` steps of a run."""
    epoch, done = divmod(step, steps_per_epoch)
    if done:
        yield Stretch(epoch, epoch + 1, steps_per_epoch - done)
        epoch += 1
    if epoch < epochs:
        yield Stretch(epoch, epochs, steps_per_epoch)


@dataclass(frozen=True)
class Loop:
    """A model, its data and its callbacks."""

    model: tf_keras.Model
    batches: Callable[[int], tf.data.Dataset]
    """From the number of steps done to the endless batches after them."""
    validation: tf.data.Dataset | None
    progress: ProgressLog
    callbacks: Sequence[tf_keras.callbacks.Callback]

    def run(self) -> None:
        """Train to the last epoch; raises what the callbacks raise, Stopped among it."""
        progress = self.progress
        callbacks = tf_keras.callbacks.CallbackList(
            list(self.callbacks), model=self.model, epochs=progress.epochs, verbose=0
        )
        if progress.validation_is_due:
            self._end_epoch(callbacks)
        for stretch in stretches(progress.step, progress.steps_per_epoch, progress.epochs):
            self.model.fit(
                self.batches(progress.step),
                initial_epoch=stretch.first_epoch,
                epochs=stretch.last_epoch,
                steps_per_epoch=stretch.steps,
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
