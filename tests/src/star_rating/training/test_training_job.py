"""A whole training job in this process: what it leaves, and how each bad input ends it."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file, save_file

from star_rating.failures import ExitCode
from star_rating.hyperparameters import Hyperparameters
from star_rating.results import run_record
from tests.helpers.hosts_job import free_ports
from tests.helpers.tensorboard_events import read
from tests.helpers.training_job import LENGTH, RECORDS, Outcome, TrainingJob, examples, write_records


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> TrainingJob:
    return TrainingJob(tmp_path_factory.mktemp("job"))


@pytest.fixture(scope="module")
def outcome(job: TrainingJob) -> Outcome:
    return job.run(epochs="2", learning_rate="0.002")


def test_it_succeeds_and_says_nothing_on_stderr(outcome: Outcome) -> None:
    assert outcome.exit_code == 0, outcome.log
    assert outcome.stderr == ""
    assert outcome.failure == ""


ARTIFACTS = """code/inference.py code/requirements.txt metrics/confusion_matrix.png metrics/evaluation.json
metrics/model_quality.json metrics/predictions.csv metrics/training_curves.png run.json
tensorflow/saved_model/0/saved_model.pb
transformers/fine-tuned/config.json transformers/fine-tuned/model.safetensors transformers/fine-tuned/tokenizer.json
transformers/fine-tuned/tokenizer_config.json"""


@pytest.mark.parametrize("name", ARTIFACTS.split())
def test_an_artifact_is_there(outcome: Outcome, name: str) -> None:
    assert (outcome.root / "model" / name).stat().st_size > 0


def test_nothing_else_is_in_the_model(outcome: Outcome) -> None:
    assert sorted(path.name for path in (outcome.root / "model").iterdir()) == [
        "code",
        "metrics",
        "run.json",
        "tensorflow",
        "transformers",
    ]


def test_the_model_learns_and_the_log_has_every_line_that_metrics_are_read_from(outcome: Outcome) -> None:
    first, second = outcome.run["history"]["epochs"]
    assert second["loss"] < first["loss"]
    assert re.search(r"epoch 2/2 step 6/6 train:loss=\S+ train:accuracy=\S+ train:learning_rate=0.002 ", outcome.log)
    assert re.search(r"epoch 2/2 ended .* validation:loss=\S+ validation:accuracy=\S+\n", outcome.log)
    assert re.search(r"test test:loss=\S+ test:accuracy=\S+ ", outcome.log)


def test_the_transformers_config_names_the_stars(outcome: Outcome) -> None:
    config = json.loads((outcome.root / "model/transformers/fine-tuned/config.json").read_text())
    assert config["id2label"] == {"0": "1", "1": "2", "2": "3", "3": "4", "4": "5"}


def test_the_saved_model_takes_any_batch_and_length(outcome: Outcome) -> None:
    loaded = tf.saved_model.load(str(outcome.root / "model/tensorflow/saved_model/0"))
    serve = loaded.signatures["serving_default"]
    for batch, length in ((1, 3), (4, LENGTH)):
        ones = tf.ones([batch, length], tf.int32)
        answer = serve(input_ids=ones * 5, input_mask=ones)
        assert answer["logits"].shape == answer["probabilities"].shape == (batch, 5)
        assert np.allclose(answer["probabilities"].numpy().sum(axis=1), 1)


def test_predictions_hold_a_row_a_record_and_no_text(outcome: Outcome) -> None:
    with (outcome.root / "model/metrics/predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == RECORDS["test"]
    assert list(rows[0]) == ["record", "star_rating", "predicted", "p1", "p2", "p3", "p4", "p5"]
    by_length, mistakes = outcome.evaluation["by_length"], outcome.evaluation["most_confident_mistakes"]
    assert sum(group["records"] for group in by_length) == len(rows)
    assert all(group["longest"] <= 64 for group in by_length)
    assert all(rows[entry["record"]]["predicted"] == str(entry["predicted"]) for entry in mistakes)
    accuracy = np.mean([row["star_rating"] == row["predicted"] for row in rows])
    assert accuracy == pytest.approx(outcome.evaluation["metrics"]["accuracy"]["value"])


@pytest.mark.slow
def test_the_inference_code_predicts_from_the_exports_alone(outcome: Outcome, tmp_path: Path) -> None:
    shutil.copytree(outcome.root / "model", tmp_path / "model")
    command = [sys.executable, str(tmp_path / "model/code/inference.py"), "the best", "the worst book"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert re.fullmatch(r"[1-5] stars \(\d+%\)  the best\n[1-5] stars \(\d+%\)  the worst book\n", said)


@pytest.mark.slow
def test_the_temperature_that_validation_gives_is_in_the_saved_model_and_in_what_is_recorded(tmp_path: Path) -> None:
    job = TrainingJob(tmp_path)
    write_records(job.channel("validation") / "part-algo-1-reviews.tfrecord", examples(60, LENGTH, seed=7))
    outcome = job.run(epochs="2", learning_rate="0.01")

    document = json.loads((outcome.root / "model/transformers/fine-tuned/calibration.json").read_text())
    assert document["fitted_on"] == 60
    assert document["temperature"] != 1
    assert outcome.run["calibration"].items() > document.items()
    assert outcome.evaluation["calibration"].keys() == {*document, "loss", "expected_calibration_error"}
    assert outcome.evaluation["metrics"]["loss"]["value"] == outcome.evaluation["calibration"]["loss"]["before"]
    ones = tf.ones([3, LENGTH], tf.int32)
    answer = tf.saved_model.load(str(outcome.root / "model/tensorflow/saved_model/0")).signatures["serving_default"](
        input_ids=ones * tf.constant([[5], [12], [19]]), input_mask=ones
    )
    expected = tf.nn.softmax(answer["logits"] / document["temperature"])
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-6)


def test_the_run_record_says_what_ran(outcome: Outcome) -> None:
    run = outcome.run
    assert (
        run["hyperparameters"]
        == Hyperparameters(epochs=2, max_seq_length=LENGTH, train_batch_size=20, learning_rate=0.002).as_dict()
    )
    assert run["channels"]["train"]["records"] == RECORDS["train"]
    assert len(run["channels"]["train"]["sha256"]) == len(run["weights"]["sha256"]) == 64
    assert run["acceleration"]["compute_dtype"] == "float32"
    assert run["largest_export_difference"] < 1e-4
    assert run["versions"]["transformers"]


def test_the_run_record_names_the_image_by_what_the_dockerfile_put_into_its_environment() -> None:
    environment = {"IMAGE_VERSION": "1.2.3", "IMAGE_REVISION": "0123", "HOME": "/"}
    assert run_record.image(environment) == {"version": "1.2.3", "revision": "0123"}


def losses(outcome: Outcome) -> list[str]:
    return re.findall(r"(?:train|validation|test):loss=(\S+)", outcome.log)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_losses_to_the_last_digit_and_another_seed_others(
    job: TrainingJob, outcome: Outcome
) -> None:
    again = losses(job.run(epochs="2", learning_rate="0.002"))
    assert again == losses(outcome)
    assert again != losses(job.run(epochs="2", learning_rate="0.002", seed="43"))


@pytest.mark.slow
def test_tensorboard_files_are_in_the_model_if_asked(tmp_path: Path) -> None:
    outcome = TrainingJob(tmp_path).run(enable_tensorboard="True", tensorboard_in_model="True", log_every_steps="1")
    board = outcome.root / "model" / "tensorboard"
    train, validation, test = (read(board / run) for run in ("train", "validation", "test"))
    assert {name: list(steps) for name, steps in train.items() if not name.startswith("weights/")} == {
        "loss": [1, 2, 3],
        "accuracy": [1, 2, 3],
        "hyperparameters": [0],
    }
    kernel = train["weights/distilbert_classifier/distilbert/layer_1/lin2/kernel"]
    assert list(kernel) == [0, 3]
    assert kernel[3][1][:, 2].sum() == 32 * 64
    assert b"| train_batch_size | 20 |" in train["hyperparameters"][0][1].item()
    entry = outcome.run["history"]["epochs"][-1]
    assert validation["accuracy"][3][1] == pytest.approx(entry["validation_accuracy"])
    assert test["accuracy"][3][1] == pytest.approx(outcome.evaluation["metrics"]["accuracy"]["value"])
    picture = (outcome.root / "model" / "metrics" / "confusion_matrix.png").read_bytes()
    assert test["confusion matrix"][3][1][2] == picture
    assert len(re.findall(r" step \d/3 ", outcome.log)) == 3


@pytest.mark.slow
def test_a_model_that_has_diverged_is_still_exported(tmp_path: Path) -> None:
    assert TrainingJob(tmp_path).run(learning_rate="10", epochs="3").exit_code == 0


@pytest.mark.slow
@pytest.mark.parametrize("length", [64, 128])
def test_tfrecords_made_elsewhere_are_trained_at_their_own_length(tmp_path: Path, length: int) -> None:
    outcome = TrainingJob(tmp_path, length).run(max_seq_length=str(length))
    assert outcome.exit_code == 0, outcome.log


@pytest.mark.slow
def test_a_model_continues_from_its_own_export_with_its_head(job: TrainingJob, outcome: Outcome) -> None:
    folder = outcome.root / "model/transformers/fine-tuned"
    again = job.run(model=str(folder), learning_rate="1e-7", train_batch_size="60")
    first, last = again.run["history"]["epochs"][0]["loss"], outcome.run["history"]["epochs"][-1]["loss"]
    assert abs(first - last) < 0.1, "the head was not taken along"


Spoil = Callable[[TrainingJob], object]
PART = "part-algo-1-reviews.tfrecord"


def one_class(job: TrainingJob) -> None:
    same = ({**features, "label_ids": [4]} for features in examples(9, LENGTH, seed=0))
    write_records(job.channel("train") / PART, same)


def truncated_record(job: TrainingJob) -> None:
    file = job.channel("train") / PART
    file.write_bytes(file.read_bytes()[:-5])


def no_tfrecord(job: TrainingJob) -> None:
    (job.channel("train") / PART).write_text("star_rating\treview_body\n5\tgreat\n")


def label_out_of_range(job: TrainingJob) -> None:
    six_stars = ({**features, "label_ids": [5]} for features in examples(3, LENGTH, seed=0))
    write_records(job.channel("train") / "extra.tfrecord", six_stars)


def missing_feature(job: TrainingJob) -> None:
    without = ({k: v for k, v in features.items() if k != "input_mask"} for features in examples(3, LENGTH, seed=0))
    write_records(job.channel("train") / "extra.tfrecord", without)


def other_length(job: TrainingJob) -> None:
    write_records(job.channel("train") / "extra.tfrecord", examples(3, 2 * LENGTH, seed=0))


def empty_channel(job: TrainingJob) -> None:
    (job.channel("train") / PART).unlink()


def missing_channel(job: TrainingJob) -> None:
    shutil.rmtree(job.channel("train"))


def unreadable_weights(job: TrainingJob) -> None:
    weights = job.weights / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


BAD_INPUTS: dict[Spoil, tuple[ExitCode, str]] = {
    missing_channel: (ExitCode.DATA, "no channel 'train'"),
    empty_channel: (ExitCode.DATA, "holds no *.tfrecord file"),
    no_tfrecord: (ExitCode.DATA, "is not a TFRecord file"),
    truncated_record: (ExitCode.DATA, "ends in the middle of a record"),
    other_length: (ExitCode.DATA, f"input_ids holds {2 * LENGTH} values, max_seq_length is {LENGTH}"),
    label_out_of_range: (ExitCode.DATA, "label_ids is 5"),
    missing_feature: (ExitCode.DATA, "feature input_mask is missing"),
    one_class: (ExitCode.DATA, "there is nothing to learn"),
    unreadable_weights: (ExitCode.WEIGHTS, "model.safetensors is damaged"),
}


@pytest.mark.parametrize("spoil", BAD_INPUTS, ids=lambda spoil: spoil.__name__)
def test_a_bad_input_ends_the_job_before_training_with_one_clear_sentence(tmp_path: Path, spoil: Spoil) -> None:
    job = TrainingJob(tmp_path)
    spoil(job)
    outcome = job.run()
    exit_code, said = BAD_INPUTS[spoil]
    assert outcome.exit_code == exit_code
    assert said in outcome.failure
    assert len(outcome.failure) <= 1024
    assert outcome.stderr == f"error: {outcome.failure}\n"
    assert "Traceback" not in outcome.log
    assert "train:loss" not in outcome.log
    assert not list((outcome.root).glob("model/*"))


@pytest.mark.parametrize(
    ("hyperparameters", "said"),
    [
        ({"epochs": "many"}, "epochs is 'many'"),
        ({"learning_rat": "1"}, "Did you mean learning_rate?"),
        ({"model": "/nowhere"}, "/nowhere"),
    ],
)
def test_a_bad_hyperparameter_ends_the_job_before_data_is_read(
    job: TrainingJob, hyperparameters: dict[str, str], said: str
) -> None:
    outcome = job.run(**hyperparameters)
    assert outcome.exit_code in (ExitCode.HYPERPARAMETER, ExitCode.WEIGHTS)
    assert said in outcome.failure
    assert outcome.stderr == f"error: {outcome.failure}\n"
    assert "channel train" not in outcome.log


def test_a_host_that_never_comes_is_named_before_anything_is_read(
    job: TrainingJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SM_HOSTS", '["algo-1", "algo-2"]')
    monkeypatch.setenv("TRAINING_PORT", str(free_ports()))
    outcome = job.run(host_wait_minutes="0.01")
    assert outcome.exit_code == ExitCode.HOST_LOST
    assert "Host algo-2 did not come within 0.01 min; 1 of 2 hosts are here" in outcome.failure
    assert "channel train" not in outcome.log


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        # Everything has to do with it; a ReLU of oneDNN makes 0 of NaN, so that the loss may not show it.
        ("transformer.layer.0.ffn.lin1", r"(loss is nan|weights hold NaN or infinity) at step 1\b.* Lower"),
        # No review reaches the last position: the loss never shows it.
        ("embeddings.position_embeddings", r"weights hold NaN or infinity at step \d, first in \S+/position_em"),
    ],
)
def test_weights_that_are_not_finite_end_the_job_whatever_the_loss(tmp_path: Path, tensor: str, said: str) -> None:
    job = TrainingJob(tmp_path)
    tensors = load_file(job.weights / "model.safetensors")
    tensors[f"distilbert.{tensor}.weight"][-1, 0] = np.finfo(np.float32).max  # which the first step's decay doubles
    save_file(tensors, job.weights / "model.safetensors", metadata={"format": "pt"})
    outcome = job.run(enable_sagemaker_debugger="False", weight_decay="1", learning_rate="3")
    assert outcome.exit_code == ExitCode.LOSS_NOT_FINITE
    assert re.search(said, outcome.failure)
    assert "Traceback" not in outcome.log


@pytest.mark.slow
def test_a_channel_that_is_changed_while_it_is_read_is_no_defect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = TrainingJob(tmp_path)
    file = job.channel("train") / PART

    def cut_off(_: object) -> None:
        file.write_bytes(file.read_bytes()[:-5])

    # Called once the channels have been checked.
    monkeypatch.setattr("star_rating.training.trainer.require_several_classes", cut_off)
    outcome = job.run(enable_sagemaker_debugger="False")
    assert outcome.exit_code == ExitCode.DATA
    assert "was changed or removed since" in outcome.failure
    assert "Traceback" not in outcome.log


def test_a_defect_keeps_its_traceback_in_the_log_and_out_of_the_failure(
    job: TrainingJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("star_rating.training.trainer.require_several_classes", lambda _: 1 / 0)
    outcome = job.run()
    assert outcome.exit_code == ExitCode.BUG
    assert "ZeroDivisionError" in outcome.failure
    assert "Traceback" not in outcome.failure + outcome.stderr
    assert "Traceback" in outcome.log


def test_the_toolkits_own_exit_code_is_overruled(
    job: TrainingJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRAINING_EXIT_CODE_FILE", str(tmp_path / "code"))
    job.run(epochs="0")
    assert (tmp_path / "code").read_text() == str(int(ExitCode.HYPERPARAMETER))
