"""The project's own image through the launcher: prepare, train, rules beside it, a spot interruption."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.cli.main import main
from launcher.local.client import stop_server
from launcher.local.state import State, default_folder

pytestmark = pytest.mark.image

REPOSITORY = Path(__file__).parents[2]
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
    # Two runs are compared to the last bit: what `auto` measures may come out otherwise.
    "hyperparameters.use_xla": "false",
    "hyperparameters.use_amp": "false",
}


RULED = (
    "--set",
    "debug_hook_config.s3_output_path=s3://{bucket}/debug/",
    "--set",
    "debug_hook_config.hook_parameters.save_interval=1",
    "--set",
    "debug_rule_configurations.LossNotDecreasing.enabled=true",
)


@pytest.fixture
def _local() -> Iterator[None]:
    yield
    stop_server(State(default_folder()))


def launch(command: str, *options: str) -> int:
    settings = [text for key, value in SETTINGS.items() for text in ("--set", f"{key}={value}")]
    file = str(REPOSITORY / "jobs" / "local.toml")
    return main([command, "--local", "--file", file, "--image", IMAGE, *settings, *options])


@pytest.mark.usefixtures("_local")
def test_an_interrupted_job_has_the_weights_of_one_that_was_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["local", "put", str(REPOSITORY / "data" / "reviews.tsv"), "s3://reviews/reviews/"]) == 0
    assert launch("process") == 0
    assert launch("train", "--job-name", "undisturbed", *RULED) == 0
    begins, checkpoint, ends = moments("undisturbed", capsys)
    after = checkpoint - begins + (ends - checkpoint) / 2
    assert launch("train", "--job-name", "interrupted", "--interrupt-after", f"{after:.1f}") == 0
    phases = [line.split()[2] for line in capsys.readouterr().err.splitlines() if line.startswith("--- ")]
    assert phases.count("Interrupted") == 1
    assert phases.count("Training") == 2
    assert phases[-1] == "Completed"
    weights = {name: weights_of(name, tmp_path) for name in ("undisturbed", "interrupted")}
    assert weights["undisturbed"] == weights["interrupted"]
    capsys.readouterr()
    assert main(["rules", "--local", "undisturbed", "--output", "json"]) == 0
    (verdict,) = json.loads(capsys.readouterr().out)
    assert verdict["rule"] == "LossNotDecreasing"
    assert verdict["status"] in ("NoIssuesFound", "IssuesFound"), verdict


def moments(job: str, capsys: pytest.CaptureFixture[str]) -> tuple[float, float, float]:
    """Return when the first line, the first checkpoint and the last training step of a job were logged."""
    capsys.readouterr()
    assert main(["logs", "--local", job, "--output", "json"]) == 0

    lines = [
        (dt.datetime.fromisoformat(line["time"]).timestamp(), line["text"])
        for line in json.loads(capsys.readouterr().out)
    ]
    checkpoint = next(time for time, text in lines if "checkpoint /opt/ml/checkpoints" in text)
    steps = [time for time, text in lines if " step " in text and "train:loss" in text]
    return lines[0][0], checkpoint, steps[-1]


def weights_of(job: str, folder: Path) -> str:
    assert main(["download", "--local", job, "--to", str(folder / job)]) == 0
    path = folder / job / "model" / "transformers" / "fine-tuned" / "model.safetensors"
    return hashlib.sha256(path.read_bytes()).hexdigest()
