"""scripts/image/weights.py as build_image.sh runs it: from a hub on loopback, and from a folder."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.image.errors import ExitCode, ImageError
from scripts.image.weights import lay_out
from scripts.image.weights_table import DEFAULT, read_table
from star_rating.model.weights import PINNED_REVISIONS
from tests.helpers.hub import Hub, running_hub
from tests.helpers.tiny_model import tiny_weights

REPOSITORY = Path(__file__).parents[2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_table(path: Path, folder: Path, **changes: str) -> Path:
    """Write a table that knows the folder's files as `small`, with other sums where told."""
    sums = {file.name: sha256(file) for file in sorted(folder.iterdir())} | changes
    lines = ["[small]", 'repository = "reviews/small"', f'revision = "{COMMIT}"', 'licence = "MIT"', "[small.files]"]
    path.write_text("\n".join([*lines, *(f'"{name}" = "{text}"' for name, text in sums.items())]))
    return path


@dataclass
class Build:
    """The step before the build, with a hub's cache of its own."""

    hub: Hub
    table: Path
    folder: Path

    def __call__(self, weights: str = "small", **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "scripts.image.weights", weights, str(self.folder / "laid-out")]
        settings = {
            "PYTHONPATH": "src",
            "HF_HOME": str(self.folder / "cache"),
            "HF_ENDPOINT": self.hub.endpoint,
            "WEIGHTS_TABLE": str(self.table),
            "NO_PROXY": "127.0.0.1",
        }
        variables = {name: text for name, text in os.environ.items() if not name.startswith("HF_")}
        return subprocess.run(
            command, cwd=REPOSITORY, env=variables | settings | environment, capture_output=True, text=True, check=False
        )

    @property
    def baked(self) -> Path:
        return self.folder / "laid-out" / "baked"


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    source = tiny_weights(tmp_path / "served")
    table = write_table(tmp_path / "table.toml", source)
    with running_hub(source, "reviews/small", COMMIT) as hub:
        yield Build(hub, table, tmp_path)


def test_a_known_name_comes_from_the_mirror_once_and_says_what_it_is(build: Build) -> None:
    first = build()
    assert first.returncode == 0, first.stderr
    name, digest = first.stdout.splitlines()
    assert (name, digest) == (f"small@{COMMIT}", sha256(build.hub.folder / "model.safetensors"))
    record = json.loads((build.baked / "weights.json").read_text())
    assert (record["name"], record["sha256"], record["licence"]) == (name, digest, {"model": "MIT"})
    assert {path.name for path in build.baked.iterdir()} == {*record["files"], "weights.json"}
    assert all(sha256(build.baked / file) == text for file, text in record["files"].items())

    before = {path.name: path.read_bytes() for path in build.baked.iterdir()}
    assert build(HF_HUB_OFFLINE="1").stdout == first.stdout  # of the hub's cache
    assert {path.name: path.read_bytes() for path in build.baked.iterdir()} == before
    assert len(build.hub.downloads) == len(record["files"])


def test_a_wrong_hash_ends_it_and_the_next_run_asks_the_hub_again(build: Build) -> None:
    write_table(build.table, build.hub.folder, **{"vocab.txt": "0" * 64})
    wrong = build()
    assert wrong.returncode == ExitCode.HASH
    assert re.search(
        rf"vocab.txt of reviews/small@{COMMIT} .* has the SHA-256 [0-9a-f]{{64}}, .* says 0{{64}}", wrong.stderr
    )
    assert "Traceback" not in wrong.stderr
    write_table(build.table, build.hub.folder)
    assert build().returncode == 0
    assert build.hub.downloads.count("vocab.txt") == 2


def test_no_answer_says_what_to_do(build: Build) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        silent = build(HF_ENDPOINT=f"http://user:secret@127.0.0.1:{unused.getsockname()[1]}")
    assert silent.returncode == ExitCode.HUB
    assert "HF_ENDPOINT" in silent.stderr
    assert "secret" not in silent.stderr
    assert "Traceback" not in silent.stderr


def test_a_token_is_sent_and_kept_nowhere(build: Build) -> None:
    build.hub.token = "hf_not_to_be_seen"
    let_in = build(HF_TOKEN=build.hub.token)
    assert let_in.returncode == 0, let_in.stderr
    kept = b"".join(path.read_bytes() for path in (build.folder / "laid-out").rglob("*") if path.is_file())
    assert build.hub.token not in let_in.stdout + let_in.stderr
    assert build.hub.token.encode() not in kept


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_weights(tmp_path / "mine")


def test_a_local_folder_is_taken_by_its_name_and_a_baked_one_by_what_it_says(folder: Path, tmp_path: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"not taken")
    record = lay_out(str(folder), tmp_path / "one")
    assert (record["name"], record["sha256"]) == ("mine", sha256(folder / "model.safetensors"))
    assert "pytorch_model.bin" not in {path.name for path in (tmp_path / "one" / "baked").iterdir()}
    renamed = (tmp_path / "one" / "baked").rename(tmp_path / "renamed")
    assert lay_out(str(renamed), tmp_path / "two") == record


@pytest.mark.parametrize("damaged", ["model.safetensors", "config.json", "tokenizer.json"])
def test_weights_that_no_job_could_use_are_refused_before_the_build(folder: Path, tmp_path: Path, damaged: str) -> None:
    (folder / damaged).write_bytes(b"{}")
    with pytest.raises(ImageError, match=damaged) as refusal:
        lay_out(str(folder), tmp_path / "laid-out")
    (folder / damaged).unlink()
    with pytest.raises(ImageError, match=f"has no {damaged}"):
        lay_out(str(folder), tmp_path / "laid-out")
    assert refusal.value.exit_code == ExitCode.BUILD


@pytest.mark.parametrize("weights", ["nobody-knows", "./missing"])
def test_what_is_neither_known_nor_a_folder_is_named(weights: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=f"WEIGHTS is '?{weights.removeprefix('./')}") as refusal:
        lay_out(weights, tmp_path)
    assert refusal.value.exit_code == ExitCode.USAGE


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("[x", "Expected"),
        ("x = 1", r"\[x\] is no table"),
        ("[x]\nrepository = 'a/b'\nlicence = 'MIT'\nrevision = 'main'", "40 hexadecimal digits"),
        (f"[x]\nrepository = 'a/b'\nlicence = 'MIT'\nrevision = '{COMMIT}'", "lists no config.json"),
        ("[x]\nrepository = 'a/b'", "licence"),
        ("[x]\nlicence = 3", "may hold text"),
    ],
)
def test_a_table_that_is_wrong_is_named(tmp_path: Path, table: str, said: str) -> None:
    (tmp_path / "table.toml").write_text(table)
    with pytest.raises(ImageError, match=f"table.toml.*{said}"):
        read_table(tmp_path / "table.toml")


def test_the_table_the_dockerfile_and_the_trainer_agree() -> None:
    table = read_table()
    arguments = dict(
        re.findall(r'^ARG WEIGHTS_(\w+)="?([^"\n]+)', (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE)
    )
    assert arguments == {"NAME": table[DEFAULT].name, "SHA256": table[DEFAULT].sha256}
    known = table["distilbert-base-uncased"]
    assert dict.fromkeys(("distilbert-base-uncased", known.repository), known.revision) == PINNED_REVISIONS
