from __future__ import annotations

import hashlib
import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from star_rating.failures import WeightsError
from star_rating.model.weights import PINNED_REVISIONS, resolve
from tests.helpers.hub import running_hub
from tests.helpers.tiny_model import tiny_weights

SOURCE = Path(__file__).parents[4] / "src"
COMMIT = PINNED_REVISIONS["distilbert-base-uncased"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_weights(tmp_path / "weights")


class TestWhichWeights:
    def test_auto_takes_those_in_the_image(self, folder: Path) -> None:
        weights = resolve("auto", {}, {"DISTILBERT_WEIGHTS": str(folder)})
        assert (weights.folder, weights.source) == (folder, "baked")

    @pytest.mark.parametrize("record", [{"name": f"some/model@{COMMIT}"}, {"source": f"hub some/model@{COMMIT}"}])
    def test_a_hub_id_at_the_commit_in_the_image_asks_no_hub(self, folder: Path, record: dict[str, str]) -> None:
        (folder / "weights.json").write_text(json.dumps(record))
        weights = resolve(f"some/model@{COMMIT}", {}, {"DISTILBERT_WEIGHTS": str(folder)})
        assert (weights.folder, weights.source) == (folder, "baked")

    def test_a_path_is_taken_as_it_is(self, folder: Path) -> None:
        weights = resolve(str(folder), {}, {})
        assert (weights.folder, weights.source, weights.name) == (folder, "path", "weights")

    @pytest.mark.parametrize("model", ["auto", "distilbert-base-uncased", "/nowhere"])
    def test_a_model_channel_wins_over_all(self, folder: Path, tmp_path: Path, model: str) -> None:
        weights = resolve(model, {"model": folder, "train": tmp_path}, {"DISTILBERT_WEIGHTS": "/nowhere"})
        assert (weights.folder, weights.source) == (folder, "channel")

    def test_name_and_hashes_are_those_of_the_files(self, folder: Path) -> None:
        (folder / "weights.json").write_text(json.dumps({"name": "a name"}))
        weights = resolve("auto", {}, {"DISTILBERT_WEIGHTS": str(folder)})
        assert weights.as_dict() == {
            "folder": str(folder),
            "name": "a name",
            "source": "baked",
            "sha256": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
            "tokenizer_sha256": hashlib.sha256((folder / "tokenizer.json").read_bytes()).hexdigest(),
        }

    def test_one_log_line_says_which(self, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO):
            weights = resolve(str(folder), {}, {})
        (message,) = caplog.messages
        assert weights.name in message
        assert weights.sha256 in message
        assert "source path" in message


class TestBadWeights:
    def test_a_missing_folder_is_named_with_its_source(self) -> None:
        with pytest.raises(WeightsError, match=r"/nowhere \(baked\) does not exist.*DISTILBERT_WEIGHTS"):
            resolve("auto", {}, {"DISTILBERT_WEIGHTS": "/nowhere"})
        with pytest.raises(WeightsError, match=r"/nowhere \(path\) does not exist.*hyperparameter model"):
            resolve("/nowhere", {}, {})

    def test_an_archive_in_the_channel_is_to_be_unpacked(self, tmp_path: Path) -> None:
        (tmp_path / "model.tar.gz").touch()
        with pytest.raises(WeightsError, match=r"holds model\.tar\.gz\. Unpack it"):
            resolve("auto", {"model": tmp_path}, {})

    @pytest.mark.parametrize(
        ("name", "content", "said"),
        [
            ("tokenizer.json", None, "is damaged, or not a tokenizer"),  # its first half
            ("tokenizer.json", b"{}", "is damaged, or not a tokenizer"),
            ("tokenizer.json", b"[" * 100_000, "is damaged, or not a tokenizer"),
            ("tokenizer.json", b"\xff\xfe", "is damaged, or not a tokenizer"),
            ("tokenizer_config.json", b"{", "is not JSON"),
            ("tokenizer_config.json", b"[" * 100_000, "is not JSON"),
            ("special_tokens_map.json", b"[]", "holds no JSON object"),
            ("vocab.txt", b"\xff", "is not UTF-8"),
            ("vocab.txt", b"[PAD]\n[UNK]\n[SEP]\n", r"line 3: '\[SEP\]' is not token 2"),
        ],
    )
    def test_a_damaged_or_foreign_tokenizer_is_found_before_training(
        self, folder: Path, name: str, content: bytes | None, said: str
    ) -> None:
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 2] if content is None else content)
        with pytest.raises(WeightsError, match=rf"{name}.*{said}"):
            resolve("auto", {"model": folder}, {})

    def test_a_tokenizer_with_more_words_than_the_model_has_embeddings(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"vocab_size": config["vocab_size"] - 1}))
        with pytest.raises(WeightsError, match=r"has ids up to 111, config\.json's vocab_size is 111"):
            resolve("auto", {"model": folder}, {})

    def test_the_name_is_the_folders_where_weights_json_is_damaged(self, folder: Path) -> None:
        for content in ("[" * 100_000, "{}", '{"name": 3}', json.dumps({"name": "a\nb"})):
            (folder / "weights.json").write_text(content)
            assert resolve("auto", {"model": folder}, {}).name == "weights"

    @pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
    def test_a_missing_file_is_found_before_training(self, folder: Path, name: str) -> None:
        (folder / name).unlink()
        with pytest.raises(WeightsError, match=f"has no {name}"):
            resolve(str(folder), {}, {})

    @pytest.mark.parametrize("model", ["", "s3://bucket/model", "two words", "a/b/c", "@main"])
    def test_neither_id_nor_path_lists_what_is_allowed(self, model: str) -> None:
        with pytest.raises(WeightsError, match="allowed are 'auto', a hub id"):
            resolve(model, {}, {})


@pytest.fixture
def hub(folder: Path) -> Iterator[str]:
    (folder / "special_tokens_map.json").unlink()  # distilbert-base-uncased has none either
    (folder / "pytorch_model.bin").touch()  # and this, which nobody here reads
    with running_hub(folder, "distilbert-base-uncased", COMMIT) as served:
        yield served.endpoint


def resolve_elsewhere(model: str, endpoint: str, cache: Path) -> dict[str, str]:
    """Resolve in a process of its own: huggingface_hub reads its environment at import."""
    program = (
        "import json, sys; from star_rating.model.weights import resolve; from star_rating.failures import Failure\n"
        "try: print(json.dumps(resolve(sys.argv[1], {}, {}).as_dict()))\n"
        "except Failure as failure: print(json.dumps({'failure': str(failure)}))\n"
    )
    environment = os.environ | {
        "PYTHONPATH": str(SOURCE),
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(cache),
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    environment.pop("HF_HUB_OFFLINE", None)
    done = subprocess.run(
        [sys.executable, "-c", program, model], env=environment, capture_output=True, text=True, timeout=300, check=True
    )
    result: dict[str, str] = json.loads(done.stdout)
    return result


class TestHub:
    def test_a_known_id_is_fetched_at_its_pinned_commit(self, hub: str, folder: Path, tmp_path: Path) -> None:
        weights = resolve_elsewhere("distilbert-base-uncased", hub, tmp_path / "cache")
        assert weights["name"] == f"distilbert-base-uncased@{COMMIT}"
        assert weights["source"] == "hub"
        fetched = Path(weights["folder"])
        assert (fetched / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
        assert {path.name for path in fetched.iterdir()} == {
            "config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
            "vocab.txt",
        }

    @pytest.mark.parametrize(
        ("model", "named"),
        [
            ("distilbert-base-uncased@v9", "'distilbert-base-uncased' at revision 'v9'"),
            ("nobody/nothing", "'nobody/nothing' at revision 'main'"),
        ],
    )
    def test_an_unknown_id_or_revision_is_named(self, hub: str, tmp_path: Path, model: str, named: str) -> None:
        failure = resolve_elsewhere(model, hub, tmp_path / "cache")["failure"]
        assert f"has no public model {named}" in failure

    def test_no_answer_says_what_to_do_instead(self, tmp_path: Path) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
            failure = resolve_elsewhere("distilbert-base-uncased", endpoint, tmp_path / "cache")["failure"]
        assert "did not give 'distilbert-base-uncased'" in failure
        assert "'model' channel" in failure
        assert "model=auto" in failure
