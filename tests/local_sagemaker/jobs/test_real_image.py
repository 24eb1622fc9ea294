"""The project's own image through the launcher: prepare, train, rules beside it, a spot interruption."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher import TrainingJob, use_local
from launcher.cli.main import main
from local_sagemaker.client import stop_server
from local_sagemaker.state import State, default_folder

pytestmark = pytest.mark.image

REPOSITORY = Path(__file__).parents[3]
IMAGE = os.environ.get("IMAGE", "distilbert-trainer:local")

SETTINGS = {
    "bucket": "reviews",
    "hyperparameters.epochs": "2",
    "hyperparameters.train_steps_per_epoch": "15",
    "hyperparameters.validation_steps": "1",
    "hyperparameters.test_steps": "1",
    "hyperparameters.train_batch_size": "8",
    "hyperparameters.checkpoint_every_steps": "5",
    "hyperparameters.log_every_steps": "5",
    "debug_hook_config.hook_parameters.save_interval": "1",
    # Two runs are compared to the last bit: what `auto` measures may come out otherwise.
    "hyperparameters.use_xla": "false",
    "hyperparameters.use_amp": "false",
}


@pytest.fixture
def _undisturbed() -> Iterator[None]:
    """A local SageMaker in which a job has run to its end."""
    try:
        assert main(["local", "put", str(REPOSITORY / "data" / "reviews.tsv"), "s3://reviews/reviews/"]) == 0
        assert launch("process") == 0
        assert launch("train", "--job-name", "undisturbed") == 0
        yield
    finally:
        stop_server(State(default_folder()))


def launch(command: str, *options: str) -> int:
    settings = [text for key, value in SETTINGS.items() for text in ("--set", f"{key}={value}")]
    file = str(REPOSITORY / "jobs" / "local.toml")
    return main([command, "--local", "--file", file, "--image", IMAGE, *settings, *options])


@pytest.mark.usefixtures("_undisturbed")
def test_its_rules_have_evaluated_the_job(capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["rules", "--local", "undisturbed", "--output", "json"]) == 0
    verdicts = {verdict["rule"]: verdict for verdict in json.loads(capsys.readouterr().out)}
    assert set(verdicts) == {"LossNotDecreasing", "Overfit", "ExplodingTensor", "VanishingGradient", "ProfilerReport"}
    assert {verdict["status"] for verdict in verdicts.values()} <= {"NoIssuesFound", "IssuesFound"}, verdicts


@pytest.mark.long  # tests/image/test_kill_matrix.py resumes this image, test_spot.py interrupts
@pytest.mark.usefixtures("_undisturbed")
def test_an_interrupted_job_has_the_weights_of_one_that_was_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    after = f"{seconds_to_the_first_checkpoint('undisturbed'):.1f}"
    capsys.readouterr()
    assert launch("train", "--job-name", "interrupted", "--interrupt-after", after) == 0
    phases = [line.split()[2] for line in capsys.readouterr().err.splitlines() if line.startswith("--- ")]
    assert phases.count("Interrupted") == 1
    assert phases.count("Training") == 2
    assert phases[-1] == "Completed"
    weights = {name: weights_of(name, tmp_path) for name in ("undisturbed", "interrupted")}
    assert weights["undisturbed"] == weights["interrupted"]


def seconds_to_the_first_checkpoint(job: str) -> float:
    """Return when an ended job had something to go on from, counted from the beginning of its training."""
    training_job = TrainingJob.attach(job, session=use_local())
    transitions = training_job.describe()["SecondaryStatusTransitions"]
    begins = next(entry["StartTime"] for entry in transitions if entry["Status"] == "Training")
    line = next(line for line in training_job.logs() if "checkpoint /opt/ml/checkpoints" in line.text)
    return float((line.time - begins).total_seconds())


def weights_of(job: str, folder: Path) -> str:
    assert main(["download", "--local", job, "--to", str(folder / job)]) == 0
    path = folder / job / "model" / "transformers" / "fine-tuned" / "model.safetensors"
    return hashlib.sha256(path.read_bytes()).hexdigest()
