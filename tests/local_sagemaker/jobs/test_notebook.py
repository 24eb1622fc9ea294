"""notebooks/star_rating.ipynb, executed as it is, against the local SageMaker and with the built image."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_sagemaker.client import stop_server
from local_sagemaker.state import State, default_folder

pytestmark = pytest.mark.image

REPOSITORY = Path(__file__).parents[3]
NOTEBOOK = REPOSITORY / "notebooks" / "star_rating.ipynb"
IMAGE = os.environ.get("IMAGE", "distilbert-trainer:local")


@pytest.fixture
def _local() -> Iterator[None]:
    yield
    stop_server(State(default_folder()))


@pytest.mark.usefixtures("_local")
def test_the_notebook_trains_and_shows(tmp_path: Path) -> None:
    for folder in ("data", "jobs"):
        (tmp_path / folder).symlink_to(REPOSITORY / folder)
    (tmp_path / "notebooks").mkdir()
    executed = tmp_path / "notebooks" / "executed.ipynb"
    # The environment stands above the job file: a few steps tell as much as three epochs.
    environment = os.environ | {
        "LAUNCHER_TRAINING_IMAGE": IMAGE,
        "LAUNCHER_HYPERPARAMETERS__EPOCHS": "1",
        "LAUNCHER_HYPERPARAMETERS__TRAIN_STEPS_PER_EPOCH": "2",
        "PYTHONPATH": str(REPOSITORY),
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
    }
    shutil.copy(NOTEBOOK, executed)
    command = [sys.executable, "-m", "jupyter", "execute", "--inplace", "--timeout=300", str(executed)]
    subprocess.run(command, cwd=tmp_path / "notebooks", env=environment, check=True)
    cells = [cell for cell in json.loads(executed.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    outputs = {cell["source"][-1]: cell["outputs"] for cell in cells}
    assert shown(outputs["training_job.show()"]).count("Completed") >= 2  # the last phase, and the job itself
    assert "test:accuracy" in shown(outputs["training_job.metrics().dataframe()"])
    assert "LossNotDecreasing" in shown(outputs["training_job.rules()"])
    assert "Produced" in shown(outputs["training_job.lineage().dataframe()"])
    assert any("outputs['probabilities']" in shown(cell) for cell in outputs.values())
    assert any("image/png" in output.get("data", {}) for cell in outputs.values() for output in cell)


def shown(outputs: list[dict[str, Any]]) -> str:
    """Return what a cell shows: its streams, and the richest form of its results."""
    texts = [
        output.get("text") or output["data"].get("text/html") or output["data"].get("text/plain", [])
        for output in outputs
    ]
    return "".join(line for text in texts for line in text)


def test_the_notebook_is_kept_without_outputs() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert all(not cell.get("outputs") and not cell.get("execution_count") for cell in notebook["cells"])
