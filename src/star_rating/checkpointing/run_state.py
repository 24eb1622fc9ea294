"""What a checkpoint holds beside its tensors, and whether a job may go on from it.

    state = RunState(step=120, ...)
    state.refuse_another_run(fingerprint, hyperparameters, folder)

A resumed run has to end as the run that was never interrupted would have ended. What decides that is the fingerprint:
another model, other data, another batch size are refused. The rest of the hyperparameters may change, on purpose: more
epochs, a lower learning rate after a loss that was not finite, another log interval. The log says which have.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from star_rating.data.channel import Channel
from star_rating.data.pipeline import batches_in_a_pass
from star_rating.failures import ConfigurationError
from star_rating.hyperparameters import Hyperparameters
from star_rating.model.weights import Weights

log = logging.getLogger(__name__)

Fingerprint = Mapping[str, str | int | bool]
"""Name -> value, of what must not differ."""

STEPS_PER_EPOCH = "steps per epoch"

DECIDE_THE_WEIGHTS = (
    "epochs",
    "learning_rate",
    "epsilon",
    "learning_rate_schedule",
    "warmup_ratio",
    "weight_decay",
    "gradient_clip_norm",
    "skip_nonfinite_steps",
)
"""Hyperparameters that may change, and change what comes out; the others only change what is shown or kept."""


@dataclass(frozen=True)
class RunState:
    """A place in a run, and what was known there."""

    step: int
    """Training steps done, which are batches read."""
    epochs_ended: int
    """Epochs whose validation is done too."""
    validation_loss: float | None
    """Of these weights; None within an epoch, and without validation."""
    history: Mapping[str, Any]
    progress: Mapping[str, Any]
    """The window of log lines that was open."""
    skipped_steps: list[int]
    acceleration: Mapping[str, Any]
    """The decision that was in force; measured again, it might come out otherwise."""
    fingerprint: Fingerprint
    hyperparameters: Mapping[str, Any]
    tensorflow: str
    """Its version."""
    shards: Sequence[int] | None = None
    """Records of the train channel on each host, where each has some of them."""

    @property
    def name(self) -> str:
        """Return the checkpoint's folder name; by name, the newest comes last."""
        return f"step-{self.step:08d}-epochs-{self.epochs_ended:02d}"

    def as_json(self) -> dict[str, Any]:
        """Return what state.json holds."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> RunState:
        """Read what as_json has returned."""
        return cls(**document)

    def refuse_another_run(self, fingerprint: Fingerprint, hyperparameters: Hyperparameters, folder: Path) -> None:
        """Raise ConfigurationError that names each difference that rules out going on from here."""
        differences = [
            f"{name} is {_short(self.fingerprint.get(name))} there and {_short(value)} in this job"
            for name, value in fingerprint.items()
            if self.fingerprint.get(name) != value
        ]
        if differences:
            raise ConfigurationError(
                f"The checkpoint {folder} belongs to another run: {'; '.join(differences)}. Give the job an empty "
                "checkpoint path, or the settings and data of that run."
            )
        steps = hyperparameters.epochs * int(fingerprint[STEPS_PER_EPOCH])
        if self.step > steps:
            raise ConfigurationError(
                f"The checkpoint {folder} is at step {self.step}, and epochs={hyperparameters.epochs} is over at step "
                f"{steps}. Set epochs to {self.hyperparameters['epochs']}, as it was, or give the job an empty "
                "checkpoint path."
            )

    def log_changes(self, hyperparameters: Hyperparameters) -> None:
        """Say what this job does otherwise than the one that wrote the checkpoint."""
        mine = hyperparameters.as_dict()
        for name in DECIDE_THE_WEIGHTS:
            if self.hyperparameters.get(name) != mine[name]:
                log.info("resumed with %s=%s, which was %s", name, mine[name], self.hyperparameters.get(name))
        if self.tensorflow != tf.__version__:
            log.warning(
                "resumed with TensorFlow %s, the checkpoint is of %s: the last digits may differ from those of an "
                "uninterrupted run",
                tf.__version__,
                self.tensorflow,
            )


def steps_per_epoch(hyperparameters: Hyperparameters, train: Channel) -> int:
    """Return the steps of an epoch: what the job asks for, or one pass of the channel."""
    return hyperparameters.train_steps_per_epoch or batches_in_a_pass(train, hyperparameters.train_batch_size)


def fingerprint(hyperparameters: Hyperparameters, weights: Weights, train: Channel) -> Fingerprint:
    """Return what two jobs must have in common for one to go on where the other was interrupted."""
    return {
        "pretrained weights (sha256)": weights.sha256,
        "train channel (sha256)": train.sha256,
        "max_seq_length": hyperparameters.max_seq_length,
        "train_batch_size": hyperparameters.train_batch_size,
        STEPS_PER_EPOCH: steps_per_epoch(hyperparameters, train),
        "freeze_bert_layer": hyperparameters.freeze_bert_layer,
        "seed": hyperparameters.seed,
    }


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) < 64 else f"{text[:12]}..."
