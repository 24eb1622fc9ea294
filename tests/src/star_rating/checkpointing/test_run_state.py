"""Which changes a resumed job may bring, and that a refusal names both values."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from star_rating.checkpointing.run_state import STEPS_PER_EPOCH, Fingerprint, RunState
from star_rating.failures import ConfigurationError
from star_rating.hyperparameters import Hyperparameters

FOLDER = Path("/opt/ml/checkpoints/step-00000120-epochs-01")
FINGERPRINT: Fingerprint = {
    "pretrained weights (sha256)": "a" * 64,
    "train channel (sha256)": "b" * 64,
    "max_seq_length": 64,
    STEPS_PER_EPOCH: 100,
    "seed": 42,
}


def state(**changes: Any) -> RunState:
    return RunState(
        **{
            "step": 120,
            "epochs_ended": 1,
            "validation_loss": None,
            "history": {},
            "progress": {},
            "skipped_steps": [],
            "acceleration": {},
            "fingerprint": FINGERPRINT,
            "hyperparameters": Hyperparameters().as_dict(),
            "tensorflow": "2.0",
            **changes,
        }
    )


def refused(hyperparameters: Hyperparameters, changes: Fingerprint) -> str:
    with pytest.raises(ConfigurationError) as caught:
        state().refuse_another_run({**FINGERPRINT, **changes}, hyperparameters, FOLDER)
    return str(caught.value)


def test_it_survives_json() -> None:
    assert RunState.from_json(json.loads(json.dumps(state().as_json()))) == state()


def test_the_newest_sorts_last() -> None:
    places = [(9, 0), (10, 0), (100, 1), (100, 2), (12345678, 3)]
    names = [state(step=step, epochs_ended=epochs).name for step, epochs in places]
    assert names == sorted(names)


def test_the_same_run_goes_on() -> None:
    state().refuse_another_run(FINGERPRINT, Hyperparameters(), FOLDER)


def test_each_difference_is_named_with_both_values() -> None:
    said = refused(Hyperparameters(), {"max_seq_length": 128, "seed": 7})
    assert "max_seq_length is 64 there and 128 in this job; seed is 42 there and 7 in this job" in said
    assert str(FOLDER) in said
    assert "empty checkpoint path" in said


def test_other_weights_are_told_by_their_hash() -> None:
    said = refused(Hyperparameters(), {"pretrained weights (sha256)": "c" * 64})
    assert "pretrained weights (sha256) is aaaaaaaaaaaa... there and cccccccccccc... in this job" in said


def test_a_checkpoint_of_before_there_was_a_pooling_is_of_cls() -> None:
    state().refuse_another_run({**FINGERPRINT, "pooling": "cls"}, Hyperparameters(), FOLDER)
    said = refused(Hyperparameters(pooling="mean"), {"pooling": "mean"})
    assert "pooling is cls there and mean in this job" in said


def test_a_run_that_has_kept_no_best_epoch_cannot_export_it() -> None:
    said = refused(Hyperparameters(export_epoch="best"), {"exported epoch": "best by validation_loss"})
    assert "exported epoch is None there and best by validation_loss in this job" in said


def test_more_epochs_are_a_legitimate_change_and_fewer_than_were_done_are_not() -> None:
    state().refuse_another_run(FINGERPRINT, Hyperparameters(epochs=9), FOLDER)
    said = refused(Hyperparameters(epochs=1), {})
    assert "is at step 120, and epochs=1 is over at step 100. Set epochs to 3" in said


def test_what_changes_the_result_is_logged_and_what_does_not_is_not(caplog: pytest.LogCaptureFixture) -> None:
    changed = dataclasses.replace(Hyperparameters(), learning_rate=1e-6, log_every_steps=3)
    with caplog.at_level(logging.INFO, "star_rating"):
        state().log_changes(changed)
    assert "resumed with learning_rate=1e-06, which was 5e-05" in caplog.text
    assert "log_every_steps" not in caplog.text
    assert "the checkpoint is of 2.0: the last digits may differ" in caplog.text


WHOLE = {
    "history": {
        "steps": [10],
        "train": [{"loss": 0.5, "accuracy": 1}],
        "epochs": [
            {"epoch": 1.0, "step": 100.0, "loss": 0.5, "accuracy": 0.5, "examples": 9.0, "validation_loss": 1.0}
        ],
    },
    "progress": {"last": {"loss": 1.0}, "window_seconds": 1.5, "epoch_seconds": 2.0},
    "acceleration": {"xla": False, "compute_dtype": "float32", "reason": "short", "measured": [], "amp": False},
}


def test_a_state_of_this_image_is_read() -> None:
    written = state(**WHOLE)
    assert RunState.read(json.loads(json.dumps(written.as_json())), FOLDER) == written


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"step": -1}, "step is -1"),
        ({"step": 10**400}, "step is 1000"),
        ({"step": True}, "step is True"),
        ({"epochs_ended": 2}, "history.epochs has another length"),
        ({"validation_loss": "low"}, "validation_loss is 'low'"),
        ({"history": []}, r"history is \[\], and not an object"),
        ({"history": WHOLE["history"] | {"train": []}}, "history.train has another length"),
        (
            {"history": WHOLE["history"] | {"train": [{"loss": "x", "accuracy": 1}]}},
            r"history\.train\[0\]\.loss is 'x'",
        ),
        ({"history": WHOLE["history"] | {"epochs": [{}]}}, r"history\.epochs\[0\]\.\w+ is missing"),
        ({"progress": {"last": {}, "window_seconds": None, "epoch_seconds": 1}}, "window_seconds is None"),
        ({"skipped_steps": "none"}, "skipped_steps is 'none', and not a list"),
        ({"acceleration": {}}, r"acceleration\.compute_dtype is missing"),
        ({"acceleration": WHOLE["acceleration"] | {"measured": [{"code": "x"}]}}, r"acceleration\.measured\[0\]"),
        ({"fingerprint": {"seed": [1]}}, "fingerprint is"),
        ({"hyperparameters": None}, "hyperparameters is None"),
        ({"tensorflow": ["2"]}, "tensorflow is"),
        ({"shards": [1, -1]}, "shards is"),
    ],
)
def test_a_state_that_no_run_wrote_is_refused_with_its_key(changes: dict[str, Any], said: str) -> None:
    document = json.loads(json.dumps(state(**(WHOLE | changes)).as_json()))
    with pytest.raises(ConfigurationError, match=said) as caught:
        RunState.read(document, FOLDER)
    assert len(str(caught.value)) < 500
    for key in WHOLE:
        with pytest.raises(ConfigurationError, match=f"{key} is missing"):
            RunState.read({name: value for name, value in document.items() if name != key} | {"step": 1}, FOLDER)
