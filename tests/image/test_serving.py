"""serve and predict in the image: read-only to the last folder, any user, no network; the hosting contract's end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.containers import LONGEST_WAIT, Containers, docker
from tests.helpers.serving import tiny_export

pytestmark = pytest.mark.image

LOCKED_DOWN = ["--read-only", "--user", "12345:0", "--cap-drop", "ALL"]
ASK = """
import sys, urllib.error, urllib.request
path, body = sys.argv[1:]
request = urllib.request.Request("http://127.0.0.1:8080" + path, body.encode() or None, {"content-type": "text/plain"})
try:
    answer = urllib.request.urlopen(request)
except urllib.error.HTTPError as error:
    answer = error
except urllib.error.URLError:
    sys.exit("0")
print(answer.status, answer.read().decode())
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny_export(tmp_path_factory.mktemp("serving") / "ml") / "model"
    for path in (folder, *folder.parents[:2], *folder.rglob("*")):
        path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
    return folder


def ask(container: str, path: str, body: str = "") -> tuple[int, str]:
    """Ask within the container, which has no network."""
    status, _, text = docker("exec", container, "python", "-c", ASK, path, body).partition(" ")
    return int(status), text


def test_serve_answers_and_ends_in_order(containers: Containers, model: Path, say: Callable[[str], None]) -> None:
    started = time.monotonic()
    container = containers.start(["serve"], [*LOCKED_DOWN, "--volume", f"{model}:/opt/ml/model:ro"])
    containers.wait_for(container, "Ready: the model is loaded")
    say(f"serve: ready {time.monotonic() - started:.1f} s after docker run, on whatever else ran here")
    assert ask(container, "/ping")[0] == 200
    status, text = ask(container, "/invocations", "it broke\nthe best book\n")
    assert status == 200
    assert [json.loads(line)["stars"] in range(1, 6) for line in text.strip().splitlines()] == [True, True]
    containers.signal(container, "TERM")
    result = containers.wait(container, LONGEST_WAIT)
    assert result.exit_code == 0, result.log
    lines = [json.loads(line) for line in result.log.splitlines() if line.startswith("{")]
    assert [(line["path"], line["status"], line["reviews"]) for line in lines] == [("invocations", 200, 2)]


def test_predict_reads_a_file_and_writes_another(containers: Containers, model: Path, tmp_path: Path) -> None:
    (tmp_path / "reviews.csv").write_text("review_body\nit broke\nthe best book\n")
    mounts = ["--volume", f"{model}:/opt/ml/model:ro", "--volume", f"{tmp_path}:/reviews"]
    command = ["predict", "--input", "/reviews/reviews.csv", "--output", "/reviews/predictions.jsonl"]
    result = containers.run(command, ["--read-only", *mounts])
    assert result.exit_code == 0, result.log
    lines = (tmp_path / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["row"] for line in lines] == [2, 3]
