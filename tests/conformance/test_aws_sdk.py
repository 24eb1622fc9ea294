"""AWS's own SDKs, unchanged and in environments of their own, against the local SageMaker: the notebook, ModelTrainer.

The server is as a user has it: started by the launcher, in an environment without AWS, with the shipped reviews.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.emulator import IMAGE as TINY_IMAGE
from tests.helpers.emulator import build_image

pytestmark = pytest.mark.conformance

REPOSITORY = Path(__file__).parents[2]
IMAGE = os.environ.get("IMAGE", "distilbert-trainer:local")
BUCKET = "star-rating"

Launcher = Callable[..., str]


@pytest.fixture(scope="session")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Launcher:
    """Run a command of the launcher in an environment without AWS, and return its stdout."""
    folder = tmp_path_factory.mktemp("launcher")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LAUNCHER_"))}
    environment |= {"LOCAL_SAGEMAKER_STATE": str(folder / "state"), "XDG_STATE_HOME": str(folder)}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "launcher", *arguments],
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def exports(launcher: Launcher) -> Iterator[dict[str, str]]:
    """Start a server, make the channels, and return what `launcher local start` tells a user to export."""
    lines = launcher("local", "start").splitlines()
    try:
        launcher("local", "put", "data/reviews.tsv", f"s3://{BUCKET}/reviews/")
        job = ("--file", "jobs/local.toml", "--set", f"training_image={IMAGE}")
        launcher("process", "--local", *job)
        yield dict(line.removeprefix("export ").split("=", 1) for line in lines if line.startswith("export "))
    finally:
        launcher("local", "stop", "--force")


def run(python: str, script: str, exports: dict[str, str], folder: Path, image: str = IMAGE) -> dict[str, Any]:
    """Run a script of this folder with an SDK, and return what it has shown."""
    output, settings, calls = folder / "shown.json", folder / "settings.yaml", folder / "calls.json"
    settings.write_text("SchemaVersion: '1.0'\nSageMaker: {PythonSDK: {Modules: {TelemetryOptOut: true}}}\n")
    done = subprocess.run(
        [REPOSITORY / python / "bin/python", REPOSITORY / "tests/conformance" / script, image, BUCKET, output],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "SAGEMAKER_USER_CONFIG_OVERRIDE": str(settings),
            "PYTHONPATH": str(REPOSITORY / "tests" / "conformance" / "calls"),
            "CALLS": str(calls),
            **exports,
        },
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    shown: dict[str, Any] = json.loads(output.read_text())
    print(json.dumps(shown, indent=1))
    counts: dict[str, int] = json.loads(calls.read_text())
    print(f"{sum(counts.values())} calls of {len(counts)} operations:")
    print("\n".join(f"{count:6}  {operation}" for operation, count in counts.items()))
    assert counts[
        "SageMaker: CreateTrainingJob" if "tune" not in script else "SageMaker: CreateHyperParameterTuningJob"
    ]
    return shown


def test_the_notebook_runs_from_fit_to_the_lineage_table(exports: dict[str, str], tmp_path: Path) -> None:
    shown = run(".venv-sagemaker-sdk", "notebook.py", exports, tmp_path)
    assert shown["sdk"].startswith("2.257.")
    assert shown["status"] == "Completed"
    assert shown["metrics"]["train:loss"] >= 1
    assert shown["metrics"]["validation:accuracy"] == shown["metrics"]["test:accuracy"] == 1
    assert {"run.json", "code/inference.py", "metrics/evaluation.json", "metrics/confusion_matrix.png"} <= set(
        shown["model"]
    )
    assert shown["accuracy"] > 0.3
    assert shown["confusion_matrix"] > 1000
    assert set(shown["rules"]) == {"LossNotDecreasing", "Overtraining", "ProfilerReport", "CPUBottleneck"}
    assert set(shown["rules"].values()) <= {"NoIssuesFound", "IssuesFound"}
    assert shown["experiment"]["rows"] == 1
    assert set(shown["experiment"]["columns"]) == {"DisplayName", "epochs", "test:accuracy - Last"}
    assert shown["lineage"] == [
        "Input DataSet ContributedTo",
        "Input DataSet ContributedTo",
        "Input DataSet ContributedTo",
        "Input Image ContributedTo",
        "Output Model Produced",
    ]
    assert shown["running"] == 0


def test_model_trainer_of_v3_and_its_resources(exports: dict[str, str], tmp_path: Path) -> None:
    shown = run(".venv-sagemaker-sdk-v3", "model_trainer.py", exports, tmp_path)
    assert shown["sdk"].startswith("3.27.")
    assert shown["status"] == "Completed"
    assert shown["transitions"] == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert all(shown["ends"])
    assert shown["seconds"][0] == shown["seconds"][1] > 0
    assert shown["job"] in shown["listed"]
    assert shown["tags"] == {"owner": "sdk"}
    assert shown["model"] == "model.tar.gz"
    assert shown["metrics"] == {"loss": 3}
    assert shown["associations"] == 1
    assert (shown["endpoints"], shown["missing"]) == (0, "ValidationException")
    assert shown["pipelines"] == "UnknownOperationException"


def test_v2_tunes_deploys_and_transforms(exports: dict[str, str], tmp_path: Path) -> None:
    base = subprocess.run(
        [REPOSITORY / "scripts/base_image.sh"], capture_output=True, text=True, check=True
    ).stdout.strip()
    build_image(base)
    shown = run(".venv-sagemaker-sdk", "tune_and_serve.py", exports, tmp_path, TINY_IMAGE)
    count, columns = shown["analytics"]
    assert (count, {"FinalObjectiveValue", "TrainingJobName", "rate"} <= set(columns)) == (3, True)
    assert shown["best"] == [True, True]
    assert shown["predicted"] == 1
    assert shown["transformed"] == "ONE\nTWO\n"
