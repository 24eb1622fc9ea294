"""A run's checkpoints: where it resumes from, and what it writes to resume from.

    checkpointing = load_latest(hyperparameters, contract, fingerprint)
    checkpointing.state                                     # the RunState to resume from, or None
    checkpoints = CheckpointCallback(checkpointing, ...)
    checkpoints.resume(model)
    model.fit(..., callbacks=[..., checkpoints])

The parts: policy (where and when), store (files), run_state (JSON, and what may differ), model_state (tensors).
A checkpoint is taken between two batches, where all of these fit together.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import tensorflow as tf
import tf_keras

from star_rating.checkpointing import model_state
from star_rating.checkpointing.policy import Schedule, checkpoint_path
from star_rating.checkpointing.run_state import Fingerprint, RunState
from star_rating.checkpointing.store import CheckpointStore, LoadedCheckpoint, saved_threads
from star_rating.contract import Contract
from star_rating.failures import ConfigurationError, DiskFullError
from star_rating.hyperparameters import Hyperparameters, Switch
from star_rating.logs import History

log = logging.getLogger(__name__)

ASSUMED_BYTES_A_SECOND = 200e6
"""Until the first checkpoint has been timed."""


class Progress(Protocol):
    """What a checkpoint has to know of the loop (training/progress.py)."""

    history: History
    step: int
    epochs: int

    @property
    def epochs_ended(self) -> int:
        """Epochs whose validation is done too."""

    @property
    def within_epoch(self) -> bool:
        """Whether the last step was neither the last nor none of its epoch."""

    def as_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of the log line to come."""

    def resume_from(self, step: int, history: Mapping[str, Any], progress: Mapping[str, Any]) -> None:
        """Continue after `step` steps."""


class Guard(Protocol):
    """What keeps weights that are not finite out of checkpoints (training/nonfinite.py)."""

    skipped: list[int]

    def require_finite_weights(self, step: int) -> None:
        """Raise LossNotFiniteError if a weight is NaN or infinite after this step."""


class BestWeights(Protocol):
    """What a checkpoint keeps of an epoch before (training/best_epoch.py)."""

    @property
    def tensors(self) -> model_state.Tensors:
        """The best epoch's weights; empty if there are none."""

    def size(self, model: tf_keras.Model) -> int:
        """Return the bytes that `tensors` may have."""

    def resume_from(self, model: tf_keras.Model, tensors: model_state.Tensors) -> None:
        """Take what `tensors` was; the history of the run is there already."""


BEST = "best/"
"""What the names of the best epoch's weights begin with."""


@dataclass(frozen=True)
class CheckpointManager:
    """A job's checkpoint folder, and the run that it goes on with; None where there is none."""

    fingerprint: Fingerprint
    store: CheckpointStore | None
    saved: LoadedCheckpoint | None = None
    state: RunState | None = None
    shards: Sequence[int] | None = None
    """As in RunState, of this job."""

    def last(self) -> Path | None:
        """Return the newest checkpoint."""
        return self.store.last() if self.store else None


def load_latest(hyperparameters: Hyperparameters, contract: Contract, fingerprint: Fingerprint) -> CheckpointManager:
    """Find the newest intact checkpoint; raise ConfigurationError if it is of another run, or if all are damaged."""
    folder = checkpoint_path(contract, hyperparameters.enable_checkpointing)
    if folder is None:
        return CheckpointManager(fingerprint, None)
    store = CheckpointStore(folder, hyperparameters.checkpoints_kept)
    saved = store.newest()
    if saved is None:
        log.info("checkpoints: none in %s yet, training starts from the pretrained weights", folder)
        return CheckpointManager(fingerprint, store)
    state = RunState.read(saved.state, saved.folder)
    state.refuse_another_run(fingerprint, hyperparameters, saved.folder)
    log.info("resumed from %s: step %d, %d epoch(s) ended", saved.folder, state.step, state.epochs_ended)
    state.log_changes(hyperparameters)
    return CheckpointManager(fingerprint, store, saved, state)


def threads_of_last_checkpoint(contract: Contract, enabled: Switch) -> Mapping[str, Any] | None:
    """Return the threads that the run computed in which this one may go on with; None where nothing says so.

    Read before all else, as TensorFlow's threads are: whether the checkpoint is intact, `load_latest` finds out.
    """
    folder = checkpoint_path(contract, enabled)
    return saved_threads(folder) if folder else None


class CheckpointCallback(tf_keras.callbacks.Callback):
    """Goes on from a checkpoint and writes others during fit; without a store it does neither."""

    def __init__(
        self,
        checkpointing: CheckpointManager,
        hyperparameters: Hyperparameters,
        acceleration: Mapping[str, Any],
        progress: Progress,
        guard: Guard,
        best: BestWeights,
        *,
        critical_section: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        super().__init__()
        self.checkpointing = checkpointing
        self.hyperparameters = hyperparameters
        self.acceleration = acceleration
        self.progress = progress
        self.guard = guard
        self.best = best
        self.critical_section = critical_section
        """What a write happens in."""
        self.schedule = Schedule(
            hyperparameters.checkpoint_every_steps, hyperparameters.checkpoint_every_minutes * 60, cost_seconds=0.0
        )
        self.written = 0
        self.failed = 0
        self.seconds = 0.0
        self._interrupted_epoch: model_state.Tensors | None = None

    def resume(self, model: tf_keras.Model) -> bool:
        """Put the model and the other callbacks where the newest checkpoint was; return whether there is one.

        Raises ConfigurationError or DiskFullError if no checkpoint could be written later.
        """
        if self.checkpointing.store is not None:
            size = model_state.size(model) + self.best.size(model)
            require_space(self.checkpointing.store, size)
            self.schedule.cost_seconds = size / ASSUMED_BYTES_A_SECOND
        saved, state = self.checkpointing.saved, self.checkpointing.state
        if saved is None or state is None:
            return False
        saved_tensors = saved.tensors()
        best = {name.removeprefix(BEST): array for name, array in saved_tensors.items() if name.startswith(BEST)}
        tensors = {name: array for name, array in saved_tensors.items() if not name.startswith(BEST)}
        model_state.restore(model, tensors)
        self.progress.resume_from(state.step, state.history, state.progress)
        self.guard.skipped = list(state.skipped_steps)
        self.best.resume_from(model, best)
        if self.progress.within_epoch:
            self._interrupted_epoch = tensors
        return True

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Go on with the running sums of an interrupted epoch; Keras has just cleared them."""
        del epoch, logs
        if self._interrupted_epoch is not None:
            model_state.restore_metrics(self.model, self._interrupted_epoch)
            self._interrupted_epoch = None

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Write if one is due; at the last batch of an epoch, validation comes first."""
        del batch, logs
        if self.progress.within_epoch and self.schedule.is_due(self.progress.step):
            self.write()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Write if one is due, and at the end of training, so that nothing after it can lose it."""
        del logs
        is_last = epoch + 1 == self.progress.epochs or self.model.stop_training
        if is_last or self.schedule.is_due_at_epoch_end():
            self.write()

    def write(self) -> None:
        """Write a checkpoint of this moment, unless there is one; raise LossNotFiniteError if it is not worth it.

        A disk that refuses it costs this checkpoint, not the run.
        """
        store, last, state = self.checkpointing.store, self.checkpointing.last(), self._state()
        if store is None or (last is not None and last.name == state.name):
            return
        self.guard.require_finite_weights(state.step)
        started = time.monotonic()
        try:
            with self.critical_section():
                best = {BEST + name: array for name, array in self.best.tensors.items()}
                folder = store.write(state.name, {**model_state.capture(self.model), **best}, state.as_json())
        except OSError as error:
            self.failed += 1
            log.error("checkpoint %s is not written, training goes on: %s", state.name, error)  # noqa: TRY400
        else:
            self.written += 1
            log.info("checkpoint %s written in %.1f s", folder, time.monotonic() - started)
        seconds = time.monotonic() - started
        self.seconds += seconds
        self.schedule.written(seconds)

    def record(self, fit_seconds: float) -> dict[str, Any]:
        """Return what run.json keeps."""
        store, last, state = self.checkpointing.store, self.checkpointing.last(), self.checkpointing.state
        return {
            "folder": str(store.folder) if store else None,
            "resumed_from_step": state.step if state else None,
            "written": self.written,
            "failed": self.failed,
            "newest": last.name if last else None,
            "seconds": self.seconds,
            "share": self.seconds / fit_seconds,
        }

    def _state(self) -> RunState:
        progress, epochs = self.progress, self.progress.history.epochs
        validated = bool(epochs) and epochs[-1]["step"] == progress.step
        return RunState(
            step=progress.step,
            epochs_ended=progress.epochs_ended,
            validation_loss=epochs[-1].get("validation_loss") if validated else None,
            history=progress.history.as_dict(),
            progress=progress.as_dict(),
            skipped_steps=self.guard.skipped,
            acceleration=self.acceleration,
            fingerprint=self.checkpointing.fingerprint,
            hyperparameters=self.hyperparameters.as_dict(),
            tensorflow=tf.__version__,
            shards=self.checkpointing.shards,
        )


def require_space(store: CheckpointStore, size: int) -> None:
    """Raise now what would be found out after the first interval; `size` is that of one checkpoint, in bytes."""
    try:
        store.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=store.folder):
            free = shutil.disk_usage(store.folder).free
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise ConfigurationError(
            f"{store.folder} cannot be written by user {os.getuid()}: {error.strerror}. Mount a folder there that this "
            "user may write to, or set enable_checkpointing=False."
        ) from None
    # The kept ones, the best, and the one that is being written.
    needed = size * max(store.kept + 2 - len(list(store.folder.glob("step-*"))), 1)
    if free < needed:
        raise DiskFullError(
            f"{store.folder} has {free / 1e6:,.0f} MB free, checkpoints need {needed / 1e6:,.0f} MB. Give the job a "
            "larger volume (VolumeSizeInGB), lower checkpoints_kept, or set enable_checkpointing=False."
        )
