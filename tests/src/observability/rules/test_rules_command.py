"""The container command `rules`: what it prints, writes and answers with, at once and beside a job."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from observability.rules import command
from star_rating.failures import ExitCode
from tests.helpers.saved_tensors import SavedTensors

ENTRYPOINT = Path(__file__).parents[4] / "container" / "entrypoint.py"


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def tensors(tmp_path: Path) -> SavedTensors:
    saved = SavedTensors(tmp_path / "tensors", {"losses": ["loss"]})
    for loss in (1.6, 1.5, 1.4, 1.4, 1.4):
        saved.save("TRAIN", skip=9, loss=loss)
    return saved


def config(folder: Path, *rules: dict[str, Any]) -> Path:
    """A file with rule configurations, named A, B, ...; each given as its parameters."""
    path = folder / "rules.json"
    names = "ABCD"
    path.write_text(
        json.dumps([{"RuleConfigurationName": names[i], "RuleParameters": rule} for i, rule in enumerate(rules)])
    )
    return path


def test_without_a_configuration_every_rule_that_applies_is_evaluated(
    tensors: SavedTensors, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "statuses" / "rules.json"
    assert command.main([str(tensors.folder), "--output", str(output)]) == ExitCode.SUCCESS
    statuses = {entry["RuleConfigurationName"]: entry for entry in json.loads(output.read_text())}
    assert {name: entry["RuleEvaluationStatus"] for name, entry in statuses.items()} == {
        "LossNotDecreasing": "NoIssuesFound",
        "ExplodingTensor": "NoIssuesFound",
        "AllZero": "NoIssuesFound",
        "UnchangedTensor": "IssuesFound",
        "StalledTrainingRule": "NoIssuesFound",
    }
    assert statuses["UnchangedTensor"]["StatusDetails"] == (
        "RuleEvaluationConditionMet: Evaluation of the rule UnchangedTensor at step 49 resulted in the condition being "
        "met. step 49: loss has not changed over 3 saved TRAIN steps"
    )
    assert "StatusDetails" not in statuses["AllZero"]
    assert isinstance(statuses["AllZero"]["LastModifiedTime"], float)
    header, first, *_ = capsys.readouterr().out.splitlines()
    assert header.split() == ["rule", "status"]
    assert first == "UnchangedTensor      IssuesFound    step 49: loss has not changed over 3 saved TRAIN steps"


def test_rules_are_evaluated_as_sagemakers_sdk_sends_them(tensors: SavedTensors, tmp_path: Path) -> None:
    golden = Path(__file__).parents[3] / "launcher" / "golden" / "byoc_rules.json"
    document = json.loads(golden.read_text())
    path = tmp_path / "rules.json"
    path.write_text(json.dumps(document["DebugRuleConfigurations"] + document["ProfilerRuleConfigurations"][1:]))
    output = tmp_path / "out.json"
    assert command.main([str(tensors.folder), "--config", str(path), "--output", str(output)]) == ExitCode.SUCCESS
    statuses = {
        entry["RuleConfigurationName"]: entry["RuleEvaluationStatus"] for entry in json.loads(output.read_text())
    }
    assert statuses["LossNotDecreasing"] == "NoIssuesFound"
    assert statuses["Overtraining"] == statuses["BatchSize"] == "Error"  # no validation losses, no profile


def test_a_rule_that_is_not_evaluated_says_why(tensors: SavedTensors, tmp_path: Path) -> None:
    path = config(tmp_path, {"rule_to_invoke": "VanishingGradient"}, {"rule_to_invoke": "TreeDepth"})
    output = tmp_path / "out.json"
    assert command.main([str(tensors.folder), "--config", str(path), "--output", str(output)]) == ExitCode.SUCCESS
    assert [entry["StatusDetails"] for entry in json.loads(output.read_text())] == [
        "Not evaluated: no tensor of collection gradients is saved.",
        "TreeDepth is not evaluated here: this image trains no trees",
    ]


WRONG_RULES = [
    ({"rule_to_invoke": "LossNotDecreasin"}, "there is no rule 'LossNotDecreasin'. Did you mean LossNotDecreasing?"),
    ({"rule_to_invoke": "Overfit", "patiense": "3"}, "Overfit has no parameter 'patiense'. Did you mean patience?"),
    ({"rule_to_invoke": "Overfit", "patience": "many"}, "Overfit's patience is 'many'; a whole number is needed."),
    ({"rule_to_invoke": "ExplodingTensor", "only_nan": "1"}, "only_nan is '1'; True or False is needed."),
    ({"rule_to_invoke": "AllZero", "tensor_regex": "("}, "AllZero: missing ), unterminated subpattern"),
    ({"rule_to_invoke": "LossNotDecreasing", "mode": "TEST"}, "mode is 'TEST'; one of TRAIN, EVAL, GLOBAL is needed"),
]


@pytest.mark.parametrize(("rule", "said"), WRONG_RULES)
def test_a_wrong_rule_is_refused_by_name(
    tensors: SavedTensors, tmp_path: Path, capsys: pytest.CaptureFixture[str], rule: dict[str, str], said: str
) -> None:
    path = config(tmp_path, {"rule_to_invoke": "AllZero"}, rule)
    assert command.main([str(tensors.folder), "--config", str(path)]) == ExitCode.CONFIGURATION
    assert said in capsys.readouterr().err


def no_folder(tensors: SavedTensors) -> None:
    tensors.folder.rename(tensors.folder.with_name("elsewhere"))


def no_tensors(tensors: SavedTensors) -> None:
    (tensors.folder / "index").rename(tensors.folder / "moved")


def cut_off(tensors: SavedTensors) -> None:
    path = tensors.save("TRAIN", loss=1.3)
    path.write_bytes(path.read_bytes()[:-3])


def damaged_record(tensors: SavedTensors) -> None:
    path = tensors.save("TRAIN", loss=1.3)
    path.write_bytes(b"\xff" * path.stat().st_size)


def damaged_index(tensors: SavedTensors) -> None:
    tensors.index(29).write_text("{")


def no_event_file(tensors: SavedTensors) -> None:
    tensors.save("TRAIN", loss=1.3).unlink()


def no_collections(tensors: SavedTensors) -> None:
    (tensors.folder / "collections" / "000000000" / "worker_0_collections.json").unlink()


def damaged_collections(tensors: SavedTensors) -> None:
    (tensors.folder / "collections" / "000000000" / "worker_0_collections.json").write_text('{"a": 1}')


DAMAGES = {
    no_folder: "is no folder",
    no_tensors: "has no tensors",
    cut_off: "it was cut off",
    damaged_record: "the record of loss is damaged",
    damaged_index: "000000000029_worker_0.json is damaged",
    no_event_file: "No such file or directory",
    no_collections: "worker_0_collections.json",
    damaged_collections: "worker_0_collections.json is damaged",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_folder_is_one_sentence(
    tensors: SavedTensors, capsys: pytest.CaptureFixture[str], damage: Any
) -> None:
    damage(tensors)
    assert command.main([str(tensors.folder)]) == ExitCode.DATA
    error = capsys.readouterr().err
    assert DAMAGES[damage] in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "the following arguments are required"),
        (["t", "--folow"], "Unknown option --folow. Did you mean --follow?"),
    ],
)
def test_a_wrong_command_line_is_one_sentence(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(arguments) == ExitCode.USAGE
    assert said in capsys.readouterr().err


def test_beside_a_job_statuses_change_as_things_are_found(
    tensors: SavedTensors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Until the end marker is there; a step that is half written is waited for."""
    monkeypatch.setattr(command, "POLL_SECONDS", 0.01)
    path = config(tmp_path, {"rule_to_invoke": "UnchangedTensor"}, {"rule_to_invoke": "Overfit"})
    output = tmp_path / "out.json"
    late = tensors.save("TRAIN", loss=1.4)
    whole = late.read_bytes()
    late.write_bytes(whole[:-3])
    arguments = [str(tensors.folder), "--follow", "--config", str(path), "--output", str(output)]
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(command.run, command.read_options(arguments), threading.Event())
        try:
            while statuses_of(output) != ["IssuesFound", "InProgress"]:
                assert not following.done(), following.result()
                time.sleep(0.01)
            late.write_bytes(whole)
            tensors.save("EVAL", val_loss=9.0)
        finally:
            tensors.end()
    assert following.result() is None
    assert statuses_of(output) == ["IssuesFound", "IssuesFound"]
    assert "the mean validation loss 9 is 5" in capsys.readouterr().out


def test_a_stop_signal_ends_it_with_final_statuses(tensors: SavedTensors, tmp_path: Path) -> None:
    output = tmp_path / "out.json"
    path = config(tmp_path, {"rule_to_invoke": "ExplodingTensor"})
    arguments = ["rules", str(tensors.folder), "--follow", "--config", str(path), "--output", str(output)]
    process = subprocess.Popen(
        [sys.executable, str(ENTRYPOINT), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        while statuses_of(output) != ["InProgress"]:
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        process.terminate()
        _, stderr = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 0, stderr
    assert statuses_of(output) == ["NoIssuesFound"]


def statuses_of(output: Path) -> list[str]:
    """Return the statuses by now, none before there are any."""
    return [status["RuleEvaluationStatus"] for status in json.loads(output.read_text())] if output.exists() else []


def test_it_starts_without_tensorflow(tensors: SavedTensors) -> None:
    program = (
        "import sys; from observability.rules import command; "
        f"command.main([{str(tensors.folder)!r}]); sys.exit('tensorflow' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(command.__file__).parents[2])}
    assert subprocess.run([sys.executable, "-c", program], check=False, env=environment).returncode == 0
