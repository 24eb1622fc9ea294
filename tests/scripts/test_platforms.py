"""The platforms of the image: what the lock installs on each, and what the build scripts do on each engine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from scripts.image.lock import MACHINES, entries, merge, pins

REPOSITORY = Path(__file__).parents[2]
LOCK = (REPOSITORY / "container" / "requirements.txt").read_text(encoding="utf-8")
DEVELOPMENT_LOCK = (REPOSITORY / "requirements-dev.txt").read_text(encoding="utf-8")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}\b")


@pytest.mark.parametrize("lock", [LOCK, DEVELOPMENT_LOCK], ids=["image", "development"])
@pytest.mark.parametrize("machine", MACHINES.values())
def test_the_lock_has_hashes_of_everything_that_a_platform_installs(lock: str, machine: str) -> None:
    hashes = {entry.partition("==")[0]: HASH.findall(text) for entry, text in entries(lock).items()}
    installed = pins(lock, machine)
    assert {"numpy", "tf-keras", "transformers"} <= installed.keys()
    assert all(hashes[name] for name in installed)
    # A compiled package has a file for each kind of machine, and the lock their hashes; TensorFlow's two are one each.
    assert min(len(hashes[name]) for name in ("h5py", "numpy", "pyarrow", "tokenizers")) > 2


@pytest.mark.parametrize("lock", [LOCK, DEVELOPMENT_LOCK], ids=["image", "development"])
def test_both_platforms_install_the_same_versions_but_for_the_name_of_tensorflow(lock: str) -> None:
    amd64, arm64 = (pins(lock, machine) for machine in MACHINES.values())
    assert amd64.pop("tensorflow-cpu") == arm64.pop("tensorflow")
    assert amd64 == arm64


def test_a_merged_lock_installs_on_each_machine_what_was_resolved_for_it() -> None:
    header = "# made by\n#    make lock\n"
    common = "b-b==2 \\\n    --hash=sha256:2\n    # via a\n"
    amd64 = f"{header}a==1 \\\n    --hash=sha256:1\n{common}c==3 \\\n    --hash=sha256:3\n"
    arm64 = f"{header}a==1.1 \\\n    --hash=sha256:11\n{common}a-c==4 \\\n    --hash=sha256:4\n"
    merged = merge({"x86_64": amd64, "aarch64": arm64})
    assert merged.startswith(header + "a==1 ; platform_machine == 'x86_64' \\\n    --hash=sha256:1\n")
    assert merged.count(common) == 1
    assert pins(merged, "x86_64") == {"a": "1", "b-b": "2", "c": "3"}
    assert pins(merged, "aarch64") == {"a": "1.1", "b-b": "2", "a-c": "4"}
    assert merge({"x86_64": amd64, "aarch64": amd64}) == amd64


class Engine:
    """A Docker client in PATH that answers as an engine on another kind of machine and writes down what it is asked.

    The scripts are a copy: the checkout's own have one lock, which a build of the real image may hold for minutes.
    """

    def __init__(self, folder: Path, architecture: str, base: str) -> None:
        self.asked = folder / "asked"
        self._tools = folder / "bin"
        self._tools.mkdir()
        self._checkout = folder / "checkout"
        shutil.copytree(REPOSITORY / "scripts", self._checkout / "scripts")
        shutil.copy(REPOSITORY / "pyproject.toml", self._checkout)
        access = self._checkout / "scripts" / "pypi_access.sh"
        access.write_text("#!/bin/sh\nmkdir -p .build && : > .build/pip.conf\n")
        docker = self._tools / "docker"
        docker.write_text(f"""#!/bin/sh
echo "$*" >> {self.asked}
case "$*" in
    version*) echo {architecture} ;;
    info*) echo 'Docker Desktop' ;; # it brings its emulation along
    'image inspect'*Architecture*slim) echo linux/{base or "none"} ;;
    'image inspect'*Size*) echo 1000000 ;;
    'buildx version' | 'image inspect'*) exit 1 ;;
esac
""")
        docker.chmod(0o755)

    def build(self, *arguments: str, platform: str = "") -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PATH": f"{self._tools}:{os.environ['PATH']}", "PLATFORM": platform}
        environment.pop("DOCKER_HOST", None)
        script = str(self._checkout / "scripts" / "build_image.sh")
        return subprocess.run([script, *arguments], env=environment, capture_output=True, text=True, check=False)

    @property
    def builds(self) -> list[str]:
        return [line for line in self.asked.read_text().splitlines() if line.startswith("build ")]


@pytest.mark.parametrize(
    ("engine", "platform", "image", "option"),
    [
        ("amd64", "", "distilbert-trainer:local", ""),
        ("amd64", "linux/amd64", "distilbert-trainer:local", ""),
        ("amd64", "linux/arm64", "distilbert-trainer:local-arm64", "--platform linux/arm64"),
        ("arm64", "", "distilbert-trainer:local", ""),
        ("arm64", "linux/amd64", "distilbert-trainer:local-amd64", "--platform linux/amd64"),
    ],
)
def test_an_engine_builds_for_its_own_platform_unless_it_is_told_otherwise(
    tmp_path: Path, engine: str, platform: str, image: str, option: str
) -> None:
    docker = Engine(tmp_path, engine, base=(platform or f"linux/{engine}").removeprefix("linux/"))
    result = docker.build(platform=platform)
    assert result.returncode == 0, result.stderr
    (build,) = docker.builds
    assert f"--tag {image} " in build
    assert "BASE_IMAGE=debian:bookworm-slim" in build
    assert re.findall(r"--platform \S+", build) == ([option] if option else [])


@pytest.mark.parametrize(
    ("platform", "base"),
    [("linux/amd64", "debian:bookworm-slim"), ("linux/arm64", "distilbert-trainer-base:bookworm-arm64")],
)
def test_a_pulled_base_of_another_platform_does_not_take_the_official_name(
    tmp_path: Path, platform: str, base: str
) -> None:
    docker = Engine(tmp_path, "amd64", base="")
    result = docker.build(platform=platform)
    assert result.returncode == 0, result.stderr
    assert f"BASE_IMAGE={base} " in docker.builds[0]
    asked = docker.asked.read_text().splitlines()
    assert f"pull --quiet --platform {platform} debian:bookworm-slim" in asked
    renamed = [f"tag debian:bookworm-slim {base}", "image rm debian:bookworm-slim"]
    assert [line for line in asked if line in renamed] == (renamed if platform == "linux/arm64" else [])


def test_an_image_may_have_another_name_on_any_platform(tmp_path: Path) -> None:
    docker = Engine(tmp_path, "amd64", base="arm64")
    assert docker.build("mine:1", platform="linux/arm64").returncode == 0
    assert "--tag mine:1 " in docker.builds[0]


@pytest.mark.parametrize(("engine", "platform"), [("amd64", "linux/arm"), ("amd64", "arm64"), ("riscv64", "")])
def test_another_platform_is_refused_before_anything_is_built(tmp_path: Path, engine: str, platform: str) -> None:
    docker = Engine(tmp_path, engine, base=engine)
    result = docker.build(platform=platform)
    assert result.returncode == 2
    assert f"there is none for {platform or 'linux/riscv64'}; PLATFORM can be linux/amd64" in result.stderr
    assert "linux/arm64" in result.stderr
    assert docker.builds == []


@pytest.mark.parametrize(
    ("platform", "image"),
    [("", "distilbert-trainer:local"), ("linux/amd64", "distilbert-trainer:local"), ("linux/arm64", "local-arm64")],
)
def test_make_names_the_image_as_the_build_does(tmp_path: Path, platform: str, image: str) -> None:
    Engine(tmp_path, "amd64", base="amd64")
    environment = os.environ | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    environment.pop("IMAGE", None)
    command = ["make", "--dry-run", "smoke", f"PLATFORM={platform}"]
    told = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True).stdout
    assert f"{image} smoke" in told


@pytest.mark.long
@pytest.mark.image
def test_an_image_of_the_other_platform_is_built_by_emulation_and_starts() -> None:
    """Hours on two cores; without TensorFlow, which the smoke test that docs/image.md tells of was run with."""
    native = subprocess.run(
        ["docker", "version", "--format", "linux/{{.Server.Arch}}"], capture_output=True, text=True, check=True
    ).stdout.strip()
    (other,) = MACHINES.keys() - {native}
    image = "distilbert-trainer:other-platform"
    environment = os.environ | {"PLATFORM": other}
    try:
        subprocess.run([REPOSITORY / "scripts" / "build_image.sh", image], env=environment, check=True)
        program = (
            "import platform, star_rating.hardware.cpuinfo as c; print(platform.machine(), c.read_processor().machine)"
        )
        options = ["--rm", "--network", "none", "--label", "distilbert-trainer=test", "--env", "PYTHONPATH=src"]
        command = ["docker", "run", *options, "--platform", other, "--entrypoint", "python", image, "-c", program]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        assert told == [MACHINES[other]] * 2
    finally:
        subprocess.run(["docker", "image", "rm", "--force", image], check=False, capture_output=True)
