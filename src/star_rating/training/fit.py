"""One fit: the model from its pretrained weights or a checkpoint, the batches, the callbacks, and Keras's loop."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from observability.debugger.debugger import attach
from observability.mlflow.tracking import Tracking
from observability.rules.callback import RulesCallback
from observability.rules.configuration import read_rules
from observability.tensorboard import TensorBoardCallback, TensorBoardWriter, tensorboard_folder
from star_rating.autotune.compute_plan import Acceleration
from star_rating.checkpointing.checkpoints import CheckpointCallback, CheckpointManager
from star_rating.checkpointing.run_state import steps_per_epoch
from star_rating.contract import Contract
from star_rating.data.pipeline import batches_in_a_pass
from star_rating.interruption import Stopped
from star_rating.logs import History
from star_rating.model import pretrained_weights
from star_rating.model.distilbert import DistilBertClassifier
from star_rating.model.optimizer import current_learning_rate
from star_rating.training.loop import Loop
from star_rating.training.nonfinite import NonFiniteGuard
from star_rating.training.progress import ProgressLog
from star_rating.training.supervision import Supervision
from star_rating.training.watchdog import FIRST_STEP_PATIENCE
from star_rating.training.work import Work

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
    board: TensorBoardWriter | None
    """What TensorBoard will show, still open; None if nobody asked for it."""
    seconds: float


def fit(
    work: Work,
    contract: Contract,
    pretrained: pretrained_weights.PretrainedWeights,
    acceleration: Acceleration,
    *,
    checkpointing: CheckpointManager,
    supervision: Supervision,
    tracking: Tracking,
) -> Fit:
    """Train `pretrained`, or go on from a checkpoint; evaluate the validation channel, if given, after each epoch.

    A stop that `supervision` hears of ends the fit between two batches, with a checkpoint.
    """
    started = time.monotonic()
    hyperparameters = work.hyperparameters
    steps = steps_per_epoch(hyperparameters, work.data["train"])
    total_steps = hyperparameters.epochs * steps
    model = work.model(pretrained, total_steps, supervision.stop)
    compiled = work.compiled(model, acceleration.compare_with_xla) if acceleration.mode.xla else None
    log.info("training %d epoch(s) of %d steps", hyperparameters.epochs, steps)

    progress = ProgressLog(History(), hyperparameters.epochs, steps, hyperparameters.log_every_steps)
    guard = NonFiniteGuard(progress, hyperparameters.skip_nonfinite_steps, work.records_of_batch, checkpointing.last)
    checkpoints = CheckpointCallback(
        checkpointing, hyperparameters, acceleration.record(), progress, guard, work.cluster.undisturbed
    )
    if checkpoints.resume(model):
        supervision.stop.listen()
    if progress.epochs_ended == hyperparameters.epochs:
        log.info("training was complete; what is left is evaluation and export")
    supervision.watchdog.beat("the first step", patience=FIRST_STEP_PATIENCE)
    debugger = attach(
        contract,
        enabled=hyperparameters.enable_sagemaker_debugger and work.cluster.is_first,
        required=hyperparameters.require_sagemaker_debugger and work.cluster.is_first,
    )
    if progress.step:
        debugger.restore(progress.step, progress.epochs_ended * validation_steps(work))
    rules = RulesCallback(
        read_rules(hyperparameters.debugger_rules),
        debugger.out_dir,
        supervision.stop.request if hyperparameters.debugger_rule_action == "stop" else None,
    )
    callbacks = [guard, progress, checkpoints, *debugger.callbacks, rules, supervision]
    board = None
    if hyperparameters.enable_tensorboard and work.cluster.is_first:
        board = TensorBoardWriter(tensorboard_folder(contract, in_model=hyperparameters.tensorboard_in_model))
        callbacks.insert(2, TensorBoardCallback(board, progress.history, hyperparameters.as_dict()))

    learning_rate = functools.partial(current_learning_rate, model.optimizer)
    callbacks[2:2] = tracking.callbacks(progress.history, learning_rate)
    callbacks = supervision.profile.wrap_callbacks(callbacks, steps_done=lambda: progress.step)

    try:
        batches = functools.partial(work.training_batches, for_xla=acceleration.mode.xla)
        Loop(model, batches, work.evaluation_batches("validation"), progress, callbacks).run()
    except Stopped:
        stop = supervision.stop
        log.info(
            "stopping at step %d of %d, %.1f s after %s asked for it", progress.step, total_steps, stop.seconds, stop.by
        )
        checkpoints.write()
    seconds = time.monotonic() - started
    debugger_record = {**debugger.finish(seconds), "rules": rules.finish()}
    debugger.keep_result(rules.evaluation.statuses())
    return Fit(
        model=model,
        history=progress.history,
        step=progress.step,
        total_steps=total_steps,
        skipped_steps=guard.skipped,
        checkpoints=checkpoints.record(seconds),
        debugger=debugger_record,
        xla=compiled.record() if compiled else None,
        board=board,
        seconds=seconds,
    )


def validation_steps(work: Work) -> int:
    """Return the number of batches that each epoch ends with, on one host."""
    if "validation" not in work.data:
        return 0
    batches = batches_in_a_pass(work.data["validation"], work.hyperparameters.validation_batch_size)
    return min(batches, work.hyperparameters.validation_steps or batches)
