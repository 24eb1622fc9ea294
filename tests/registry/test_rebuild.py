"""scripts/rebuild.sh, the weekly workflow's step: on small images, with an origin to push to and a `gh` that is noted.

The clone's lock.sh changes a pin, and its build_image.sh takes an image that is there: both have tests of their own.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers.pushing import REPOSITORY, Images

pytestmark = pytest.mark.image

GH = """\
#!/bin/sh
echo "$*" >> {folder}/gh
case "$*" in
    *"pr list"*) cat {folder}/open ;;
    *--body-file*) for last; do :; done; cp "$last" {folder}/body ;;
esac
"""


@dataclass(frozen=True)
class Rebuild:
    """The script in a clone, with an origin and a gh."""

    folder: Path

    def __call__(self, **environment: str) -> subprocess.CompletedProcess[str]:
        known = {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "HOME": str(self.folder), "GH_TOKEN": "token"}
        known |= {name: os.environ[name] for name in ("DOCKER_HOST",) if name in os.environ}
        command = [self.folder / "clone" / "scripts" / "rebuild.sh"]
        return subprocess.run(command, env=known | environment, capture_output=True, text=True, check=False)

    def git(self, *arguments: str, at: str = "clone") -> str:
        command = [
            "git",
            "-C",
            str(self.folder / at),
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@example.com",
            *arguments,
        ]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout

    def told(self) -> list[str]:
        """Return what gh was told."""
        return (self.folder / "gh").read_text(encoding="utf-8").splitlines()


@pytest.fixture
def rebuild(tmp_path: Path, images: Images) -> Iterator[Rebuild]:
    """Yield the script where `make lock` raises a pin, and a build gives an image with another file."""
    rebuild = Rebuild(tmp_path)
    subprocess.run(["git", "clone", "--quiet", "--bare", "--shared", REPOSITORY, tmp_path / "origin"], check=True)
    subprocess.run(["git", "clone", "--quiet", tmp_path / "origin", tmp_path / "clone"], check=True)
    before = images.build("before")
    names = {"distilbert-trainer:before": before, "distilbert-trainer:after": images.add(before, "echo new > /new")}
    cases = " ".join(f"{name}) image={image} ;;" for name, image in names.items())
    scripts = {
        "lock.sh": "sed -i 's/^click==.*/click==99 \\\\/' requirements-dev.txt",
        "build_image.sh": f'case $1 in {cases} esac; docker tag "$image" "$1"',
        "host_python.sh": ":",
    }
    for name, script in scripts.items():
        (tmp_path / "clone" / "scripts" / name).write_text(f"#!/bin/bash\nset -e\n{script}\n", encoding="utf-8")
    (tmp_path / "clone" / "scripts" / "rebuild.sh").write_bytes((REPOSITORY / "scripts" / "rebuild.sh").read_bytes())
    (tmp_path / "clone" / "scripts" / "rebuild.sh").chmod(0o755)
    rebuild.git("add", "--all")
    rebuild.git("commit", "--quiet", "--message", "scripts of the test")
    (tmp_path / "clone" / ".venv").symlink_to(REPOSITORY / ".venv")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "gh").write_text(GH.format(folder=tmp_path), encoding="utf-8")
    (tmp_path / "bin" / "gh").chmod(0o755)
    (tmp_path / "open").write_text("0\n", encoding="utf-8")
    yield rebuild
    subprocess.run(["docker", "image", "rm", *names], check=False, capture_output=True)


def test_a_pull_request_says_what_changed_and_what_is_vulnerable(rebuild: Rebuild) -> None:
    affected = {
        "package": {"ecosystem": "Debian:12", "name": "bash"},
        "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}],
    }
    planted = rebuild.folder / "planted.json"
    planted.write_text(json.dumps({"id": "DEBIAN-CVE-2999-1", "affected": [affected]}), encoding="utf-8")
    identity = {f"GIT_{who}_{what}": "bot@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = rebuild(ADVISORY_URLS=planted.as_uri(), **identity)
    assert done.returncode == 7, done.stderr  # the pull request is there; the workflow is red
    body = (rebuild.folder / "body").read_text(encoding="utf-8")
    assert "  + /new" in body
    assert re.search(r"^vulnerable: DEBIAN-CVE-2999-1: bash ", body, re.MULTILINE)
    assert "pr create --head weekly-rebuild --title Weekly rebuild" in rebuild.told()[-1]
    assert (
        rebuild.git("show", "--stat", "--format=", "weekly-rebuild", at="origin").split()[0] == "requirements-dev.txt"
    )

    # A week later the pull request is still open; nothing was given to audit by.
    rebuild.git("checkout", "--quiet", "@{-1}")
    (rebuild.folder / "open").write_text("1\n", encoding="utf-8")
    done = rebuild(**identity)
    assert done.returncode == 0, done.stderr
    assert "pr edit weekly-rebuild" in rebuild.told()[-1]
    assert "not audited" in (rebuild.folder / "body").read_text(encoding="utf-8")


def test_nothing_new_opens_nothing_and_uncommitted_changes_are_refused(rebuild: Rebuild) -> None:
    scripts = rebuild.folder / "clone" / "scripts"
    (scripts / "lock.sh").write_text("#!/bin/bash\n", encoding="utf-8")
    assert rebuild().returncode == 3
    same = (scripts / "build_image.sh").read_text(encoding="utf-8")
    image = re.search(r"before\) image=(\S+)", same)
    assert image is not None
    (scripts / "build_image.sh").write_text(f'#!/bin/bash\ndocker tag {image[1]} "$1"\n', encoding="utf-8")
    rebuild.git("commit", "--quiet", "--all", "--message", "nothing changes")
    done = rebuild()
    assert (done.returncode, "nothing has changed" in done.stdout) == (0, True), done.stderr
    assert not (rebuild.folder / "gh").exists()
