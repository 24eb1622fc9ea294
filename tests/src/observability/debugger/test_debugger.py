"""The hook under Keras: what it saves, and that it never ends a job nor holds it up."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tf_keras

from observability.debugger import debugger, tensor_folder
from observability.debugger.debugger import attach
from observability.debugger.tensor_folder import count_steps, names_saved
from observability.rules.tensor_reader import TensorReader
from star_rating.contract import Contract
from star_rating.failures import DebuggerError
from tests.helpers.debugger_files import configure
from tests.helpers.debugger_fit import EPOCHS, STEPS, Recorder, fit

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("fresh_smdebug")]

EVERYTHING = [{"CollectionName": name} for name in ("losses", "metrics", "weights", "biases", "gradients")]


def test_on_sagemaker_without_a_debug_hook_config_the_result_is_in_the_jobs_output(
    contract: Contract, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    os.environ["TRAINING_JOB_NAME"] = "job"
    attached = attach(contract)
    fit(attached)
    record = attached.finish(1.0)
    assert record["enabled"]
    assert record["save_interval"] == 10
    statuses = [{"RuleConfigurationName": "Overfit", "RuleEvaluationStatus": "NoIssuesFound"}]
    attached.keep_result(statuses)
    kept = contract.output_dir / "data" / "debugger"
    assert json.loads((kept / "rules.json").read_text()) == statuses
    assert count_steps(kept / "tensors") == record["steps_saved"]
    assert names_saved(kept / "tensors") == names_saved(contract.output_dir / "tensors")
    steps = list(TensorReader(kept / "tensors").new_steps(final=True))
    assert sum(step.mode == "TRAIN" for step in steps) == record["steps_saved"]["TRAIN"]
    assert np.isfinite(steps[0].value("loss")).all()


@pytest.mark.parametrize("on_sagemaker", [False, True])
def test_where_the_tensors_are_kept_anyway_nothing_is_put_into_the_output(
    contract: Contract, *, on_sagemaker: bool
) -> None:
    if on_sagemaker:
        os.environ["TRAINING_JOB_NAME"] = "job"
        configure(contract, {"LocalPath": str(contract.output_dir / "tensors")})
    attached = attach(contract)
    fit(attached)
    attached.finish(1.0)
    attached.keep_result([])
    assert not (contract.output_dir / "data" / "debugger").exists()


def test_the_result_has_as_many_steps_as_fit(contract: Contract, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    tensors = contract.output_dir / "tensors"
    fit(attached := attach(contract))
    attached.finish(1.0)
    steps = sum(count_steps(tensors).values())
    size = sum(path.stat().st_size for folder in ("index", "events") for path in (tensors / folder).rglob("*.*"))
    kept = contract.output_dir / "kept"
    tensor_folder.keep_result(kept, tensors, [], largest=size - 1)
    assert 0 < sum(count_steps(kept / "tensors").values()) < steps
    tensor_folder.keep_result(contract.output_dir / "none", tensors, [], largest=10)
    assert not (contract.output_dir / "none" / "tensors").exists()
    assert f"0 of {steps} saved steps" in caplog.messages[-1]


def test_a_result_that_cannot_be_written_costs_a_line_in_the_log(
    contract: Contract, caplog: pytest.LogCaptureFixture
) -> None:
    contract.output_dir.mkdir(parents=True, exist_ok=True)
    (contract.output_dir / "data").write_text("a file where the folder should be")
    tensor_folder.keep_result(contract.output_dir / "data" / "debugger", None, [])
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_bare_run_ends_with_the_marker_that_rules_wait_for(
    contract: Contract, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    attached = attach(contract)
    fit(attached)
    attached.finish(1.0)
    tensors = contract.output_dir / "tensors"
    assert (tensors / "training_job_end.ts").exists()
    said, saved = [record.message for record in caplog.records if record.name.startswith("observability")]
    assert said == (
        f"debugger: saving biases, gradients, losses, metrics, sm_metrics, weights every 10 steps to {tensors}"
    )
    assert re.fullmatch(f"debugger: 3 TRAIN steps, 3 EVAL steps saved in {tensors}, [0-9.]+ s", saved)


def test_on_sagemaker_the_platform_writes_the_end_marker(contract: Contract) -> None:
    os.environ["TRAINING_JOB_NAME"] = "job"
    tensors = contract.output_dir / "tensors"
    configure(contract, {"LocalPath": str(tensors), "S3OutputPath": "s3://bucket/", "HookParameters": None})
    configure(contract, {"LocalPath": str(contract.output_dir / "board")}, "tensorboardoutputconfig.json")
    attached = attach(contract)
    fit(attached)
    record = attached.finish(1.0)
    assert record["enabled"]
    assert record["save_interval"] == 500
    assert not (tensors / "training_job_end.ts").exists()
    assert list((contract.output_dir / "board").rglob("*.tfevents"))


def test_on_sagemaker_an_interrupted_jobs_claim_on_the_folder_is_released(contract: Contract) -> None:
    os.environ["TRAINING_JOB_NAME"] = "job"
    tensors = contract.output_dir / "tensors"
    tensors.mkdir(parents=True)
    (tensors / "claim.smd").touch()
    configure(contract, {"LocalPath": str(tensors)})
    attached = attach(contract)
    fit(attached)
    assert attached.finish(1.0)["steps_saved"]["TRAIN"] == 1


def test_an_earlier_runs_tensors_are_kept_apart(contract: Contract, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    tensors = contract.output_dir / "tensors"
    tensors.mkdir(parents=True)
    (tensors / "training_job_end.ts").touch()
    attached = attach(contract)
    fit(attached)
    assert attached.finish(1.0)["out_dir"] == f"{tensors}-2"
    assert caplog.messages[0] == (
        f"debugger: {tensors} holds the tensors of an earlier run; this run's go to {tensors}-2"
    )


class Spoiler(tf_keras.callbacks.Callback):
    """Puts a file where the hook wants a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        del logs
        if epoch == 1:
            (self.folder / "index").rename(self.folder / "moved")
            (self.folder / "index").touch()


@pytest.mark.parametrize("collections", [[], EVERYTHING])
def test_a_hook_that_fails_is_recorded_and_training_goes_on(
    contract: Contract, caplog: pytest.LogCaptureFixture, collections: list[dict[str, str]]
) -> None:
    configure(contract, {"HookParameters": {"save_interval": "2"}, "CollectionConfigurations": collections})
    attached = attach(contract)
    recorder = Recorder()
    fit(attached, recorder, Spoiler(contract.output_dir / "tensors"))
    record = attached.finish(1.0)
    assert len(recorder.logs) == STEPS * EPOCHS
    assert not record["enabled"]
    assert record["disabled_reason"].startswith(("NotADirectoryError", "FileExistsError"))
    assert [message for message in caplog.messages if "stopped saving tensors" in message] == [
        f"debugger: stopped saving tensors, training went on: {record['disabled_reason']}"
    ]


def test_a_hook_that_saved_nothing_says_so(contract: Contract) -> None:
    attached = attach(contract)
    record = attached.finish(1.0)
    assert record["disabled_reason"] == "smdebug saved no step and gave no reason"


def test_several_hosts_train_without_the_debugger(contract: Contract, caplog: pytest.LogCaptureFixture) -> None:
    attached = attach(replace(contract, hosts=("algo-1", "algo-2")))
    assert attached.callbacks == []
    assert "it runs on one host; this job has 2" in caplog.text


def test_a_setting_that_cannot_run_is_said_and_training_goes_on(
    contract: Contract, caplog: pytest.LogCaptureFixture
) -> None:
    configure(contract, {"HookParameters": {"reductions": "median"}})
    assert attach(contract).callbacks == []
    (said,) = caplog.messages
    assert said.startswith("debugger: not running, training goes on without it: HookParameters: 'median' is no reduct")


@pytest.mark.parametrize("why", ["switched off", "several hosts", "an unsupported setting"])
def test_a_required_debugger_that_cannot_run_ends_the_job(contract: Contract, why: str) -> None:
    job, enabled = contract, True
    match why:
        case "switched off":
            enabled = False
        case "several hosts":
            job = replace(contract, hosts=("algo-1", "algo-2"))
        case "an unsupported setting":
            configure(contract, {"HookParameters": {"reductions": "median"}})
    with pytest.raises(DebuggerError, match="require_sagemaker_debugger is True"):
        attach(job, enabled=enabled, required=True)


def test_a_required_debugger_that_stops_ends_the_job_at_the_step(contract: Contract) -> None:
    configure(contract, {"HookParameters": {"save_interval": "2"}, "CollectionConfigurations": EVERYTHING})
    attached = attach(contract, required=True)
    recorder = Recorder()
    with pytest.raises(DebuggerError, match=r"No tensors are saved.*(NotADirectory|FileExists)Error"):
        fit(attached, recorder, Spoiler(contract.output_dir / "tensors"))
    assert STEPS < len(recorder.logs) <= STEPS + 2


def test_a_required_debugger_that_saved_nothing_fails(contract: Contract) -> None:
    attached = attach(contract, required=True)
    with pytest.raises(DebuggerError, match="smdebug saved no step"):
        attached.finish(1.0)


def test_what_saving_cost_is_recorded(contract: Contract) -> None:
    configure(contract, {"HookParameters": {"save_interval": "1"}, "CollectionConfigurations": EVERYTHING})
    attached = attach(contract)
    fit(attached)
    record = attached.finish(fit_seconds=20.0)
    assert 0.01 < record["seconds"] < 20
    assert record["share_of_fit"] == record["seconds"] / 20


def test_a_run_that_is_resumed_numbers_its_steps_as_one_that_was_not(contract: Contract) -> None:
    configure(contract, {"HookParameters": {"save_interval": "1"}})
    attached = attach(contract)
    attached.restore(train_steps=100, validation_steps=6)
    fit(attached)
    record = attached.finish(1.0)

    from smdebug import modes
    from smdebug.trials import create_trial

    trial = create_trial(record["out_dir"])
    assert trial.steps(mode=modes.TRAIN) == list(range(100, 100 + STEPS * EPOCHS))
    assert trial.steps(mode=modes.EVAL) == list(range(6, 12))
    assert trial.steps() == list(range(106, 106 + STEPS * EPOCHS + 6))


def test_an_error_that_ends_training_leaves_the_tensors_readable(contract: Contract) -> None:
    program = """
import atexit, sys
from tests.helpers.debugger_fit import fit
import tf_keras
from pathlib import Path
from star_rating.contract import Contract
from observability.debugger.debugger import attach
from observability.debugger.tensor_folder import count_steps, names_saved

class Failing(tf_keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 3:
            raise SystemExit(15)

fit(attach(Contract.from_environment({"SAGEMAKER_BASE_DIR": sys.argv[1]})), Failing())
"""
    folders = os.pathsep.join(path for path in sys.path if path)
    root = contract.output_dir.parent
    ended = subprocess.run(
        [sys.executable, "-c", program, str(root)], check=False, env={**os.environ, "PYTHONPATH": folders}
    )
    assert ended.returncode == 15
    tensors = root / "output" / "tensors"
    assert (tensors / "training_job_end.ts").exists()
    assert list(tensors.glob("index/*/*.json"))


def test_switched_off_it_imports_nothing_of_smdebug(contract: Contract) -> None:
    attached = attach(contract, enabled=False)
    assert attached.callbacks == []
    assert attached.finish(1.0) | {"disabled_reason": None} == {
        "enabled": False,
        "disabled_reason": None,
        "out_dir": None,
        "tensorboard_dir": None,
        "save_interval": None,
        "collections": {},
        "steps_saved": {},
        "seconds": 0.0,
        "share_of_fit": 0.0,
    }
    program = (
        "import sys; from star_rating.contract import Contract; from observability.debugger import debugger; "
        "debugger.attach(Contract.from_environment({}), enabled=False).finish(1.0); "
        "sys.exit(bool({'smdebug', 'tensorflow', 'google.protobuf'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(debugger.__file__).parents[2])}
    assert subprocess.run([sys.executable, "-c", program], check=False, env=environment).returncode == 0
