"""What a checkpoint holds beside its tensors, and whether a job may go on from it.

    state = RunState(step=120, ...)
    state.refuse_another_run(fingerprint, hyperparameters, folder)

A resumed run has to end as the run that was never interrupted would have ended. What decides that is the fingerprint:
another model, other data, another batch size are refused. The rest of the hyperparameters may change, on purpose: more
epochs, a lower learning rate after a loss that was not finite, another log interval. The log says which have.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeAlias

import tensorflow as tf

from star_rating.autotune.benchmark import Measurement
from star_rating.data.channel import Channel
from star_rating.data.pipeline import steps_per_epoch
from star_rating.failures import ConfigurationError, quote
from star_rating.hyperparameters import Hyperparameters
from star_rating.model.weights import Weights

log = logging.getLogger(__name__)

Fingerprint = Mapping[str, str | int | bool]
"""Name -> value, of what must not differ."""

LARGEST_COUNT = 2**53
"""Below it a float holds every whole number."""

STEPS_PER_EPOCH = "steps per epoch"
OF_EARLIER_IMAGES: Fingerprint = {"pooling": "cls"}
"""What a fingerprint without these meant."""

DECIDE_THE_WEIGHTS = (
    "epochs",
    "learning_rate",
    "epsilon",
    "learning_rate_schedule",
    "warmup_ratio",
    "weight_decay",
    "gradient_clip_norm",
    "skip_nonfinite_steps",
    "polynomial_power",
    "loss",
    "label_smoothing",
    "class_weights",
    "r_drop",
    "layer_learning_rate_decay",
    "gradual_unfreezing",
    "weight_average_decay",
    "export_epoch",
    "early_stopping_patience",
)
"""Hyperparameters that may change, and change what comes out; the others only change what is quote or kept."""


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

    @classmethod
    def read(cls, document: Mapping[str, Any], folder: Path) -> RunState:
        """Read a checkpoint's state; raise ConfigurationError that names the key that no run of this image wrote.

        A hash beside a file says that nothing has damaged it, and not who wrote it.
        """
        problem = _problem(document, _STATE, "")
        if not problem and len(document["history"]["epochs"]) != document["epochs_ended"]:
            problem = "history.epochs has another length than epochs_ended says"
        if not problem and len(document["history"]["train"]) != len(document["history"]["steps"]):
            problem = "history.train has another length than history.steps"
        if problem:
            raise ConfigurationError(
                f"The checkpoint {folder} was not written by this image: in its state, {problem}. Give the job the "
                "checkpoint path of an earlier run of this image, or an empty one."
            )
        return cls.from_json({key: value for key, value in document.items() if key in _STATE})

    def refuse_another_run(self, fingerprint: Fingerprint, hyperparameters: Hyperparameters, folder: Path) -> None:
        """Raise ConfigurationError that names each difference that rules out going on from here."""
        theirs = {**OF_EARLIER_IMAGES, **self.fingerprint}
        differences = [
            f"{name} is {_short(theirs.get(name))} there and {_short(value)} in this job"
            for name, value in fingerprint.items()
            if theirs.get(name) != value
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
                f"{steps}. Set epochs to {self.hyperparameters.get('epochs')}, as it was, or give the job an empty "
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


def run_fingerprint(hyperparameters: Hyperparameters, weights: Weights, train: Channel) -> Fingerprint:
    """Return what two jobs must have in common for one to go on where the other was interrupted.

    A run whose best epoch is exported keeps that epoch's weights, which no other run has.
    """
    best = (
        {"exported epoch": f"best by {hyperparameters.best_metric}"} if hyperparameters.export_epoch == "best" else {}
    )
    return {
        **best,
        "pretrained weights (sha256)": weights.sha256,
        "train channel (sha256)": train.sha256,
        "max_seq_length": hyperparameters.max_seq_length,
        "train_batch_size": hyperparameters.train_batch_size,
        STEPS_PER_EPOCH: steps_per_epoch(
            train, hyperparameters.train_batch_size, hyperparameters.train_steps_per_epoch
        ),
        "freeze_bert_layer": hyperparameters.freeze_bert_layer,
        "pooling": hyperparameters.pooling,
        "seed": hyperparameters.seed,
    }


Shape: TypeAlias = "Callable[[object], bool] | dict[str, Shape] | list[Shape]"
"""Of a JSON value: what it must satisfy, an object's keys, or a list of one shape."""


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < LARGEST_COUNT


def _is_number(value: object) -> bool:
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < LARGEST_COUNT)


def _is_optional_number(value: object) -> bool:
    return value is None or _is_number(value)


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, str | bool) or _is_number(value)


def _is_flat(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_scalar, value.values()))


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_shards(value: object) -> bool:
    return value is None or (isinstance(value, list) and all(map(_is_count, value)))


def _is_measurement(value: object) -> bool:
    names = {field.name for field in fields(Measurement)}
    return isinstance(value, dict) and _is_flat(value) and {"xla", "compute_dtype"} <= value.keys() <= names


def _are_running_means(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_number, value.values()))


_STATE: dict[str, Shape] = {
    "step": _is_count,
    "epochs_ended": _is_count,
    "validation_loss": _is_optional_number,
    "history": {
        "steps": [_is_count],
        "train": [{"loss": _is_number, "accuracy": _is_number}],
        "epochs": [dict.fromkeys(("epoch", "step", "loss", "accuracy", "examples"), _is_number)],
    },
    "progress": {"last": _are_running_means, "window_seconds": _is_number, "epoch_seconds": _is_number},
    "skipped_steps": [_is_count],
    "acceleration": {
        "xla": lambda value: isinstance(value, bool),
        "compute_dtype": _is_text,
        "reason": _is_text,
        "measured": [_is_measurement],
    },
    "fingerprint": _is_flat,
    "hyperparameters": _is_flat,
    "tensorflow": _is_text,
    "shards": _is_shards,
}


def _problem(value: object, shape: Shape, where: str) -> str:
    """Say where a JSON value has another shape; "" where it has this one."""
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{where} is {quote(value)}, and not a list"
        return next(filter(None, (_problem(item, shape[0], f"{where}[{at}]") for at, item in enumerate(value))), "")
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{where or 'the whole'} is {quote(value)}, and not an object"
        names = {key: f"{where}.{key}" if where else key for key in shape}
        if missing := sorted(shape.keys() - value.keys()):
            return f"{names[missing[0]]} is missing"
        return next(filter(None, (_problem(value[key], of_key, names[key]) for key, of_key in shape.items())), "")
    return "" if shape(value) else f"{where} is {quote(value)}"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) < 64 else f"{text[:12]}..."
