"""One fit: the model from its pretrained weights or a checkpoint, the batches, the callbacks, and Keras's loop."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
import tf_keras

from star_rating.checkpointing import model_state
from star_rating.checkpointing.checkpoints import Checkpointing, Checkpoints
from star_rating.checkpointing.run_state import steps_per_epoch
from star_rating.contract import Contract
from star_rating.data.channel import NUMBER_OF_CLASSES, Channel
from star_rating.data.pipeline import evaluation_batches, records_of_batch, training_batches
from star_rating.debugger import debugger as sagemaker_debugger
from star_rating.failures import HyperparameterError
from star_rating.hyperparameters import Hyperparameters
from star_rating.model import checkpoint
from star_rating.model.distilbert import DistilBertClassifier
from star_rating.training.acceleration import Acceleration
from star_rating.training.buckets import bucketed
from star_rating.training.compiled_step import CompiledStep
from star_rating.training.interruption import Stopped
from star_rating.training.loop import Loop
from star_rating.training.nonfinite import NonFiniteGuard
from star_rating.training.optimizer import build_optimizer
from star_rating.training.progress import Examples, History, ProgressLog
from star_rating.training.skipping import SkippingClassifier
from star_rating.training.supervision import Supervision
from star_rating.training.tensorboard import TensorBoardScalars, tensorboard_folder
from star_rating.training.watchdog import FIRST_STEP_PATIENCE

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fit:
    """A fit that has ended, or was stopped."""

    model: DistilBertClassifier
    history: History
    step: int
    """Training steps done, those before a resume included."""
    total_steps: int
    skipped_steps: list[int]
    checkpoints: Mapping[str, Any]
    debugger: Mapping[str, Any]
    xla: Mapping[str, Any] | None
    """What XLA compiled; None without it."""
    seconds: float


def fit(
    hyperparameters: Hyperparameters,
    contract: Contract,
    pretrained: checkpoint.Checkpoint,
    data: Mapping[str, Channel],
    acceleration: Acceleration,
    *,
    checkpointing: Checkpointing,
    supervision: Supervision,
) -> Fit:
    """Train `pretrained`, or go on from a checkpoint; evaluate data["validation"], if given, after each epoch.

    A stop that `supervision` hears of ends the fit between two batches, with a checkpoint.
    """
    started = time.monotonic()
    steps = steps_per_epoch(hyperparameters, data["train"])
    total_steps = hyperparameters.epochs * steps
    model = build_model(hyperparameters, pretrained, total_steps)
    compiled = CompiledStep(model, acceleration.seconds_without_xla) if acceleration.mode.xla else None
    log.info("training %d epoch(s) of %d steps", hyperparameters.epochs, steps)

    batch_size, seed = hyperparameters.train_batch_size, hyperparameters.seed
    progress = ProgressLog(History(), hyperparameters.epochs, steps, hyperparameters.log_every_steps)
    guard = NonFiniteGuard(
        progress,
        hyperparameters.skip_nonfinite_steps,
        lambda batch: records_of_batch(data["train"], batch_size, seed=seed, batch=batch),
        checkpointing.last,
    )
    checkpoints = Checkpoints(checkpointing, hyperparameters, acceleration.record(), progress, guard)
    if checkpoints.resume(model):
        supervision.stop.listen()
    if progress.epochs_ended == hyperparameters.epochs:
        log.info("training was complete; what is left is evaluation and export")
    supervision.watchdog.beat("the first step", patience=FIRST_STEP_PATIENCE)
    debugger = sagemaker_debugger.attach(contract, enabled=hyperparameters.enable_sagemaker_debugger)
    callbacks = [guard, progress, checkpoints, *debugger.callbacks, supervision]
    if hyperparameters.enable_tensorboard:
        folder = tensorboard_folder(contract, in_model=hyperparameters.tensorboard_in_model)
        callbacks.insert(2, TensorBoardScalars(folder, progress.history))

    callbacks = supervision.profile.around(callbacks, steps_done=lambda: progress.step)

    def batches_after(step: int) -> tf.data.Dataset:
        length = hyperparameters.max_seq_length
        batches = training_batches(data["train"], batch_size, length, seed=seed, first_batch=step)
        return bucketed(batches, batch_size) if acceleration.mode.xla else batches

    try:
        Loop(model, batches_after, validation_batches(hyperparameters, data), progress, callbacks).run()
    except Stopped:
        log.info(
            "stopping at step %d of %d, %.1f s after the signal", progress.step, total_steps, supervision.stop.seconds
        )
        checkpoints.write()
    seconds = time.monotonic() - started
    return Fit(
        model=model,
        history=progress.history,
        step=progress.step,
        total_steps=total_steps,
        skipped_steps=guard.skipped,
        checkpoints=checkpoints.record(seconds),
        debugger=debugger.finish(),
        xla=compiled.record() if compiled else None,
        seconds=seconds,
    )


def validation_batches(hyperparameters: Hyperparameters, data: Mapping[str, Channel]) -> tf.data.Dataset | None:
    """Return the batches that each epoch ends with, None if the job has no validation."""
    if "validation" not in data:
        return None
    return evaluation_batches(
        data["validation"],
        hyperparameters.validation_batch_size,
        hyperparameters.max_seq_length,
        steps=hyperparameters.validation_steps,
    )


def build_model(
    hyperparameters: Hyperparameters, pretrained: checkpoint.Checkpoint, total_steps: int
) -> DistilBertClassifier:
    """Return a compiled classifier with the pretrained weights; its head is new unless the checkpoint has one."""
    positions = pretrained.config.max_position_embeddings
    if hyperparameters.max_seq_length > positions:
        raise HyperparameterError(
            f"Hyperparameter max_seq_length is {hyperparameters.max_seq_length}: the weights have {positions} "
            f"positions. Set it to {positions} at the most, and run `prepare` with the same number."
        )
    classifier = SkippingClassifier if hyperparameters.skip_nonfinite_steps else DistilBertClassifier
    model = classifier(pretrained.config, NUMBER_OF_CLASSES)
    if checkpoint.load_into(model, pretrained):
        log.info("the classification head comes from the weights")
    if hyperparameters.freeze_bert_layer:
        model.freeze_body()
    model.compile(
        optimizer=build_optimizer(hyperparameters, total_steps),
        loss=tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[tf_keras.metrics.SparseCategoricalAccuracy("accuracy"), Examples()],
    )
    model_state.build(model, NUMBER_OF_CLASSES)
    return model
