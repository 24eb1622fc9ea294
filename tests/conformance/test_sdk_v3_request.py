"""The program of `launcher train --dry-run --format sdk-v3` sends the launcher's own request, by SDK v3 as it is."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

import launcher
from launcher.request.sdk_v3 import not_sent, sdk_v3_program
from launcher.request.training import training_request

pytestmark = pytest.mark.conformance

REPOSITORY = Path(__file__).parents[2]
EVERYTHING = "tests/launcher/everything.toml"


def sent_by_sdk_v3(program: str, folder: Path) -> dict[str, Any]:
    """Run a program with SDK v3, and return the request that it makes."""
    (folder / "program.py").write_text(program, encoding="utf-8")
    settings = folder / "settings.yaml"
    settings.write_text("SchemaVersion: '1.0'\nSageMaker: {PythonSDK: {Modules: {TelemetryOptOut: true}}}\n")
    python = REPOSITORY / ".venv-sagemaker-sdk-v3/bin/python"
    done = subprocess.run(
        [python, REPOSITORY / "tests/conformance/sdk_v3_request.py", "program.py", "request.json"],
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "SAGEMAKER_USER_CONFIG_OVERRIDE": str(settings)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    request: dict[str, Any] = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    return request


@pytest.mark.parametrize(
    ("path", "excluded"),
    [
        ("job.toml", []),
        ("jobs/notebook.toml", []),
        ("jobs/local.toml", []),
        # Every field that the API has for a training image, but for those that exclude each other.
        (EVERYTHING, ["InstanceGroups", "InstancePreferences"]),
        (EVERYTHING, ["InstanceType", "InstanceCount", "InstancePreferences", "InstancePlacementConfig"]),
        (EVERYTHING, ["InstanceType", "InstanceCount", "InstanceGroups", "InstancePlacementConfig", "TrainingPlanArn"]),
    ],
)
def test_sdk_v3_sends_the_launchers_request(path: str, excluded: list[str], tmp_path: Path) -> None:
    job = launcher.load_job(REPOSITORY / path)
    request = copy.deepcopy(training_request(job, "job-name"))
    if "InstancePreferences" in request["ResourceConfig"] and "InstancePreferences" not in excluded:
        del request["EnableManagedSpotTraining"]  # excludes preferences as well
    for field in excluded:
        del request["ResourceConfig"][field]
    sent = sent_by_sdk_v3(sdk_v3_program(request, job.base_job_name, job.region), tmp_path)
    expected = copy.deepcopy(request)
    for part in not_sent(request):
        *parents, last = part.split(".")
        del (expected[parents[0]] if parents else expected)[last]
    assert re.fullmatch(rf"{re.escape(job.base_job_name)}-\d+", sent.pop("TrainingJobName"))
    del expected["TrainingJobName"]
    print(f"{path}: {len(sent)} fields are equal; not sent: {', '.join(not_sent(request)) or 'none'}")
    assert sent == expected
