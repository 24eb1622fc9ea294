"""notebooks/star_rating.ipynb, executed as it is, against the local SageMaker and with the built image."""

from __future__ import annotations

import faulthandler
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

HANGS_AFTER = 3600.0
"""Seconds."""

WITHOUT_DEBUGGER = ("LAUNCHER_DEBUG_HOOK_CONFIG__ENABLED", "LAUNCHER_PROFILER_CONFIG__ENABLED")
"""What the notebook says that a new account sets."""


@pytest.fixture
def _local() -> Iterator[None]:
    yield
    stop_server(State(default_folder()))


@pytest.mark.parametrize("account", ["old", pytest.param("new", marks=pytest.mark.long)])
@pytest.mark.usefixtures("_local")
def test_the_notebook_trains_and_shows(tmp_path: Path, account: str) -> None:
    for folder in ("data", "jobs"):
        (tmp_path / folder).symlink_to(REPOSITORY / folder)
    (tmp_path / "notebooks").mkdir()
    executed = tmp_path / "notebooks" / "executed.ipynb"
    # The environment stands above the job file: a few steps tell as much as three epochs.
    environment = os.environ | {
        "LAUNCHER_TRAINING_IMAGE": IMAGE,
        "LAUNCHER_HYPERPARAMETERS__EPOCHS": "1",
        "LAUNCHER_HYPERPARAMETERS__TRAIN_STEPS_PER_EPOCH": "2",
        "LOCAL_SAGEMAKER_ACCOUNT": account,
        **(dict.fromkeys(WITHOUT_DEBUGGER, "false") if account == "new" else {}),
        "PYTHONPATH": str(REPOSITORY),
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
    }
    shutil.copy(NOTEBOOK, executed)
    command = [sys.executable, "-m", "jupyter", "execute", "--inplace", "--timeout=-1", str(executed)]
    # Two jobs in a row take minutes on a busy machine: no cell has a limit, and this stands for that of every test.
    faulthandler.cancel_dump_traceback_later()
    subprocess.run(command, cwd=tmp_path / "notebooks", env=environment, check=True, timeout=HANGS_AFTER)
    cells = [cell for cell in json.loads(executed.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    outputs = {cell["source"][-1]: cell["outputs"] for cell in cells}
    assert shown(outputs["training_job.show()"]).count("Completed") >= 2  # the last phase, and the job itself
    assert "test:accuracy" in shown(outputs["training_job.metrics().dataframe()"])
    rules = shown(outputs["training_job.rules()"])
    assert "LossNotDecreasing" in rules
    assert ("SageMaker" in rules, "image" in rules) == (account == "old", account == "new")
    (report,) = [shown(cell) for last, cell in outputs.items() if last.startswith("IFrame(")]
    assert "output/profiler-report.html" in report
    assert list((tmp_path / "notebooks" / "out").glob("*/output/profiler-report.html"))
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
