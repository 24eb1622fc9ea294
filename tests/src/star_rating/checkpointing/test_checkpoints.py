"""A job that starts again ends as if it had never been interrupted, to the last bit, wherever that was."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from observability.rules.tensor_reader import TensorReader
from star_rating.checkpointing.checkpoints import require_space
from star_rating.checkpointing.store import STAGING_FOLDER, STATE, TENSORS, CheckpointStore
from star_rating.failures import DiskFullError, ExitCode
from tests.helpers.signals import signal_at
from tests.helpers.training_job import Outcome, TrainingJob

SETTINGS = {
    "epochs": "2",
    "train_batch_size": "13",  # 60 records: four full batches and one of eight
    "log_every_steps": "2",
    "enable_checkpointing": "True",
    "checkpoint_every_steps": "1",
    "checkpoints_kept": "100",
    "enable_sagemaker_debugger": "False",
    "run_test": "False",
    "run_sample_predictions": "False",
}
STEPS = 10
VARIANTS = {
    "linear schedule, weight decay, clipping": {
        "learning_rate_schedule": "linear",
        "weight_decay": "0.1",
        "gradient_clip_norm": "0.5",
    },
    "epochs that are not passes": {"train_steps_per_epoch": "7"},
    "no validation": {"run_validation": "False"},
    "frozen body": {"freeze_bert_layer": "True"},
    "skipping": {"skip_nonfinite_steps": "3"},
    "bfloat16": {"use_amp": "True"},
    "XLA": {"use_xla": "True"},
    "a recipe": {
        "learning_rate_schedule": "cosine",
        "loss": "ordinal",
        "label_smoothing": "0.1",
        "class_weights": "balanced",
        "r_drop": "0.5",
    },
    "rates by layer, moving average, pooling": {
        "pooling": "mean",
        "layer_learning_rate_decay": "0.9",
        "gradual_unfreezing": "0.8",
        "weight_average_decay": "0.9",
    },
}
IN_CI = {
    "schedule, epochs, skipping, bfloat16, rates by layer, moving average, pooling": VARIANTS[
        "linear schedule, weight decay, clipping"
    ]
    | VARIANTS["epochs that are not passes"]
    | VARIANTS["skipping"]
    | VARIANTS["bfloat16"]
    | VARIANTS["rates by layer, moving average, pooling"],
    "no validation, frozen body, XLA, a recipe": VARIANTS["no validation"]
    | VARIANTS["frozen body"]
    | VARIANTS["XLA"]
    | VARIANTS["a recipe"],
}
"""The same settings, several in a run."""


def in_ci(*steps: int) -> list[Any]:
    """Return every step of the run; those that are not named are of the long tier."""
    return [step if step in steps else pytest.param(step, marks=pytest.mark.long) for step in range(1, STEPS + 1)]


def checkpoints(job: TrainingJob) -> list[Path]:
    return sorted((job.root / "checkpoints").glob("step-*"))


def state(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / STATE).read_text())
    return document


def killed_after(step: int, job: TrainingJob, folder: Path) -> TrainingJob:
    """Return a job as SIGKILL would have left it after this step: with the checkpoints up to there, and no more."""
    killed = TrainingJob(folder)
    shutil.copytree(job.root / "checkpoints", killed.root / "checkpoints")
    for later in checkpoints(killed):
        if state(later)["step"] > step:
            shutil.rmtree(later)
    return killed


def assert_same_end(resumed: Outcome, uninterrupted: Outcome) -> None:
    assert resumed.exit_code == 0, resumed.log
    assert resumed.run["history"] == uninterrupted.run["history"]
    last = [max((outcome.root / "checkpoints").glob("step-*")) for outcome in (resumed, uninterrupted)]
    assert last[0].name == last[1].name
    assert (last[0] / TENSORS).read_bytes() == (last[1] / TENSORS).read_bytes(), "weights, slots or counters differ"
    exported = "model/transformers/fine-tuned/model.safetensors"
    assert (resumed.root / exported).read_bytes() == (uninterrupted.root / exported).read_bytes()


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> TrainingJob:
    return TrainingJob(tmp_path_factory.mktemp("uninterrupted"))


@pytest.fixture(scope="module")
def uninterrupted(job: TrainingJob) -> Outcome:
    outcome = job.run(**SETTINGS)
    assert outcome.exit_code == 0, outcome.log
    return outcome


@pytest.mark.slow
def test_a_job_killed_within_an_epoch_ends_as_if_it_had_not_been(
    job: TrainingJob, uninterrupted: Outcome, tmp_path: Path
) -> None:
    killed = killed_after(3, job, tmp_path)
    resumed = killed.run(**SETTINGS)
    assert "step 3, 0 epoch(s) ended" in resumed.log
    assert resumed.run["checkpoints"]["resumed_from_step"] == 3
    assert_same_end(resumed, uninterrupted)


@pytest.mark.slow
def test_a_job_stopped_in_validation_leaves_a_model_and_ends_as_if_it_had_not_been(
    uninterrupted: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = TrainingJob(tmp_path)
    with monkeypatch.context() as patch:
        signal_at(patch, "on_test_batch_end", 1)
        stopped = job.run(**SETTINGS, validation_batch_size="7")
    assert stopped.exit_code == 0, stopped.log
    assert stopped.run["stopped"]["signal"] == "SIGTERM"
    assert stopped.run["steps"] == {"done": 5, "of": STEPS, "skipped": []}
    assert (stopped.root / "model/tensorflow/saved_model/0/saved_model.pb").exists()
    assert re.search(r"stopped by SIGTERM at step 5, [\d.]+ s ago", stopped.log)
    assert checkpoints(job)[-1].name == "step-00000005-epochs-00"
    resumed = job.run(**SETTINGS)
    assert_same_end(resumed, uninterrupted)
    assert resumed.run["stopped"] is None


@pytest.mark.slow
@pytest.mark.parametrize("step", in_ci(1))  # 3, 6 and 10 have tests of their own
def test_killed_after_any_step(job: TrainingJob, uninterrupted: Outcome, tmp_path: Path, step: int) -> None:
    assert_same_end(killed_after(step, job, tmp_path).run(**SETTINGS), uninterrupted)


@pytest.mark.slow
@pytest.mark.parametrize("step", in_ci(7))  # 5 has a test of its own
def test_stopped_after_any_step(
    uninterrupted: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    job = TrainingJob(tmp_path)
    rarely = {**SETTINGS, "checkpoint_every_steps": "0"}
    with monkeypatch.context() as patch:
        signal_at(patch, "on_train_batch_end", step)
        stopped = job.run(**rarely)
    assert stopped.exit_code == 0, stopped.log
    assert stopped.run["steps"]["done"] == step
    assert state(checkpoints(job)[-1])["step"] == step
    assert_same_end(job.run(**rarely), uninterrupted)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*IN_CI, *(pytest.param(name, marks=pytest.mark.long) for name in VARIANTS)])
def test_killed_in_a_run_with(name: str, tmp_path: Path) -> None:
    settings = SETTINGS | (IN_CI | VARIANTS)[name]
    job = TrainingJob(tmp_path / "a")
    uninterrupted = job.run(**settings)
    assert uninterrupted.exit_code == 0, uninterrupted.log
    assert_same_end(killed_after(4, job, tmp_path / "b").run(**settings), uninterrupted)


@pytest.mark.slow
def test_interrupted_again_and_again(
    uninterrupted: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scaled: Callable[..., int]
) -> None:
    job = TrainingJob(tmp_path)
    for _ in range(scaled(4, in_ci=2)):
        with monkeypatch.context() as patch:
            signal_at(patch, "on_train_batch_end", 2)
            assert job.run(**SETTINGS).exit_code == 0
    assert_same_end(job.run(**SETTINGS), uninterrupted)


@pytest.mark.slow
def test_more_epochs_than_before_go_on_as_if_they_had_been_asked_for(uninterrupted: Outcome, tmp_path: Path) -> None:
    job = TrainingJob(tmp_path)
    job.run(**{**SETTINGS, "epochs": "1"})
    assert_same_end(job.run(**SETTINGS), uninterrupted)


@pytest.mark.slow
def test_a_job_whose_training_was_complete_goes_straight_to_evaluation_and_export(
    job: TrainingJob, uninterrupted: Outcome, tmp_path: Path
) -> None:
    complete = killed_after(STEPS, job, tmp_path)
    again = complete.run(**{**SETTINGS, "run_test": "True"})
    assert_same_end(again, uninterrupted)
    assert "train:loss" not in again.log
    assert again.run["seconds"]["first_step"] is None
    assert again.evaluation["records"] == 25


@pytest.mark.slow
def test_the_debugger_sees_a_resumed_run(job: TrainingJob, uninterrupted: Outcome, tmp_path: Path) -> None:
    killed = killed_after(5, job, tmp_path)
    shutil.rmtree(checkpoints(killed)[-1])  # the end of the epoch; its last step is left, and validation is due
    outcome = killed.run(**{**SETTINGS, "enable_sagemaker_debugger": "True"})
    assert outcome.run["debugger"]["enabled"], outcome.log
    assert outcome.run["history"] == uninterrupted.run["history"]


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_smdebug")
def test_a_stopped_job_whose_hook_saves_gradients_saves_those_of_one_that_was_not_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**SETTINGS, "enable_sagemaker_debugger": "True"}
    job, interrupted = (with_gradients(TrainingJob(tmp_path / name)) for name in ("a", "b"))
    uninterrupted = job.run(**settings)
    with monkeypatch.context() as patch:
        signal_at(patch, "on_train_batch_end", 4)
        stopped = interrupted.run(**settings)
    assert stopped.run["stopped"]["signal"] == "SIGTERM"
    before = saved_gradients(stopped)
    resumed = interrupted.run(**settings)
    assert_same_end(resumed, uninterrupted)
    after = saved_gradients(resumed)
    assert (list(before), list(after)) == ([0, 1, 2, 3], list(range(4, STEPS)))
    assert before | after == saved_gradients(uninterrupted)


def with_gradients(job: TrainingJob) -> TrainingJob:
    """Have the job's hook save the gradients of each step."""
    config = job.root / "input" / "config" / "debughookconfig.json"
    config.parent.mkdir(parents=True)
    gradients = {"CollectionName": "gradients", "CollectionParameters": {"save_interval": "1"}}
    config.write_text(json.dumps({"CollectionConfigurations": [gradients]}))
    return job


def saved_gradients(outcome: Outcome) -> dict[int, dict[str, bytes]]:
    """Return the gradients by training step and name; their folder must be whole and closed."""
    trial = TensorReader(Path(outcome.run["debugger"]["out_dir"]))
    assert trial.has_ended
    saved = {
        step.mode_step: {name: step.value(name).tobytes() for name in step.names(["gradients"])}
        for step in trial.new_steps(final=True)
        if step.mode == "TRAIN"
    }
    assert all(saved.values())
    return saved


@pytest.mark.slow
def test_a_damaged_newest_checkpoint_costs_a_step(job: TrainingJob, uninterrupted: Outcome, tmp_path: Path) -> None:
    killed = killed_after(7, job, tmp_path)
    newest = checkpoints(killed)[-1] / TENSORS
    newest.write_bytes(newest.read_bytes()[:-1])
    resumed = killed.run(**SETTINGS)
    assert "step-00000007-epochs-01 is damaged and passed over" in resumed.log
    assert resumed.run["checkpoints"]["resumed_from_step"] == 6
    assert_same_end(resumed, uninterrupted)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train_batch_size": "12"}, "train_batch_size is 13 there and 12 in this job"),
        ({"seed": "1"}, "seed is 42 there and 1 in this job"),
        ({"epochs": "1"}, "is at step 10, and epochs=1 is over at step 5. Set epochs to 2"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_with_what_differs(
    job: TrainingJob, uninterrupted: Outcome, tmp_path: Path, changes: dict[str, str], said: str
) -> None:
    del uninterrupted
    outcome = killed_after(STEPS, job, tmp_path).run(**SETTINGS | changes)
    assert outcome.exit_code == ExitCode.CONFIGURATION
    assert said in outcome.failure


@pytest.mark.slow
def test_a_checkpoint_of_other_data_is_refused(job: TrainingJob, uninterrupted: Outcome, tmp_path: Path) -> None:
    del uninterrupted
    other = killed_after(STEPS, job, tmp_path)
    shutil.copy(other.channel("test") / "part-algo-1-reviews.tfrecord", other.channel("train"))
    outcome = other.run(**SETTINGS, train_steps_per_epoch="5")
    assert outcome.exit_code == ExitCode.CONFIGURATION
    assert "train channel (sha256) is " in outcome.failure


@pytest.mark.slow
def test_a_checkpoint_that_cannot_be_written_costs_no_training(tmp_path: Path) -> None:
    job = TrainingJob(tmp_path)
    in_the_way = job.root / "checkpoints" / STAGING_FOLDER
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("a file, where the folder of a checkpoint is to be made")
    outcome = job.run(**{**SETTINGS, "epochs": "1"})
    assert outcome.exit_code == 0, outcome.log
    assert outcome.run["checkpoints"]["failed"] == outcome.log.count("is not written, training goes on") == 5
    assert outcome.run["checkpoints"]["written"] == 0


def test_a_path_that_cannot_be_written_is_said_before_training(tmp_path: Path) -> None:
    job = TrainingJob(tmp_path)
    (job.root / "checkpoints").write_text("a file")
    outcome = job.run(**SETTINGS)
    assert outcome.exit_code == ExitCode.CONFIGURATION
    assert "checkpoints cannot be written by user" in outcome.failure
    assert "train:loss" not in outcome.log


def test_a_disk_that_is_too_small_is_said_before_training(tmp_path: Path) -> None:
    with pytest.raises(DiskFullError, match=r"checkpoints need 4,000,000,000 MB.*lower checkpoints_kept"):
        require_space(CheckpointStore(tmp_path / "checkpoints", kept=2), 10**15)


@pytest.mark.slow
def test_the_cost_is_in_the_run_record(uninterrupted: Outcome) -> None:
    record = uninterrupted.run["checkpoints"]
    assert record["written"] == STEPS
    assert record["newest"] == "step-00000010-epochs-02"
    assert 0 < record["share"] == pytest.approx(record["seconds"] / uninterrupted.run["seconds"]["fit"])
