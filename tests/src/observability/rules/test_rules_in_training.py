"""Rules while a real, tiny model trains: silent on a healthy run, right about sick ones, and able to stop them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tf_keras

from observability.rules import command
from star_rating.model.distilbert import DistilBertClassifier
from star_rating.model.train_step import build_model
from star_rating.training import trainer
from tests.helpers.training_job import LENGTH, Outcome, TrainingJob, examples, write_records

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("fresh_smdebug")]

SAVED = ("losses", "metrics", "weights", "biases", "gradients")


@pytest.fixture
def job(tmp_path: Path) -> TrainingJob:
    """A job whose hook saves everything at each fifth step."""
    job = TrainingJob(tmp_path)
    config = job.root / "input" / "config"
    config.mkdir(parents=True)
    hook = {
        "HookParameters": {"save_interval": "5"},
        "CollectionConfigurations": [{"CollectionName": name} for name in SAVED],
    }
    (config / "debughookconfig.json").write_text(json.dumps(hook))
    return job


@pytest.fixture
def no_artifacts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the exports, which take longer than such a training."""
    monkeypatch.setattr(trainer.Trainer, "export", lambda *_: 0.0)
    monkeypatch.setattr(trainer.Trainer, "evaluate", lambda *_: None)


def train(job: TrainingJob, **hyperparameters: str) -> Outcome:
    settings = {
        "enable_profiler": "False",
        "epochs": "30",
        "train_batch_size": "10",
        "learning_rate": "0.003",
        "run_sample_predictions": "False",
    }
    outcome = job.run(**(settings | hyperparameters))
    assert outcome.exit_code == 0, outcome.log + outcome.stderr
    assert outcome.run["debugger"]["rules"]["error"] is None
    return outcome


def found(outcome: Outcome) -> set[str]:
    """Rules that have found an issue, as run.json has them; the log has a line for each."""
    rules = {
        verdict["rule"]
        for verdict in outcome.run["debugger"]["rules"]["verdicts"]
        if verdict["status"] == "IssuesFound"
    }
    for rule in rules:
        assert outcome.log.count(f"debugger: rule {rule} found an issue: step ") == 1
    return rules


def test_a_learning_rate_of_10_ends_the_run_early_with_rule_step_and_value(job: TrainingJob) -> None:
    outcome = train(job, learning_rate="10", debugger_rule_action="stop")
    stopped, steps = outcome.run["stopped"], outcome.run["steps"]
    assert stopped["rule"] in found(outcome) & {"LossNotDecreasing", "WeightUpdateRatio", "TensorVariance"}
    assert isinstance(stopped["step"], int)
    assert stopped["value"] > 5
    assert stopped["finding"].startswith(f"step {stopped['step']}: ")
    assert steps["done"] < steps["of"] / 2
    assert f"stopped by rule {stopped['rule']} at step {steps['done']}" in outcome.log
    assert outcome.run["test"] is None
    assert (outcome.root / "model" / "tensorflow" / "saved_model" / "0" / "saved_model.pb").exists()


@pytest.mark.usefixtures("no_artifacts")
def test_a_healthy_run_is_clean_while_it_trains_and_afterwards(job: TrainingJob, tmp_path: Path) -> None:
    outcome = train(job)
    assert outcome.run["history"]["epochs"][-1]["validation_accuracy"] > 0.9
    assert found(outcome) == set(), outcome.log
    evaluated = {verdict["rule"] for verdict in outcome.run["debugger"]["rules"]["verdicts"]}
    assert {"LossNotDecreasing", "Overfit", "Overtraining", "WeightUpdateRatio", "VanishingGradient"} <= evaluated
    output = tmp_path / "rules.json"
    assert command.main([outcome.run["debugger"]["out_dir"], "--output", str(output)]) == 0
    statuses = json.loads(output.read_text())
    afterwards = {status["RuleConfigurationName"]: status["RuleEvaluationStatus"] for status in statuses}
    assert afterwards == dict.fromkeys(evaluated, "NoIssuesFound")


@pytest.mark.usefixtures("no_artifacts")
def test_what_is_saved_by_default_shows_a_learning_rate_of_10(job: TrainingJob) -> None:
    (job.root / "input" / "config" / "debughookconfig.json").unlink()
    assert "TensorVariance" in found(train(job, learning_rate="10"))


@pytest.mark.usefixtures("no_artifacts")
def test_shuffled_labels_are_overfitted(job: TrainingJob) -> None:
    random = np.random.default_rng(1)

    def shuffled() -> Iterator[dict[str, list[int]]]:
        for features in examples(60, LENGTH, 0):
            yield features | {"label_ids": [int(random.integers(5))]}

    write_records(job.channel("train") / "part-algo-1-reviews.tfrecord", shuffled())
    assert "Overfit" in found(train(job, epochs="40"))


@pytest.mark.usefixtures("no_artifacts")
def test_frozen_weights_are_noticed(job: TrainingJob) -> None:
    assert {"UnchangedTensor", "WeightUpdateRatio"} <= found(train(job, learning_rate="0"))


@pytest.mark.usefixtures("no_artifacts")
def test_a_dead_activation_is_noticed(job: TrainingJob, monkeypatch: pytest.MonkeyPatch) -> None:

    def dead(*arguments: Any) -> DistilBertClassifier:
        model = build_model(*arguments)
        model.pre_classifier.bias.assign(tf_keras.backend.zeros_like(model.pre_classifier.bias) - 1000.0)
        return model

    monkeypatch.setattr(trainer, "build_model", dead)
    assert {"VanishingGradient", "AllZero"} <= found(train(job, epochs="5"))
