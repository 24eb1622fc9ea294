"""The project's own image through the launcher: prepare, train, rules beside it or by itself, a spot interruption."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from launcher import TrainingJob, use_local
from launcher.aws.training_job import list_jobs
from launcher.cli.main import main
from local_sagemaker.client import stop_server
from local_sagemaker.state import State, default_folder
from tests.helpers.isolation import forget_aws

pytestmark = pytest.mark.image

REPOSITORY = Path(__file__).parents[3]
IMAGE = os.environ.get("IMAGE", "distilbert-trainer:local")

SHIPPED, LOCAL = REPOSITORY / "job.toml", REPOSITORY / "jobs" / "local.toml"
BUCKET = "sagemaker-us-east-1-123456789012"
CHANNELS = ("train", "validation", "test")
REVIEWS = 300

SETTINGS = {
    "bucket": BUCKET,
    **{f"input_data_config.{name}.s3_uri": f"s3://{BUCKET}/star-rating/channels/{name}/" for name in CHANNELS},
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


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state folder of a local SageMaker that has job.toml's channels, and jobs of every test."""
    folder = tmp_path_factory.mktemp("prepared")
    lines = (REPOSITORY / "data" / "reviews.tsv").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "reviews.tsv").write_text("".join(lines[: REVIEWS + 1]), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        forget_aws(patch, folder / "xdg")
        patch.setenv("LOCAL_SAGEMAKER_STATE", str(folder / "local"))
        try:
            assert main(["local", "put", str(folder / "reviews.tsv"), f"s3://{BUCKET}/star-rating/reviews/"]) == 0
            assert launch("process", file=SHIPPED, settings={}) == 0
        finally:
            stop_server(State(default_folder()))
    return folder / "local"


@pytest.fixture
def account() -> str:
    return "old"


@pytest.fixture
def _local(prepared: Path, account: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("LOCAL_SAGEMAKER_STATE", str(prepared))
    assert main(["local", "start", "--account", account]) == 0
    try:
        yield
    finally:
        stop_server(State(default_folder()))


@pytest.fixture
def _undisturbed(_local: None) -> None:
    """A local SageMaker in which a job has run to its end."""
    if not any(job["job"] == "undisturbed" for job in list_jobs(use_local())):
        assert launch("train", "--job-name", "undisturbed") == 0


def launch(command: str, *options: str, file: Path = LOCAL, settings: Mapping[str, str] = SETTINGS) -> int:
    given = [text for key, value in settings.items() for text in ("--set", f"{key}={value}")]
    return main([command, "--local", "--file", str(file), "--image", IMAGE, *given, *options])


def verdicts_of(job: str, capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, str]]:
    capsys.readouterr()
    assert main(["rules", "--local", job, "--output", "json"]) == 0
    return {verdict["rule"]: verdict for verdict in json.loads(capsys.readouterr().out)}


@pytest.mark.usefixtures("_undisturbed")
def test_its_rules_have_evaluated_the_job(capsys: pytest.CaptureFixture[str]) -> None:
    verdicts = verdicts_of("undisturbed", capsys)
    assert set(verdicts) == {"LossNotDecreasing", "Overfit", "ExplodingTensor", "VanishingGradient", "ProfilerReport"}
    assert {verdict["status"] for verdict in verdicts.values()} <= {"NoIssuesFound", "IssuesFound"}, verdicts
    assert {verdict["source"] for verdict in verdicts.values()} == {"SageMaker"}


@pytest.mark.parametrize("account", ["new"])
@pytest.mark.usefixtures("_local")
class TestANewAccount:
    """job.toml as it is: nothing of it is Debugger's, and hook and rules are the image's."""

    def test_the_image_s_own_verdicts_are_shown(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert launch("train", file=SHIPPED, settings={}) == 0
        verdicts = verdicts_of("latest", capsys)
        assert len(verdicts) == 9, verdicts
        assert {verdict["source"] for verdict in verdicts.values()} == {"image"}
        assert {verdict["status"] for verdict in verdicts.values()} == {"NoIssuesFound"}

    def test_a_sick_job_ends_early_and_says_why(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        sick = {"hyperparameters.learning_rate": "10", "hyperparameters.debugger_rule_action": "stop"}
        assert launch("train", "--job-name", "sick", file=SHIPPED, settings=sick) == 0
        job = TrainingJob.attach("sick", session=use_local())
        assert job.describe()["TrainingJobStatus"] == "Completed"
        run = json.loads((job.download(tmp_path / "sick").model / "run.json").read_text())
        assert run["steps"]["done"] < run["steps"]["of"]
        verdict = verdicts_of("sick", capsys)[run["stopped"]["rule"]]
        assert (verdict["status"], verdict["source"]) == ("IssuesFound", "image")
        assert verdict["details"].endswith(run["stopped"]["finding"])


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
