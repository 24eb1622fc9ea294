"""Shows that the image works on this machine: prepare, train a few steps, check every artifact, predict.

    docker run --rm --network none IMAGE smoke

Everything is in the image (reviews, weights) or in a temporary folder, so it needs no network, no mount, no writable
root file system and no particular user. Training goes the way that `train` goes, only not below /opt/ml.
"""

from __future__ import annotations

import csv
import json
import math
import os
import re
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import process_group
import toolkit
from failure import ContainerError, ExitCode, read_failure

REVIEWS = 400
"""Taken evenly from the reviews in the image: enough for five classes on three sides of the split."""

HYPERPARAMETERS = {"epochs": "1", "train_steps_per_epoch": "4", "max_seq_length": "32", "log_every_steps": "1"}

SENTENCE = "Broke after two days, and nobody answers my mails."

_LOSS = re.compile(r"(?:^|\s)train:loss=(\S+)", re.MULTILINE)
_PREDICTION = re.compile(r"[1-5] stars \(\d+%\)")
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LOG_TAIL_LINES = 40

Check = Callable[[Path], str]
"""Looks at the model folder; returns what is worth saying, or raises what is wrong."""


class CheckError(Exception):
    """An artifact that is not what it should be."""


FAILS = (CheckError, OSError, ValueError, LookupError, struct.error)
"""What a check raises on an artifact that is missing, damaged or not what it should be."""


def smoke() -> int:
    """Run every check, print a line for each, and return the exit code: 0, or 1 at the first check that fails."""
    started = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="smoke-", ignore_cleanup_errors=True) as folder:
            passed = _run(Path(folder))
    except OSError as error:
        raise ContainerError(
            ExitCode.CONFIGURATION,
            f"smoke cannot write its temporary files ({error.strerror}). With a read-only root file system give the "
            "container a folder for them: docker run --tmpfs /tmp.",
        ) from None
    seconds = time.monotonic() - started
    if passed:
        _print(f"smoke: every check passed in {seconds:.0f} s")
    return ExitCode.SUCCESS if passed else ExitCode.BUG


def _run(folder: Path) -> bool:
    root, log = folder / "ml", folder / "log"
    model = root / "model"
    for name, check in _checks(root, log):
        started = time.monotonic()
        try:
            detail = check(model)
        except FAILS as error:
            _show_tail(log)
            _print(f"FAILED  {name}: {error or type(error).__name__}")
            return False
        seconds = time.monotonic() - started
        _print(f"ok      {name}: {detail}" + (f" ({seconds:.0f} s)" if seconds >= 1 else ""))
    return True


def _checks(root: Path, log: Path) -> Iterator[tuple[str, Check]]:
    """Yield each check with its name, in an order in which the later ones rest on the earlier ones."""
    yield "prepare", lambda _: _prepare(root, log)
    yield "train", lambda _: _train(root, log)
    yield "finite loss in the log", lambda _: _finite_loss(log)
    yield "tensorflow/saved_model/0", _saved_model
    yield "transformers/fine-tuned/config.json", _transformers_config
    yield "transformers/fine-tuned/model.safetensors", _safetensors
    yield "transformers/fine-tuned/tokenizer.json", _tokenizer
    yield "metrics/evaluation.json", _evaluation
    yield "metrics/confusion_matrix.png", lambda model: _picture(model / "metrics" / "confusion_matrix.png")
    yield "metrics/training_curves.png", lambda model: _picture(model / "metrics" / "training_curves.png")
    yield "metrics/predictions.csv", _predictions
    yield "run.json", _run_record
    yield "code/inference.py", lambda model: _inference(model, log)


def _prepare(root: Path, log: Path) -> str:
    reviews, channels = root / "reviews" / "reviews.tsv", root / "input" / "data"
    reviews.parent.mkdir(parents=True)
    kept = _take_reviews(toolkit.HOME / "data" / "reviews.tsv", reviews)
    options = ["--input", reviews, "--output", channels, "--max-seq-length", HYPERPARAMETERS["max_seq_length"]]
    _python([toolkit.PROGRAM_DIR / "prepare.py", *options], root, log)
    counts = [f"{name} {len(list((channels / name).glob('*.tfrecord')))} file(s)" for name in _channel_names(channels)]
    return f"{kept} reviews became the channels {', '.join(counts)}"


def _take_reviews(source: Path, target: Path) -> int:
    header, *rows = source.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = rows[:: max(1, len(rows) // REVIEWS)]
    target.write_text(header + "".join(kept), encoding="utf-8")
    return len(kept)


def _channel_names(channels: Path) -> list[str]:
    names = sorted(folder.name for folder in channels.iterdir() if folder.is_dir())
    if names != ["test", "train", "validation"]:
        raise CheckError(f"the channels are {names}; test, train and validation are expected")
    return names


def _train(root: Path, log: Path) -> str:
    config = root / "input" / "config"
    config.mkdir(parents=True)
    for name, content in {
        "hyperparameters.json": HYPERPARAMETERS,
        "inputdataconfig.json": {channel: {} for channel in _channel_names(root / "input" / "data")},
        "resourceconfig.json": {"current_host": "algo-1", "hosts": ["algo-1"]},
    }.items():
        (config / name).write_text(json.dumps(content), encoding="utf-8")
    with log.open("ab") as output:
        exit_code = toolkit.train(root, output=output.fileno())
    if exit_code != ExitCode.SUCCESS:
        raise CheckError(f"exit code {exit_code}: {read_failure(root) or 'no failure file'}")
    return f"{HYPERPARAMETERS['train_steps_per_epoch']} steps"


def _finite_loss(log: Path) -> str:
    losses = [float(text) for text in _LOSS.findall(log.read_text(encoding="utf-8", errors="replace"))]
    if not losses or not all(map(math.isfinite, losses)):
        raise CheckError(f"train:loss in the log is {losses}; finite numbers are expected")
    return f"{len(losses)} values of train:loss, the last {losses[-1]:g}"


def _saved_model(model: Path) -> str:
    folder = model / "tensorflow" / "saved_model" / "0"
    files = [folder / "saved_model.pb", folder / "variables" / "variables.index", *folder.glob("variables/*.data-*")]
    if len(files) < 3:
        raise CheckError("there is no variables/variables.data-*")
    return _size(*files)


def _transformers_config(model: Path) -> str:
    config = _read_json(model / "transformers" / "fine-tuned" / "config.json")
    expected = {str(index): str(index + 1) for index in range(5)}
    if config["id2label"] != expected:
        raise CheckError(f"id2label is {config['id2label']}; {expected} is expected")
    return f"{config['n_layers']} layers of width {config['dim']}"


def _safetensors(model: Path) -> str:
    # The format: 8 bytes with the header's length, the header as JSON, the tensors.
    file = model / "transformers" / "fine-tuned" / "model.safetensors"
    content = file.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    if "classifier.weight" not in tensors:
        raise CheckError("the trained head (classifier.weight) is not in it")
    end = max(entry["data_offsets"][1] for entry in tensors.values())
    if len(content) != 8 + length + end:
        raise CheckError(f"it has {len(content)} bytes; its header promises {8 + length + end}")
    return f"{len(tensors)} tensors, {_size(file)}"


def _tokenizer(model: Path) -> str:
    tokenizer = _read_json(model / "transformers" / "fine-tuned" / "tokenizer.json")
    return f"{len(tokenizer['model']['vocab']):,} word pieces"


def _evaluation(model: Path) -> str:
    accuracy = _read_json(model / "metrics" / "evaluation.json")["metrics"]["accuracy"]["value"]
    if not 0.0 <= accuracy <= 1.0:
        raise CheckError(f"metrics.accuracy.value is {accuracy}")
    return f"test accuracy {accuracy:.2f} (after these few steps it says nothing)"


def _picture(file: Path) -> str:
    content = file.read_bytes()
    if not content.startswith(_PNG_SIGNATURE) or b"IEND" not in content[-12:]:
        raise CheckError("it is not a whole PNG")
    width, height = struct.unpack(">II", content[16:24])
    return f"{width} x {height} pixels"


def _predictions(model: Path) -> str:
    with (model / "metrics" / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or not all(row["star_rating"] in "12345" and row["predicted"] in "12345" for row in rows):
        raise CheckError("it has no rows, or rows without stars from 1 to 5")
    return f"{len(rows)} rows"


def _run_record(model: Path) -> str:
    record = _read_json(model / "run.json")
    if str(record["hyperparameters"]["max_seq_length"]) != HYPERPARAMETERS["max_seq_length"]:
        raise CheckError(f"hyperparameters.max_seq_length is {record['hyperparameters']['max_seq_length']}")
    return f"weights {record['weights']['name']}"


def _inference(model: Path, log: Path) -> str:
    start = log.stat().st_size
    _python([model / "code" / "inference.py", SENTENCE], model, log)
    output = log.read_bytes()[start:].decode("utf-8", "replace").strip()
    prediction = _PREDICTION.search(output)
    if not prediction:
        raise CheckError(f"its output is {output[-200:]!r}; stars and their probability are expected")
    return f"{prediction[0]} for {SENTENCE!r}"


def _python(arguments: list[Any], base: Path, log: Path) -> None:
    """Run a Python program with its output in the log; raise CheckError with its last line if it fails."""
    # The base folder keeps a failure message of `prepare` out of /opt/ml.
    environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(base)}
    with log.open("ab") as output:
        ending = process_group.run([sys.executable, *map(str, arguments)], environment, output=output.fileno())
    if ending.exit_code != ExitCode.SUCCESS:
        raise CheckError(f"exit code {ending.exit_code}: {_tail(log, 1)}")


def _read_json(file: Path) -> Any:  # noqa: ANN401 - JSON
    return json.loads(file.read_text(encoding="utf-8"))


def _size(*files: Path) -> str:
    for file in files:
        if not file.stat().st_size:
            raise CheckError(f"{file.name} is empty")
    return f"{sum(file.stat().st_size for file in files) / 1e6:.1f} MB"


def _tail(log: Path, lines: int) -> str:
    try:
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""


def _show_tail(log: Path) -> None:
    _print(f"the log's last lines:\n{_tail(log, _LOG_TAIL_LINES)}\n")


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
