"""The checks of `smoke` pass on whole artifacts and name what is wrong with damaged ones."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import smoke

PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 640, 480) + b"..." + struct.pack(">I4sI", 0, b"IEND", 0)


def safetensors(**tensors: int) -> bytes:
    """Return a file of one-byte-a-value tensors with these sizes."""
    header, end = {}, 0
    for name, size in tensors.items():
        header[name.replace("_weight", ".weight")] = {"dtype": "U8", "shape": [size], "data_offsets": [end, end + size]}
        end += size
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    return struct.pack("<Q", len(text)) + text + bytes(end)


def put(model: Path, name: str, content: str | bytes) -> None:
    file = model / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)


CONFIG = "transformers/fine-tuned/config.json"
TENSORS = "transformers/fine-tuned/model.safetensors"
ID2LABEL = {str(index): str(index + 1) for index in range(5)}
ROWS = "record,star_rating,predicted,p1\n0,4,5,0.1\n"

WHOLE: list[tuple[smoke.Check, str, str | bytes, str]] = [
    (smoke._transformers_config, CONFIG, json.dumps({"id2label": ID2LABEL, "n_layers": 6, "dim": 384}), "6 layers"),
    (smoke._safetensors, TENSORS, safetensors(classifier_weight=5), "1 tensors"),
    (smoke._evaluation, "metrics/evaluation.json", '{"metrics": {"accuracy": {"value": 0.25}}}', "0.25"),
    (lambda model: smoke._picture(model / "p.png"), "p.png", PNG, "640 x 480 pixels"),
    (smoke._predictions, "metrics/predictions.csv", ROWS, "1 rows"),
]

DAMAGED: list[tuple[smoke.Check, str, str | bytes]] = [
    (smoke._transformers_config, CONFIG, json.dumps({"id2label": {"0": "LABEL_0"}, "n_layers": 6, "dim": 384})),
    (smoke._transformers_config, CONFIG, "{"),
    (smoke._safetensors, TENSORS, safetensors(other_weight=5)),
    (smoke._safetensors, TENSORS, safetensors(classifier_weight=5)[:-1]),
    (smoke._safetensors, TENSORS, b""),
    (smoke._evaluation, "metrics/evaluation.json", '{"accuracy": 0.25}'),
    (smoke._evaluation, "metrics/evaluation.json", '{"metrics": {"accuracy": {"value": NaN}}}'),
    (lambda model: smoke._picture(model / "p.png"), "p.png", PNG[:-12]),
    (lambda model: smoke._picture(model / "p.png"), "p.png", b""),
    (smoke._predictions, "metrics/predictions.csv", ROWS.splitlines(keepends=True)[0]),
    (smoke._predictions, "metrics/predictions.csv", ROWS.replace("4,5", "4,9")),
]


@pytest.mark.parametrize(("check", "name", "content", "said"), WHOLE)
def test_a_whole_artifact_passes(
    tmp_path: Path, check: Callable[[Path], str], name: str, content: str | bytes, said: str
) -> None:
    put(tmp_path, name, content)
    assert said in check(tmp_path)


@pytest.mark.parametrize(("check", "name", "content"), DAMAGED)
def test_a_damaged_artifact_fails(
    tmp_path: Path, check: Callable[[Path], str], name: str, content: str | bytes
) -> None:
    put(tmp_path, name, content)
    with pytest.raises(smoke.FAILS):
        check(tmp_path)


@pytest.mark.parametrize("check", [check for check, *_ in WHOLE])
def test_a_missing_artifact_fails(tmp_path: Path, check: Callable[[Path], str]) -> None:
    with pytest.raises(smoke.FAILS):
        check(tmp_path)


def test_a_saved_model_needs_its_graph_its_index_and_its_data(tmp_path: Path) -> None:
    folder = "tensorflow/saved_model/0"
    put(tmp_path, f"{folder}/saved_model.pb", "graph")
    put(tmp_path, f"{folder}/variables/variables.index", "index")
    with pytest.raises(smoke.CheckError, match=r"variables\.data"):
        smoke._saved_model(tmp_path)
    put(tmp_path, f"{folder}/variables/variables.data-00000-of-00001", "")
    with pytest.raises(smoke.CheckError, match=r"variables\.data-00000-of-00001 is empty"):
        smoke._saved_model(tmp_path)
    put(tmp_path, f"{folder}/variables/variables.data-00000-of-00001", "data")
    assert smoke._saved_model(tmp_path) == "0.0 MB"


@pytest.mark.parametrize(
    ("log", "passes"),
    [
        ("epoch 1/1 step 1/4 train:loss=1.5 train:accuracy=0.2\n", True),
        ("step 1 train:loss=nan\n", False),
        ("step 1 validation:loss=1.5\n", False),
        ("", False),
    ],
)
def test_a_finite_training_loss_is_looked_for_in_the_log(tmp_path: Path, log: str, passes: bool) -> None:  # noqa: FBT001
    put(tmp_path, "log", log)
    if passes:
        assert smoke._finite_loss(tmp_path / "log") == "1 values of train:loss, the last 1.5"
    else:
        with pytest.raises(smoke.CheckError):
            smoke._finite_loss(tmp_path / "log")
