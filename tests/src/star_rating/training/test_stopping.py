"""A job that is stopped leaves a usable model of what it has, says so, and has not failed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.helpers.signals import signal_at
from tests.helpers.training_job import TrainingJob

SETTINGS = {"train_batch_size": "10", "enable_sagemaker_debugger": "False"}


@pytest.mark.slow
def test_stopped_in_training_it_exports_evaluates_nothing_and_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal_at(monkeypatch, "on_train_batch_end", 4)
    outcome = TrainingJob(tmp_path).run(**SETTINGS)
    assert outcome.exit_code == 0, outcome.log
    assert outcome.failure == outcome.stderr == ""
    assert outcome.run["steps"]["done"] == 4
    assert outcome.run["stopped"]["signal"] == "SIGTERM"
    assert 0 < outcome.run["stopped"]["seconds"] < 30
    assert outcome.run["test"] is None
    assert outcome.run["largest_export_difference"] < 1e-4
    assert not (outcome.root / "model/metrics/evaluation.json").exists()
    assert not (outcome.root / "checkpoints").exists()
    assert re.search(r"stopping at step 4 of 6, [\d.]+ s after SIGTERM asked for it", outcome.log)


@pytest.mark.slow
def test_stopped_in_its_evaluation_it_has_the_trained_model_and_no_test_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Six steps and a validation batch come before, and this again for calibration; the test channel has three batches.
    signal_at(monkeypatch, "between_batches", 9)
    outcome = TrainingJob(tmp_path).run(**SETTINGS, test_batch_size="10")
    assert outcome.exit_code == 0, outcome.log
    assert outcome.run["steps"]["done"] == outcome.run["steps"]["of"] == 6
    assert outcome.run["stopped"]["signal"] == "SIGTERM"
    assert outcome.run["test"] is None
    assert "the test channel is not evaluated" in outcome.log
