"""One fit: the model from its pretrained weights, the batches, the callbacks, and Keras's loop over them."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tf_keras

from star_rating.contract import Contract
from star_rating.data.channel import NUMBER_OF_CLASSES, Channel
from star_rating.data.pipeline import batches_in_a_pass, evaluation_batches, training_batches
from star_rating.failures import HyperparameterError
from star_rating.hyperparameters import Hyperparameters
from star_rating.model import checkpoint
from star_rating.model.distilbert import DistilBertClassifier
from star_rating.model.weights import Weights
from star_rating.training import debugger as sagemaker_debugger
from star_rating.training.acceleration import Acceleration
from star_rating.training.checkpoints import Checkpoints
from star_rating.training.optimizer import build_optimizer
from star_rating.training.progress import Examples, History, ProgressLog
from star_rating.training.tensorboard import TensorBoardScalars, tensorboard_folder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fit:
    """A finished fit."""

    model: DistilBertClassifier
    history: History
    first_epoch: int
    """Epochs that a checkpoint had already done."""
    debugger: Mapping[str, Any]
    seconds: float


def fit(
    hyperparameters: Hyperparameters,
    contract: Contract,
    weights: Weights,
    pretrained: checkpoint.Checkpoint,
    data: Mapping[str, Channel],
    acceleration: Acceleration,
) -> Fit:
    """Train `pretrained`, which is what `weights` holds; evaluate data["validation"], if given, after each epoch."""
    started = time.monotonic()
    steps_per_epoch = hyperparameters.train_steps_per_epoch or batches_in_a_pass(
        data["train"], hyperparameters.train_batch_size
    )
    model = build_model(hyperparameters, pretrained, acceleration, hyperparameters.epochs * steps_per_epoch)
    log.info("training %d epoch(s) of %d steps", hyperparameters.epochs, steps_per_epoch)

    history = History()
    callbacks: list[tf_keras.callbacks.Callback] = [
        ProgressLog(history, hyperparameters.epochs, steps_per_epoch, hyperparameters.log_every_steps)
    ]
    if hyperparameters.enable_tensorboard:
        folder = tensorboard_folder(contract, in_model=hyperparameters.tensorboard_in_model)
        callbacks.append(TensorBoardScalars(folder, history))
    first_epoch = 0
    if hyperparameters.enable_checkpointing:
        fingerprint: dict[str, str | int] = {
            "weights": weights.sha256,
            "train channel": data["train"].sha256,
            "seed": hyperparameters.seed,
        }
        checkpoints = Checkpoints(model, contract.checkpoint_dir, fingerprint)
        first_epoch = checkpoints.restore()
        callbacks.append(checkpoints)
    debugger = sagemaker_debugger.attach(contract, enabled=hyperparameters.enable_sagemaker_debugger)
    callbacks.extend(debugger.callbacks)

    length = hyperparameters.max_seq_length
    batches = training_batches(
        data["train"],
        hyperparameters.train_batch_size,
        length,
        seed=hyperparameters.seed,
        first_batch=first_epoch * steps_per_epoch,
    )
    validation = None
    if "validation" in data:
        validation = evaluation_batches(
            data["validation"],
            hyperparameters.validation_batch_size,
            length,
            steps=hyperparameters.validation_steps,
        )
    model.fit(
        batches,
        epochs=hyperparameters.epochs,
        initial_epoch=first_epoch,
        steps_per_epoch=steps_per_epoch,
        validation_data=validation,
        callbacks=callbacks,
        verbose=0,  # a progress bar turns a log into thousands of lines
    )
    return Fit(model, history, first_epoch, debugger.finish(), time.monotonic() - started)


def build_model(
    hyperparameters: Hyperparameters, pretrained: checkpoint.Checkpoint, acceleration: Acceleration, total_steps: int
) -> DistilBertClassifier:
    """Return a compiled classifier with the pretrained weights; its head is new unless the checkpoint has one."""
    positions = pretrained.config.max_position_embeddings
    if hyperparameters.max_seq_length > positions:
        raise HyperparameterError(
            f"Hyperparameter max_seq_length is {hyperparameters.max_seq_length}: the weights have {positions} "
            f"positions. Set it to {positions} at the most, and run `prepare` with the same number."
        )
    model = DistilBertClassifier(pretrained.config, NUMBER_OF_CLASSES, unpadded=not acceleration.xla)
    if checkpoint.load_into(model, pretrained):
        log.info("the classification head comes from the weights")
    if hyperparameters.freeze_bert_layer:
        model.freeze_body()
    model.compile(
        optimizer=build_optimizer(hyperparameters, total_steps),
        loss=tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[tf_keras.metrics.SparseCategoricalAccuracy("accuracy"), Examples()],
        jit_compile=acceleration.xla,
    )
    return model
