"""The image's own check of itself: passes where the image is whole, and names what is not."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.image import hygiene
from tests.helpers.containers import Containers, Result

pytestmark = pytest.mark.image

RECORDER = Path(__file__).parents[1] / "helpers" / "import_recorder.py"
TRANSFORMERS = Path(__file__).parents[2] / "container" / "transformers.txt"
LOCKED_DOWN = ["--read-only", "--tmpfs", "/tmp", "--user", "12345:0", "--cap-drop", "ALL"]


@dataclass(frozen=True)
class SmokeRun:
    """A whole smoke test, and the modules that its processes had imported at their ends."""

    result: Result
    imported: set[str]


@pytest.fixture(scope="module")
def smoke_run(containers: Containers, tmp_path_factory: pytest.TempPathFactory) -> SmokeRun:
    record = tmp_path_factory.mktemp("imports")
    record.chmod(0o777)
    shutil.copy(RECORDER, record / "sitecustomize.py")
    recording = ["--volume", f"{record}:/imports", "--env", "PYTHONPATH=/imports"]
    result = containers.run(["smoke"], [*LOCKED_DOWN, *recording])
    return SmokeRun(result, {module for file in record.glob("*.txt") for module in file.read_text().split()})


def test_smoke_passes_on_a_read_only_image_as_any_user_without_a_network(smoke_run: SmokeRun) -> None:
    result = smoke_run.result
    assert result.exit_code == 0, result.log
    checks = [line.split()[1].rstrip(":") for line in result.log.splitlines() if line.startswith("ok ")]
    assert checks[:3] == ["prepare", "train", "finite"]
    for artifact in (
        "tensorflow/saved_model/0",
        "transformers/fine-tuned/config.json",
        "transformers/fine-tuned/model.safetensors",
        "transformers/fine-tuned/tokenizer.json",
        "code/inference.py",
        "metrics/evaluation.json",
        "metrics/confusion_matrix.png",
        "metrics/training_curves.png",
        "metrics/predictions.csv",
        "run.json",
    ):
        assert artifact in checks
    assert "smoke: every check passed in" in result.log.splitlines()[-1]


def test_every_package_is_imported_or_has_a_reason(containers: Containers, smoke_run: SmokeRun) -> None:
    program = "import importlib.metadata as m, json; print(json.dumps(m.packages_distributions()))"
    packages = json.loads(containers.run(["-c", program], ["--entrypoint", "python"]).log)
    assert {"numpy", "tensorflow", "transformers"} <= smoke_run.imported
    assert "mlflow" not in smoke_run.imported  # only a job with a tracking server pays for it
    left = hygiene.unexcused(hygiene.unused(packages, smoke_run.imported), hygiene.read_excuses(["unused"]))
    assert [str(finding) for finding in left] == []


def test_of_transformers_the_image_has_the_modules_that_it_loads_and_no_others(
    containers: Containers, smoke_run: SmokeRun
) -> None:
    recorded = TRANSFORMERS.read_text(encoding="utf-8").split()
    program = """
from importlib.metadata import distribution
folder = distribution("transformers").locate_file("transformers")
print(*sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.suffix != ".pyc" and file.is_file()))
"""
    installed = containers.run(["-c", program], ["--entrypoint", "python"]).log.split()
    modules = {f"transformers/{file}".removesuffix("/__init__.py").removesuffix(".py") for file in recorded}
    assert installed == sorted(recorded)
    assert {name for name in smoke_run.imported if name.partition(".")[0] == "transformers"} == {
        module.replace("/", ".") for module in modules
    }


def test_smoke_names_what_fails(containers: Containers) -> None:
    result = containers.run(["smoke"], ["--tmpfs", "/opt/distilbert-trainer/weights"])
    assert result.exit_code == 1
    assert result.log.splitlines()[-1].startswith("FAILED  prepare: exit code 12: ")


def test_smoke_says_what_it_needs_where_nothing_can_be_written(containers: Containers) -> None:
    result = containers.run(["smoke"], ["--read-only"])
    assert result.exit_code == 13
    assert "docker run --tmpfs /tmp" in result.log
