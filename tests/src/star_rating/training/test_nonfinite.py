"""A batch that gives NaN ends the run with its records named, or is left out a bounded number of times."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from safetensors.numpy import load_file, save_file

from star_rating.checkpointing import model_state
from star_rating.distributed.strategy import SingleHostStrategy
from star_rating.failures import ExitCode
from star_rating.hyperparameters import Hyperparameters
from star_rating.model import pretrained_weights
from star_rating.model.distilbert import DistilBertClassifier
from star_rating.model.optimizer import build_optimizer
from star_rating.model.train_step import build_model, compile_model
from star_rating.results.export import _probe_batch
from star_rating.training.nonfinite import describe_records
from tests.helpers.tiny_model import VOCABULARY, tiny_weights
from tests.helpers.training_job import LENGTH, TrainingJob, examples, write_records

BAD_WORD = max(set(range(len(VOCABULARY))) - set(_probe_batch(len(VOCABULARY), LENGTH)["input_ids"].numpy().flat))
"""No record but the bad one holds it, nor does what exports are compared on."""
QUIET = {"enable_sagemaker_debugger": "False", "run_test": "False", "run_sample_predictions": "False"}


def overflow_at_bad_word(weights: Path) -> None:
    """Make an embedding of numbers that are finite, and whose sum is not."""
    tensors = load_file(weights / "model.safetensors")
    tensors["distilbert.embeddings.word_embeddings.weight"][BAD_WORD] = np.finfo(np.float32).max
    save_file(tensors, weights / "model.safetensors", metadata={"format": "pt"})


@pytest.fixture
def job(tmp_path: Path) -> TrainingJob:
    job = TrainingJob(tmp_path)
    overflow_at_bad_word(job.weights)
    (record,) = examples(1, LENGTH, seed=9)
    bad = {**record, "input_ids": [2, BAD_WORD, 3, *[0] * (LENGTH - 3)], "input_mask": [1] * 3 + [0] * (LENGTH - 3)}
    write_records(job.channel("train") / "bad.tfrecord", iter([record, bad]))
    return job


@pytest.mark.slow
def test_it_ends_the_run_at_its_step_with_file_record_and_last_checkpoint(job: TrainingJob) -> None:
    outcome = job.run(**QUIET, train_batch_size="4", enable_checkpointing="True", checkpoint_every_steps="1")
    assert outcome.exit_code == ExitCode.LOSS_NOT_FINITE
    step = re.search(r"at step (\d+)", outcome.failure)
    assert step is not None
    assert re.search(r"The step's batch: (.*; )?bad\.tfrecord records? (0, )?1[;.]", outcome.failure), outcome.failure
    assert "Lower learning_rate" in outcome.failure
    if int(step[1]) > 1:
        assert f"The last good checkpoint is {job.root}/checkpoints/step-{int(step[1]) - 1:08d}" in outcome.failure
    assert "Traceback" not in outcome.log


@pytest.mark.slow
def test_it_is_left_out_if_that_is_asked_for(job: TrainingJob) -> None:
    outcome = job.run(**QUIET, epochs="2", skip_nonfinite_steps="2")
    assert outcome.exit_code == 0, outcome.log
    first, second = outcome.run["steps"]["skipped"]
    assert first <= 4 < second, "once an epoch of four steps"
    assert re.search(rf"step {first} is left out, .*bad\.tfrecord records? (0, )?1(;|$)", outcome.log, re.MULTILINE)
    assert all(np.isfinite(list(entry.values())).all() for entry in outcome.run["history"]["train"])


@pytest.mark.slow
def test_it_is_left_out_no_more_often_than_was_asked_for(job: TrainingJob) -> None:
    outcome = job.run(**QUIET, epochs="2", skip_nonfinite_steps="1")
    assert outcome.exit_code == ExitCode.LOSS_NOT_FINITE
    assert "as at 1 step(s) before it; skip_nonfinite_steps allows 1." in outcome.failure


@pytest.mark.slow
def test_a_learning_rate_that_diverges_ends_the_run(tmp_path: Path) -> None:
    # A weight is multiplied by 1 - learning_rate * weight_decay.
    outcome = TrainingJob(tmp_path).run(**QUIET, learning_rate="1e6", weight_decay="1", epochs="5")
    assert outcome.exit_code == ExitCode.LOSS_NOT_FINITE, outcome.log
    assert "Lower learning_rate" in outcome.failure


def model(folder: Path, **settings: Any) -> Any:
    tf.random.set_seed(1)
    hyperparameters = Hyperparameters(learning_rate=0.01, **settings)
    return build_model(hyperparameters, pretrained_weights.load(folder), 9, SingleHostStrategy())


def batch(*words: int) -> tuple[dict[str, npt.NDArray[np.int32]], npt.NDArray[np.int32]]:
    ids = np.array([[2, word, 3] for word in words], np.int32)
    return {"input_ids": ids, "input_mask": np.ones_like(ids)}, np.arange(len(words), dtype=np.int32)


@pytest.mark.slow
def test_a_step_that_is_left_out_changes_nothing_but_the_dropout_masks_to_come(tmp_path: Path) -> None:
    overflow_at_bad_word(tiny_weights(tmp_path))
    skipping = model(tmp_path, skip_nonfinite_steps=1)
    skipping.train_on_batch(*batch(7, 8))
    before = model_state.capture(skipping)
    logs = skipping.train_on_batch(*batch(7, BAD_WORD), return_dict=True, reset_metrics=False)
    after = model_state.capture(skipping)
    assert logs["skipped"] == 1
    changed = [name for name in before if before[name].tobytes() != after[name].tobytes()]
    assert changed == ["model/dropout_step:0"]


@pytest.mark.slow
def test_a_step_that_is_not_left_out_is_kerass_own(tmp_path: Path) -> None:
    tiny_weights(tmp_path)
    plain, skipping, keras = model(tmp_path), model(tmp_path, skip_nonfinite_steps=1), keras_model(tmp_path)
    for words in ((7, 8), (9, 10, 11)):
        expected = keras.train_on_batch(*batch(*words), return_dict=True)
        assert plain.train_on_batch(*batch(*words), return_dict=True) == expected
        assert skipping.train_on_batch(*batch(*words), return_dict=True) == {**expected, "skipped": 0}
    wanted = model_state.capture(keras)
    for found in (model_state.capture(plain), model_state.capture(skipping)):
        assert [name for name in wanted if wanted[name].tobytes() != found[name].tobytes()] == []


def keras_model(folder: Path) -> DistilBertClassifier:
    """The same model with Keras's own training step."""
    tf.random.set_seed(1)
    pretrained = pretrained_weights.load(folder)
    classifier = DistilBertClassifier(pretrained.config)
    pretrained_weights.load_into(classifier, pretrained)
    compile_model(classifier, build_optimizer(Hyperparameters(learning_rate=0.01), 9))
    return classifier


def test_records_are_named_by_file_and_no_more_than_fit_into_a_sentence() -> None:
    records = [(Path("/data/b.tfrecord"), 7), (Path("/data/a.tfrecord"), 3), (Path("/data/b.tfrecord"), 2)]
    assert describe_records(records) == "a.tfrecord record 3; b.tfrecord records 2, 7"
    assert describe_records(records, 2) == "a.tfrecord record 3; b.tfrecord record 2 and 1 more (in the log)"
