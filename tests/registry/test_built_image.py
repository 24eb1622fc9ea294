"""The real image: what is in its layers, its bill of materials, and its way to the registry and back.

IMAGE names it, by default distilbert-trainer:local.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from scripts.image import hygiene
from scripts.image.describe import describe
from scripts.image.engine import platform_of
from scripts.image.layers import Layer, final_files, layers_of
from scripts.image.sbom import normalized
from tests.helpers.pushing import Images, Push, inspect

pytestmark = pytest.mark.image

IMAGE = os.environ.get("IMAGE", "distilbert-trainer:local")


def in_image(*command: str) -> str:
    options = ["--rm", "--label", "distilbert-trainer=test", "--network", "none", "--entrypoint", command[0]]
    result = subprocess.run(
        ["docker", "run", *options, IMAGE, *command[1:]], stdout=subprocess.PIPE, check=True, text=True
    )
    return result.stdout


@pytest.fixture(scope="module")
def layers() -> list[Layer]:
    return layers_of(IMAGE, hygiene.tokens_in)


def test_no_layer_holds_a_secret_a_compiler_a_cache_or_what_anyone_may_write(layers: list[Layer]) -> None:
    assert any(path.endswith("site-packages/tensorflow/__init__.py") for layer in layers for path in layer.files)
    left = hygiene.unexcused(list(hygiene.findings_of(layers)), hygiene.read_excuses())
    assert [str(finding) for finding in left] == []


def test_a_container_has_no_program_that_makes_its_user_somebody_else(layers: list[Layer]) -> None:
    assert [path for path, file in final_files(layers).items() if file.kind == "file" and file.mode & 0o6000] == []


def test_what_is_planted_is_found(images: Images) -> None:
    image = images.build("first")
    planted = images.add(
        image,
        "mkdir -p /root/.aws /root/.cache/pip && echo x > /root/.aws/credentials && echo x > /root/.cache/pip/wheel"
        " && cp /bin/true /usr/bin/become-root && chmod 4755 /usr/bin/become-root",
        "rm -r /root/.aws /root/.cache /usr/bin/become-root",
    )
    command = [".venv/bin/python", "-m", "scripts.image.hygiene", planted]
    result = subprocess.run(command, stdout=subprocess.PIPE, check=False, text=True)
    assert result.returncode == 1
    found = {line.partition(" (")[0] for line in result.stdout.splitlines() if not line.startswith("exception: ")}
    assert {"secret: /root/.aws/credentials", "cache: /root/.cache/pip/wheel", "setuid: /usr/bin/become-root"} <= found


def test_the_bill_of_materials_lists_what_pip_and_dpkg_list(tmp_path: Path) -> None:
    describe(IMAGE, tmp_path)
    components = json.loads((tmp_path / "sbom.cdx.json").read_text(encoding="utf-8"))["components"]
    (weights,) = (item for item in components if item["type"] == "machine-learning-model")
    packages = [item for item in components if item is not weights]
    listed = {
        kind: sorted((item["name"], item["version"]) for item in packages if item["purl"].startswith(f"pkg:{kind}/"))
        for kind in ("pypi", "deb", "generic")
    }
    assert len(packages) == sum(map(len, listed.values()))
    file = "/opt/distilbert-trainer/weights/model.safetensors"
    assert weights["hashes"] == [{"alg": "SHA-256", "content": in_image("sha256sum", file).split()[0]}]
    assert inspect(IMAGE)["Config"]["Labels"]["distilbert-trainer.weights.sha256"] == weights["hashes"][0]["content"]
    assert {name for name, _ in listed["generic"]} == {"hdf5", "openblas"}  # what wheels bring along

    pip = json.loads(in_image("python", "-m", "pip", "--disable-pip-version-check", "list", "--format", "json"))
    assert sorted((normalized(name), version) for name, version in listed["pypi"]) == sorted(
        (normalized(package["name"]), package["version"]) for package in pip
    )
    dpkg = re.findall(r"^ii +([^ :]+)(?::\w+)? +(\S+)", in_image("env", "COLUMNS=400", "dpkg", "-l"), re.MULTILINE)
    assert listed["deb"] == sorted(dpkg)

    record = json.loads((tmp_path / "image.json").read_text(encoding="utf-8"))
    assert (
        record["lock_sha256"] == in_image("sha256sum", "/opt/distilbert-trainer/container/requirements.txt").split()[0]
    )
    assert record["bytes_unpacked"] > 1e9
    assert record["platform"] == platform_of(inspect(IMAGE))


@pytest.mark.long  # two gigabytes are packed, and two smoke tests run; test_push.py pushes small images
def test_it_comes_back_from_the_registry_as_it_went(images: Images, push: Push) -> None:
    """Through its own smoke test into the registry, and pulled by the digest that was printed."""
    result = push("--image", IMAGE, "--repository", "real", "--dirty", "mark")
    assert result.exit_code == 0, result.stderr
    assert "smoke: every check passed" in result.stderr

    uri = result.stdout.strip()
    # The engine has forgotten where its image came from, and finds out again.
    images.forget(uri)
    push.pull(uri)
    pulled, pushed = inspect(uri), inspect(IMAGE)
    assert uri in pulled["RepoDigests"]
    assert pulled["Id"] == pushed["Id"]
    options = ["--rm", "--label", "distilbert-trainer=test", "--network", "none"]
    smoke = subprocess.run(["docker", "run", *options, uri, "smoke"], stdout=subprocess.PIPE, check=False, text=True)
    images.forget(uri)
    assert "smoke: every check passed" in smoke.stdout
