"""What the build puts into the image; what it must not is in tests/registry/test_built_image.py."""

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any, cast

import pytest

from scripts.image.engine import platform_of
from scripts.image.lock import MACHINES, pins
from tests.helpers.containers import Containers, docker

pytestmark = pytest.mark.image

REPOSITORY = Path(__file__).parents[2]


def config(image: str) -> dict[str, Any]:
    return cast("dict[str, Any]", json.loads(docker("image", "inspect", image))[0])


def python(containers: Containers, program: str, *options: str) -> str:
    result = containers.run(["-c", program], ["--entrypoint", "python", *options])
    assert result.exit_code == 0, result.log
    return result.log


def test_is_small_enough_to_be_pulled_often(containers: Containers) -> None:
    assert config(containers.image)["Size"] <= 1.6e9


def test_its_record_names_no_index_and_no_proxy(containers: Containers) -> None:
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", containers.image)
    told = history + json.dumps(config(containers.image)["Config"]["Env"])
    assert re.findall(r"(?i)\bpip_|index.url|proxy|password|token", told) == []


def test_says_which_version_and_revision_it_is(containers: Containers) -> None:
    image = config(containers.image)["Config"]
    labels = {name.removeprefix("org.opencontainers.image."): text for name, text in image["Labels"].items()}
    with (REPOSITORY / "pyproject.toml").open("rb") as file:
        assert labels["version"] == tomllib.load(file)["project"]["version"]
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown", labels["revision"])
    assert {"title", "description", "source"} <= labels.keys()
    assert f"IMAGE_VERSION={labels['version']}" in image["Env"]
    assert f"IMAGE_REVISION={labels['revision']}" in image["Env"]


def test_is_what_sagemaker_runs(containers: Containers) -> None:
    image = config(containers.image)
    assert platform_of(image) in MACHINES
    assert image["Config"]["Entrypoint"][0] == "python"  # exec form: no shell between SageMaker's SIGTERM and us
    assert image["Config"]["StopSignal"] == "SIGTERM"


def test_has_every_package_that_the_lock_names_in_its_version(containers: Containers) -> None:
    lock = (REPOSITORY / "container" / "requirements.txt").read_text(encoding="utf-8")
    locked = pins(lock, MACHINES[platform_of(config(containers.image))])
    listing = python(
        containers,
        "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))",
    )
    installed = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in json.loads(listing).items()}
    assert installed == locked


def test_mlflows_client_reaches_for_a_server_with_awss_plug_in(containers: Containers) -> None:
    """A test's container has no network: what is missing is the way, and no module."""
    program = """
from mlflow import MlflowClient
try:
    MlflowClient().get_experiment_by_name("reviews")
except Exception as error:
    print(type(error).__name__, str(error)[:2000])
"""
    arn = "arn:aws:sagemaker:us-east-1:123456789012:mlflow-app/app-1"
    variables = {"MLFLOW_TRACKING_URI": arn, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    variables |= {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_DISABLE_TELEMETRY": "true"}
    options = [f"--env={name}={value}" for name, value in variables.items()]
    log = python(containers, program, "--read-only", "--tmpfs=/tmp", *options)
    assert "https://mlflow.sagemaker.us-east-1.app.aws/" in log


def test_what_was_trimmed_away_is_missed_by_nothing(containers: Containers) -> None:
    python(
        containers,
        "import io, pandas, pyarrow.csv, pyarrow.dataset, pyarrow.json, pyarrow.parquet, numpy.testing, scipy.stats;"
        "import fontTools.subset, huggingface_hub, matplotlib.backends.backend_pdf, mlflow, rich.syntax;"
        "import boto3, scipy.optimize, matplotlib.pyplot, sagemaker_training.entry_point, tensorflow.lite, tf_keras;"
        "from transformers import TFDistilBertForSequenceClassification;"
        "boto3.client('dynamodb', 'us-east-1');"
        "pandas.read_parquet(io.BytesIO(pandas.DataFrame({'a': ['b']}).to_parquet()))",
    )


def test_imports_are_compiled_already(containers: Containers) -> None:
    program = """
import sys, tensorflow, tf_keras, transformers.models.distilbert.modeling_tf_distilbert
from importlib.util import cache_from_source
from pathlib import Path
sources = [getattr(module, "__file__", None) or "" for module in sys.modules.values()]
ours = [source for source in sources if source.startswith("/opt/venv") and source.endswith(".py")]
assert len(ours) > 1000
print([source for source in ours if not Path(cache_from_source(source)).exists()])
"""
    missing = python(containers, program)
    assert missing.splitlines()[-1] == "[]"


def test_any_user_can_write_where_sagemaker_mounts(containers: Containers) -> None:
    folders = "checkpoints input/config input/data model output/data"
    python(
        containers,
        f"import pathlib; [(pathlib.Path('/opt/ml') / f / 'x').touch() for f in '{folders}'.split()];"
        "(pathlib.Path.home() / 'x').touch()",
        "--user",
        "12345:0",
    )


def test_a_second_build_is_the_same_image_within_a_minute(containers: Containers) -> None:
    image = f"{containers.image}-again"
    build = [str(REPOSITORY / "scripts" / "build_image.sh"), image]
    try:
        subprocess.run(build, check=True, capture_output=True)
        first = config(image)["Id"]
        subprocess.run(build, check=True, capture_output=True, timeout=60)
        assert config(image)["Id"] == first
    finally:
        docker("image", "rm", image)
