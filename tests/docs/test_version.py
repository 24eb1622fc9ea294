"""The version stands once, in pyproject.toml; whatever tells it has read it there.

That the image's label and variable have it: tests/image/test_image_build.py; the image's tag: tests/registry;
run.json: tests/src/star_rating/training/test_training_job.py.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

import launcher
from tests.helpers.job_files import REPOSITORY

VERSION = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def test_the_launcher_says_it() -> None:
    command = [sys.executable, "-m", "launcher", "--version"]
    printed = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    assert (printed.split()[-1], launcher.__version__) == (VERSION, VERSION)


def test_the_build_gives_it_to_the_image() -> None:
    script = (REPOSITORY / "scripts" / "build_image.sh").read_text(encoding="utf-8")
    (argument,) = re.findall(r'"(VERSION=\$\(.*\))"', script)
    given = subprocess.run(
        ["bash", "-c", f'printf %s "{argument}"'], cwd=REPOSITORY, check=True, capture_output=True, text=True
    ).stdout
    assert given == f"VERSION={VERSION}"


def test_no_other_file_states_it() -> None:
    # What git has, apart from locks and prose that tells of several versions.
    found = subprocess.run(
        [
            "git",
            "grep",
            "--files-with-matches",
            "--fixed-strings",
            "--word-regexp",
            VERSION,
            "--",
            ":!*.txt",
            ":!*.md",
            ":!*.json",
            ":!*.ipynb",
        ],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert found == ["pyproject.toml"]


def test_the_changelog_tells_of_it_first() -> None:
    changelog = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    released = [name for name in re.findall(r"^## \[(.+?)\]", changelog, re.MULTILINE) if name != "Unreleased"]
    assert released[0] == VERSION
