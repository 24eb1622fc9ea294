"""enable_checkpointing: a job that starts again goes on where the last epoch ended, as if it had never stopped."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from training_job import Outcome, TrainingJob

from star_rating.failures import ExitCode

pytestmark = pytest.mark.slow

SETTINGS = {"enable_checkpointing": "True", "enable_sagemaker_debugger": "False", "train_steps_per_epoch": "5"}


def epoch_losses(outcome: Outcome) -> list[str]:
    return re.findall(r"ended after \S+ s train:loss=(\S+)", outcome.log)


def test_a_resumed_job_has_the_losses_of_an_uninterrupted_one(tmp_path: Path) -> None:
    uninterrupted = TrainingJob(tmp_path / "a").run(epochs="3", **SETTINGS)
    job = TrainingJob(tmp_path / "b")
    job.run(epochs="1", **SETTINGS)
    resumed = job.run(epochs="3", **SETTINGS)
    assert "1 epoch(s) done" in resumed.log
    assert epoch_losses(resumed) == epoch_losses(uninterrupted)[1:]


def test_a_checkpoint_of_other_data_is_refused(tmp_path: Path) -> None:
    job = TrainingJob(tmp_path)
    job.run(**SETTINGS)
    shutil.copy(job.channel("test") / "part-algo-1-reviews.tfrecord", job.channel("train"))
    outcome = job.run(**SETTINGS)
    assert outcome.exit_code == ExitCode.CONFIGURATION
    assert "train channel differ" in outcome.failure
