"""What build_and_push.sh says without an account, an engine or an image: its help, its refusals, its dry run."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from scripts.image.errors import ExitCode
from tests.helpers.pushing import REPOSITORY, SCRIPT


def run(*arguments: str, script: Path = SCRIPT, **environment: str) -> subprocess.CompletedProcess[str]:
    known = {"PATH": os.environ["PATH"], "HOME": "/nowhere", "AWS_CONFIG_FILE": os.devnull}
    command = ["bash", str(script), *arguments]
    return subprocess.run(command, env=known | environment, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a PATH on which aws and docker fail: nothing here may need them."""
    folder = tmp_path_factory.mktemp("tools")
    for tool in ("aws", "docker"):
        (folder / tool).write_text("#!/bin/sh\nexit 99\n", encoding="utf-8")
        (folder / tool).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_the_script_is_short() -> None:
    assert len(SCRIPT.read_text(encoding="utf-8").splitlines()) < 200


def test_help_names_every_option_and_every_exit_code() -> None:
    result = run("--help")
    assert result.returncode == 0
    options = [line.split()[0] for line in result.stdout.splitlines() if line.startswith("  --")]
    for option in options:
        assert f"        {option})" in SCRIPT.read_text(encoding="utf-8"), option
    assert {"--region", "--profile", "--registry-id", "--repository", "--dirty", "--dry-run"} <= set(options)
    codes = result.stdout.partition("Exit codes: ")[2]
    assert all(f" {code} " in f" {codes}" for code in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, *ExitCode))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--nonsense", "x"], "--nonsense is no option"),
        (["--region"], "--region is no option, or lacks its value"),
        (["image"], "image is no option"),
        (["--dirty", "maybe"], "--dirty is 'maybe'; write refuse or mark"),
        (["--image", "mine:1", "--weights", "distilbert-base-uncased"], "leave one out"),
        (["--fail-on", "bad"], "--fail-on is 'bad'; write low, medium, high or critical"),
    ],
)
def test_a_wrong_command_line(arguments: list[str], said: str) -> None:
    result = run(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert said in result.stderr


def test_no_region(tools: str) -> None:
    result = run("--dry-run", "--image", "x", PATH=tools)
    assert result.returncode == 2
    assert "name one by --region or AWS_REGION" in result.stderr


def test_a_dry_run_passes_on_what_it_is_told_and_runs_nothing(tools: str, tmp_path: Path) -> None:
    options = ["--image", "mine:1", "--profile", "ci", "--registry-id", "210987654321", "--repository", "team/trainer"]
    options += ["--kms-key", "alias/images", "--fail-on", "high", "--output", str(tmp_path / "a folder"), "--dry-run"]
    result = run(*options, PATH=tools, AWS_REGION="cn-north-1", AWS_DEFAULT_REGION="eu-west-1")
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    calls = [line for line in lines if "aws " in line]
    assert len(calls) == 5
    assert all("aws --region cn-north-1 --profile ci " in line for line in calls)
    assert all("--registry-id 210987654321 " in line for line in calls if "get-login-password" not in line)
    assert "--repository-name team/trainer --image-tag-mutability IMMUTABLE" in result.stdout
    assert "encryptionType=KMS,kmsKey=alias/images" in result.stdout
    assert "image_id=$(docker image inspect --format {{.Id}} mine:1)" in lines
    assert any("scan.sh" in line and line.endswith(r"a\ folder/vulnerabilities.json high") for line in lines)
    assert not list(tmp_path.iterdir())
    # The commands are a program: the shell can read them.
    assert subprocess.run(["bash", "-n"], input=result.stdout, text=True, check=False).returncode == 0


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a clone without changes; it has the scripts as they are here."""
    folder = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", "--shared", REPOSITORY, folder], check=True)
    shutil.copytree(REPOSITORY / "scripts", folder / "scripts", dirs_exist_ok=True)
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
    subprocess.run(["git", "-C", folder, "add", "--all"], check=True)
    subprocess.run(["git", "-C", folder, *identity, "commit", "--quiet", "--allow-empty", "-m", "scripts"], check=True)
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(REPOSITORY / ".venv" / "bin" / "python")
    return folder


def test_uncommitted_changes_are_refused_before_anything_is_built(checkout: Path, tools: str) -> None:
    script = checkout / "scripts" / "build_and_push.sh"
    options = {"script": script, "PATH": tools, "AWS_REGION": "eu-west-1"}
    assert "scripts/build_image.sh distilbert-trainer:local" in run("--dry-run", **options).stdout  # type: ignore[arg-type]

    (checkout / "src" / "new.py").write_text("x = 1\n", encoding="utf-8")
    result = run("--dry-run", **options)  # type: ignore[arg-type]
    assert result.returncode == ExitCode.UNTRACEABLE
    assert "uncommitted changes" in result.stderr
    assert "?? src/new.py" in result.stderr
    assert "build_image" not in result.stdout

    marked = run("--dry-run", "--dirty", "mark", **options)  # type: ignore[arg-type]
    assert "scripts.image.identity --dirty mark" in marked.stdout
