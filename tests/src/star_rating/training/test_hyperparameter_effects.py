"""Each of the notebook's hyperparameters changes what the job does, in both string forms of AWS's SDKs.

Three jobs for each form: `plain` is what the others are compared with, `numbers` changes every number, `switches` turns
every switch the other way. The generic estimator sends `False`, the framework estimators send `"false"`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from safetensors.numpy import load_file

from star_rating.hyperparameters import Hyperparameters
from star_rating.model.optimizer import build_optimizer
from tests.helpers.training_job import RECORDS, Outcome, TrainingJob

pytestmark = pytest.mark.slow

NUMBERS: dict[str, Any] = {
    "epochs": 2,
    "learning_rate": 0.00025,
    "epsilon": 0.5,
    "train_batch_size": 7,
    "validation_batch_size": 3,
    "test_batch_size": 4,
    "train_steps_per_epoch": 13,
    "validation_steps": 2,
    "test_steps": 3,
    "max_seq_length": 12,
}
SWITCHES = {
    "use_xla": True,
    "use_amp": True,
    "freeze_bert_layer": True,
    "enable_sagemaker_debugger": False,
    "enable_checkpointing": True,
    "enable_tensorboard": True,
    "run_validation": False,
    "run_test": False,
    "run_sample_predictions": False,
}
Form = Callable[[object], str]
FORMS: dict[str, Form] = {"generic": str, "framework": lambda value: f'"{str(value).lower()}"'}


# The strings of the framework estimators in CI: all other jobs of the tests send those of the generic one.
@pytest.fixture(scope="module", params=[pytest.param("generic", marks=pytest.mark.long), "framework"])
def form(request: pytest.FixtureRequest) -> Form:
    return FORMS[request.param]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return TrainingJob(tmp_path_factory.mktemp("plain")).run()


@pytest.fixture(scope="module")
def numbers(form: Form, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    job = TrainingJob(tmp_path_factory.mktemp("numbers"), length=NUMBERS["max_seq_length"])
    outcome = job.run(**{name: form(value) for name, value in NUMBERS.items()})
    assert outcome.exit_code == 0, outcome.log
    return outcome


@pytest.fixture(scope="module")
def switches(form: Form, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    job = TrainingJob(tmp_path_factory.mktemp("switches"))
    outcome = job.run(**{name: form(value) for name, value in SWITCHES.items()})
    assert outcome.exit_code == 0, outcome.log
    return outcome


def body(outcome: Outcome) -> dict[str, npt.NDArray[np.float32]]:
    tensors = load_file(outcome.root / "model/transformers/fine-tuned/model.safetensors")
    return {name: tensor for name, tensor in tensors.items() if name.startswith("distilbert.")}


def pretrained(outcome: Outcome) -> dict[str, npt.NDArray[np.float32]]:
    return load_file(outcome.root.parent / "weights" / "model.safetensors")


def test_epochs(plain: Outcome, numbers: Outcome) -> None:
    assert (len(plain.run["history"]["epochs"]), len(numbers.run["history"]["epochs"])) == (1, 2)


def test_learning_rate(plain: Outcome, numbers: Outcome) -> None:
    assert "train:learning_rate=0.001 " in plain.log
    assert "train:learning_rate=0.00025 " in numbers.log


@pytest.mark.parametrize("epsilon", [1e-8, 0.5])
def test_epsilon(form: Form, epsilon: float) -> None:
    texts = {"epsilon": form(epsilon), "learning_rate": form(0.1)}
    optimizer = build_optimizer(Hyperparameters.from_texts(texts), total_steps=1)
    variable = tf.Variable(1.0)
    optimizer.apply_gradients([(tf.constant(0.25), variable)])
    # Adam's first step as Keras takes it: the bias correction of the second moment stands outside epsilon.
    first_step = 0.1 * 0.25 / (0.25 + epsilon / np.sqrt(1 - 0.999))
    assert 1.0 - float(variable) == pytest.approx(first_step, rel=1e-3)


def test_train_batch_size_and_train_steps_per_epoch(plain: Outcome, numbers: Outcome) -> None:
    assert "training 1 epoch(s) of 3 steps" in plain.log, "60 records in batches of 20"
    assert "training 2 epoch(s) of 13 steps" in numbers.log, "60 records in batches of 7 are 9 steps; 13 were asked for"
    # 13 steps of 7: a pass of 60 (nine steps, the last of 4) and four full steps of the next.
    assert re.search(r"step 26/26", numbers.log)


def test_validation_batch_size_and_validation_steps(plain: Outcome, numbers: Outcome) -> None:
    assert plain.run["history"]["epochs"][0]["validation_examples"] == RECORDS["validation"]
    assert numbers.run["history"]["epochs"][0]["validation_examples"] == 2 * 3


def test_test_batch_size_and_test_steps(plain: Outcome, numbers: Outcome) -> None:
    assert plain.evaluation["records"] == RECORDS["test"]
    assert numbers.evaluation["records"] == 3 * 4


def test_max_seq_length(numbers: Outcome) -> None:
    configuration = (numbers.root / "model/transformers/fine-tuned/tokenizer_config.json").read_text()
    assert '"model_max_length": 12' in configuration


def test_use_xla(plain: Outcome, switches: Outcome) -> None:
    assert plain.run["acceleration"]["compiled_step"] is None
    assert switches.run["acceleration"]["compiled_step"]["compilations"] > 0


def test_use_amp(plain: Outcome, switches: Outcome) -> None:
    assert plain.run["acceleration"]["compute_dtype"] == "float32"
    assert switches.run["acceleration"]["compute_dtype"] == "bfloat16"


def test_freeze_bert_layer(plain: Outcome, switches: Outcome) -> None:
    before = pretrained(switches)
    assert all(np.array_equal(tensor, before[name]) for name, tensor in body(switches).items())
    assert not any(
        np.array_equal(tensor, before[name]) for name, tensor in body(plain).items() if "k_lin.bias" not in name
    )


def test_enable_sagemaker_debugger(plain: Outcome, switches: Outcome) -> None:
    assert plain.run["debugger"]["steps_saved"]["TRAIN"] > 0
    assert not switches.run["debugger"]["enabled"]
    assert not (switches.root / "output" / "tensors").exists()


def test_enable_checkpointing(plain: Outcome, switches: Outcome) -> None:
    assert not (plain.root / "checkpoints").exists()
    assert [path.name for path in (switches.root / "checkpoints").iterdir()] == ["step-00000003-epochs-01"]


def test_enable_tensorboard(plain: Outcome, switches: Outcome) -> None:
    folder = "output/data/tensorboard"
    assert not (plain.root / folder).exists()
    assert list((switches.root / folder / "train").glob("events.out.*"))
    assert not (switches.root / "model" / "tensorboard").exists()


def test_run_validation(plain: Outcome, switches: Outcome) -> None:
    assert "validation:loss" in plain.log
    assert "validation:loss" not in switches.log


def test_run_test(plain: Outcome, switches: Outcome) -> None:
    assert "test:loss" in plain.log
    assert "test:loss" not in switches.log
    assert not (switches.root / "model/metrics/evaluation.json").exists()


def test_run_sample_predictions(plain: Outcome, switches: Outcome) -> None:
    assert plain.log.count("sample prediction") == 3
    assert "sample prediction" not in switches.log
