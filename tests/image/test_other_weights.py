"""An image with other weights than the default, from a hub on loopback: the same twice, and said wherever one looks."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.image.describe import describe
from scripts.image.errors import ExitCode
from scripts.image.weights_table import SHA256_LABEL
from tests.helpers.containers import docker
from tests.helpers.hub import running_hub
from tests.helpers.tiny_model import tiny_weights
from tests.scripts.test_weights import COMMIT, sha256, write_table

pytestmark = [pytest.mark.image, pytest.mark.long]  # the image is built twice

REPOSITORY = Path(__file__).parents[2]
IMAGE = f"distilbert-trainer:weights-{os.getpid()}"
STAGE = f"{IMAGE}-stage"
TOKEN = "hf_not_to_be_seen"


@pytest.fixture
def _images() -> Iterator[None]:
    yield
    subprocess.run(["docker", "image", "rm", IMAGE, STAGE], check=False, capture_output=True)


def record(image: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(docker("image", "inspect", image))[0]
    return found


@pytest.mark.usefixtures("_images")
def test_two_builds_with_a_hubs_weights_are_the_same_and_a_wrong_hash_ends_the_build(tmp_path: Path) -> None:
    source = tiny_weights(tmp_path / "served")
    table = write_table(tmp_path / "table.toml", source)
    with running_hub(source, "reviews/small", COMMIT, TOKEN) as hub:
        settings = {"WEIGHTS": "small", "WEIGHTS_TABLE": str(table), "HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN}
        environment = os.environ | settings | {"HF_HOME": str(tmp_path / "cache")}

        def build(image: str, stage: str = "runtime") -> subprocess.CompletedProcess[str]:
            command = [str(REPOSITORY / "scripts" / "build_image.sh"), image, stage]
            return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

        layers = []
        for _ in range(2):
            # The legacy builder forgets layers with their image: the second build makes those of the weights anew.
            subprocess.run(["docker", "image", "rm", IMAGE, STAGE], check=False, capture_output=True)
            shutil.rmtree(tmp_path / "cache", ignore_errors=True)
            for image, stage in ((STAGE, "weights"), (IMAGE, "runtime")):
                built = build(image, stage)
                assert built.returncode == 0, built.stderr
            layers.append(record(IMAGE)["RootFS"]["Layers"])
        assert layers[0] == layers[1]

        shutil.rmtree(tmp_path / "cache")
        write_table(table, source, **{"vocab.txt": "0" * 64})
        wrong = build(f"{IMAGE}-wrong")
    assert wrong.returncode == ExitCode.HASH
    assert "vocab.txt of reviews/small" in wrong.stderr
    assert f"{IMAGE}-wrong" not in docker("images", "--format", "{{.Repository}}:{{.Tag}}")

    digest = sha256(source / "model.safetensors")
    assert record(IMAGE)["Config"]["Labels"]["distilbert-trainer.weights"] == f"small@{COMMIT}"
    assert record(IMAGE)["Config"]["Labels"][SHA256_LABEL] == digest
    assert TOKEN not in docker("history", "--no-trunc", IMAGE) + json.dumps(record(IMAGE)) + built.stdout + built.stderr
    describe(IMAGE, tmp_path / "described")
    components = json.loads((tmp_path / "described" / "sbom.cdx.json").read_text())["components"]
    (purl,) = (item["purl"] for item in components if item["type"] == "machine-learning-model")
    assert purl == f"pkg:huggingface/reviews/small@{COMMIT}"
    # Its smoke test trains from these weights, without a network, and says which run.json names.
    smoke = docker("run", "--rm", "--label", "distilbert-trainer=test", "--network", "none", IMAGE, "smoke")
    assert re.search(rf"weights small@{COMMIT}", smoke)
