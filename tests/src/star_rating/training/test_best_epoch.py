"""The best epoch is exported if that is asked for, and a run that no longer improves ends: so does a resumed one."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file

from star_rating.checkpointing import model_state
from star_rating.distributed.strategy import SingleHostStrategy
from star_rating.failures import HyperparameterError
from star_rating.hyperparameters import Hyperparameters
from star_rating.logs import History
from star_rating.model import pretrained_weights
from star_rating.model.train_step import build_model
from star_rating.results.evaluation import evaluate, macro_f1, mean_absolute_error
from star_rating.training.best_epoch import BestEpochCallback, best_epoch, has_stopped_improving
from tests.helpers.tiny_model import tiny_weights
from tests.helpers.training_job import LENGTH, Outcome, TrainingJob, examples, write_records

EXPORTED = "model/transformers/fine-tuned/model.safetensors"
SETTINGS = {
    "epochs": "12",
    "learning_rate": "0.01",
    "enable_checkpointing": "True",
    "checkpoint_every_steps": "1",
    "checkpoints_kept": "100",
    "enable_sagemaker_debugger": "False",
    "debugger_rules": "none",
    "enable_profiler": "False",
    "run_sample_predictions": "False",
    "export_epoch": "best",
}
EARLY = SETTINGS | {"early_stopping_patience": "2"}


def losses(*values: float) -> list[dict[str, float]]:
    return [{"validation_loss": value} for value in values]


@pytest.mark.parametrize(
    ("epochs", "metric", "best"),
    [
        (losses(3.0, 1.0, 2.0), "validation_loss", 1),
        (losses(2.0, 1.0, 1.0), "validation_loss", 1),
        (losses(float("nan"), 2.0, float("inf")), "validation_loss", 1),
        (losses(float("nan")), "validation_loss", None),
        ([{"loss": 1.0}], "validation_loss", None),
        ([], "validation_loss", None),
        ([{"validation_accuracy": 0.5}, {"validation_accuracy": 0.7}], "validation_accuracy", 1),
        ([{"validation_macro_f1": 0.5}, {"validation_macro_f1": 0.4}], "validation_macro_f1", 0),
        (
            [{"validation_mean_absolute_error": 0.5}, {"validation_mean_absolute_error": 0.4}],
            "validation_mean_absolute_error",
            1,
        ),
    ],
)
def test_the_best_epoch(epochs: list[dict[str, float]], metric: str, best: int | None) -> None:
    assert best_epoch(epochs, metric) == best


@pytest.mark.parametrize(
    ("values", "patience", "over"),
    [
        ((3.0, 1.0, 2.0), 1, True),
        ((3.0, 1.0, 2.0), 2, False),
        ((3.0, 1.0, 2.0, 1.5), 2, True),
        ((3.0, 1.0, 2.0, 0.5), 2, False),
        ((3.0, 1.0, 2.0, 2.0, 2.0), 0, False),
        ((float("nan"), float("nan")), 2, True),
        ((), 1, False),
    ],
)
def test_patience(values: tuple[float, ...], patience: int, over: bool) -> None:  # noqa: FBT001
    assert has_stopped_improving(losses(*values), "validation_loss", patience) == over


def test_measures_of_a_confusion_matrix_are_those_of_the_evaluation() -> None:
    random = np.random.default_rng(0)
    labels, logits = random.integers(0, 3, 50), random.normal(size=(50, 5))
    measured = evaluate(labels, logits)
    confusion = np.array(measured.confusion_matrix)
    assert macro_f1(confusion) == measured.macro_f1
    assert mean_absolute_error(confusion) == pytest.approx(measured.mean_absolute_error, rel=1e-15)


@pytest.mark.parametrize("setting", [{"export_epoch": "best"}, {"early_stopping_patience": "1"}])
def test_without_validation_there_is_nothing_to_compare(setting: Mapping[str, str]) -> None:
    with pytest.raises(HyperparameterError, match="run_validation is False"):
        Hyperparameters.from_texts({**setting, "run_validation": "False"})


@pytest.mark.slow
def test_the_moving_average_is_validated_and_exported_and_training_goes_on_with_the_weights(tmp_path: Path) -> None:
    settings = Hyperparameters(learning_rate=0.01, weight_average_decay=0.9)
    model = build_model(settings, pretrained_weights.load(tiny_weights(tmp_path)), 9, SingleHostStrategy())
    ids, labels = np.arange(5, 20, dtype=np.int32).reshape(5, 3), np.arange(5, dtype=np.int32)
    batch = {"input_ids": ids, "input_mask": np.ones_like(ids)}, labels
    for _ in range(3):
        model.train_on_batch(*batch)
    weights, average = model_state.capture(model), model.exported_values()
    assert not np.array_equal(weights["model/" + model.classifier.kernel.name], average[model.classifier.kernel.name])
    validation = tf.data.Dataset.from_tensors(batch)
    of_average = model.evaluate(validation, return_dict=True, verbose=0)
    confusion = model.confusion
    after = model_state.capture(model)
    assert all(np.array_equal(array, after[name]) for name, array in weights.items() if not name.startswith("metric/"))
    BestEpochCallback(settings, History()).select(model, step=3)
    assert all(np.array_equal(variable.numpy(), average[variable.name]) for variable in model.variables)
    measured = evaluate(labels.astype(np.int64), model(batch[0]).numpy().astype(np.float64))
    assert of_average["loss"] == pytest.approx(measured.loss, rel=1e-5)
    assert confusion.tolist() == [list(row) for row in measured.confusion_matrix]


def overfitting(folder: Path) -> TrainingJob:
    """Return a job whose validation loss first falls and then rises: a third of its validation labels are wrong."""
    job = TrainingJob(folder)
    records: list[dict[str, Any]] = [*examples(60, LENGTH, seed=7)]
    for record in records[::3]:
        record["label_ids"] = [(record["label_ids"][0] + 2) % 5]
    write_records(job.channel("validation") / "part-algo-1-reviews.tfrecord", iter(records))
    return job


def finished(job: TrainingJob, settings: Mapping[str, str]) -> Outcome:
    outcome = job.run(**settings)
    assert outcome.exit_code == 0, outcome.log + outcome.failure
    return outcome


def validation_losses(outcome: Outcome) -> list[float]:
    return [epoch["validation_loss"] for epoch in outcome.run["history"]["epochs"]]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> TrainingJob:
    return overfitting(tmp_path_factory.mktemp("overfit"))


@pytest.fixture(scope="module")
def early(job: TrainingJob) -> Outcome:
    return finished(job, EARLY)


def weights_of_epoch(job: TrainingJob, epoch: int) -> dict[str, Any]:
    (folder,) = (job.root / "checkpoints").glob(f"step-{3 * epoch:08d}-epochs-{epoch:02d}")
    tensors = load_file(folder / "tensors.safetensors")
    return {name: array for name, array in tensors.items() if name.startswith("model/")}


@pytest.mark.slow
def test_a_planted_overfit_ends_early_and_exports_its_best_epoch(job: TrainingJob, early: Outcome) -> None:
    found, exported = validation_losses(early), early.run["exported"]
    best = int(np.argmin(found)) + 1
    assert 1 < best == len(found) - 2 < 10
    assert (exported["epoch"], exported["best_value"], exported["ended_early"]) == (best, min(found), True)
    assert early.run["steps"] == {"done": 3 * len(found), "of": 36, "skipped": []}
    tensors = load_file(early.root / EXPORTED)
    for epoch, same in ((best, True), (len(found), False)):
        kept = weights_of_epoch(job, epoch)
        (word_embeddings,) = (array for name, array in kept.items() if "word_embeddings" in name)
        equal = np.array_equal(tensors["distilbert.embeddings.word_embeddings.weight"], word_embeddings)
        assert equal == same


@pytest.mark.slow
@pytest.mark.parametrize("before_the_end", [1, 5, pytest.param(0, marks=pytest.mark.long)])
def test_a_resumed_run_ends_at_the_same_epoch_with_the_same_weights(
    job: TrainingJob, early: Outcome, tmp_path: Path, before_the_end: int
) -> None:
    resumed = overfitting(tmp_path)
    shutil.copytree(job.root / "checkpoints", resumed.root / "checkpoints")
    folders = sorted((resumed.root / "checkpoints").glob("step-*"))
    for folder in folders[len(folders) - before_the_end :]:
        shutil.rmtree(folder)
    outcome = finished(resumed, EARLY)
    assert outcome.run["history"] == early.run["history"]
    assert outcome.run["exported"] == early.run["exported"]
    assert (outcome.root / EXPORTED).read_bytes() == (early.root / EXPORTED).read_bytes()


@pytest.mark.slow
def test_by_default_all_epochs_are_trained_and_the_last_is_exported(early: Outcome, tmp_path: Path) -> None:
    settings = SETTINGS | {"export_epoch": "last", "enable_checkpointing": "False", "epochs": "5"}
    last = finished(overfitting(tmp_path), settings)
    exported = last.run["exported"]
    assert (exported["epoch"], exported["why"], exported["ended_early"]) == (5, "export_epoch=last", False)
    assert validation_losses(last) == validation_losses(early)[:5], "what is exported changes no loss"
    assert (last.root / EXPORTED).read_bytes() != (early.root / EXPORTED).read_bytes()


@pytest.mark.slow
@pytest.mark.long
def test_a_run_without_its_best_weights_is_another_run(tmp_path: Path) -> None:
    job = overfitting(tmp_path)
    finished(job, SETTINGS | {"export_epoch": "last", "epochs": "1"})
    refused = job.run(**SETTINGS)
    assert refused.exit_code == 13
    assert "best by validation_loss" in refused.failure
