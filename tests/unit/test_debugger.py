"""The hook under Keras: what it saves, and that it never ends a job nor holds it up."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
import tf_keras
from debugger_files import configure

from star_rating.contract import Contract
from star_rating.debugger import debugger

STEPS, EPOCHS = 12, 2
EVERYTHING = [{"CollectionName": name} for name in ("losses", "metrics", "weights", "biases")]

Array = npt.NDArray[Any]


@pytest.fixture(autouse=True)
def fresh_smdebug() -> Iterator[None]:
    """Give back what is the whole process's: variables, hooks, Keras's policy, and whether smdebug is off."""
    policy = tf_keras.mixed_precision.global_policy()
    with mock.patch.dict(os.environ), mock.patch.object(threading, "excepthook", threading.excepthook):
        os.environ.pop("TRAINING_JOB_NAME", None)
        yield
    tf_keras.mixed_precision.set_global_policy(policy)
    if "smdebug.core.utils" in sys.modules:
        sys.modules["smdebug.core.utils"].error_handling_agent.disable_smdebug = False


class TwoInputs(tf_keras.Model):
    """A subclassed model with the classifier's inputs."""

    def __init__(self) -> None:
        super().__init__(name="two_inputs")
        self.embedding = tf_keras.layers.Embedding(20, 6, name="embedding")
        self.classifier = tf_keras.layers.Dense(5, name="classifier", dtype="float32")
        self({"input_ids": tf.zeros([1, 4], tf.int64), "input_mask": tf.ones([1, 4], tf.int64)})

    def call(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        vectors = self.embedding(inputs["input_ids"])
        mask = tf.cast(inputs["input_mask"], vectors.dtype)[..., tf.newaxis]
        return self.classifier(tf.reduce_mean(vectors * mask, axis=1))


class Recorder(tf_keras.callbacks.Callback):
    """Keeps, on its own, what the hook should save."""

    def __init__(self) -> None:
        super().__init__()
        self.loss: list[float] = []
        self.kernel: list[Array] = []
        self.bias: list[Array] = []

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        del batch
        assert logs is not None
        self.loss.append(float(logs["loss"]))
        self.kernel.append(self.model.classifier.kernel.numpy())
        self.bias.append(self.model.classifier.bias.numpy())


def fit(attached: debugger.Debugger, *callbacks: tf_keras.callbacks.Callback, jit_compile: bool = False) -> None:
    random = np.random.default_rng(0)
    inputs = {"input_ids": random.integers(0, 20, (STEPS * 4, 4)), "input_mask": np.ones((STEPS * 4, 4), np.int64)}
    labels = random.integers(0, 5, STEPS * 4)
    model = TwoInputs()
    model.compile(
        tf_keras.optimizers.Adam(0.01),
        tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=jit_compile,
    )
    data = tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(4)
    model.fit(
        data,
        epochs=EPOCHS,
        validation_data=data.take(3),
        callbacks=[*callbacks, *attached.callbacks],
        verbose=0,
    )


def test_a_job_without_a_debug_hook_config_saves_nothing(contract: Contract, caplog: pytest.LogCaptureFixture) -> None:
    os.environ["TRAINING_JOB_NAME"] = "job"
    attached = debugger.attach(contract)
    assert attached.callbacks == []
    assert attached.finish()["disabled_reason"] == "the job has no DebugHookConfig"
    assert caplog.messages == [
        "debugger: not running, training goes on without it: the job has no DebugHookConfig",
    ]


@pytest.mark.parametrize(("jit_compile", "policy"), [(False, "float32"), (True, "float32"), (True, "mixed_bfloat16")])
def test_losses_metrics_weights_and_biases_are_saved_as_they_were(
    contract: Contract, *, jit_compile: bool, policy: str
) -> None:
    configure(contract, {"HookParameters": {"save_interval": "5"}, "CollectionConfigurations": EVERYTHING})
    tf_keras.mixed_precision.set_global_policy(policy)
    recorder = Recorder()
    attached = debugger.attach(contract)
    fit(attached, recorder, jit_compile=jit_compile)
    record = attached.finish()

    expected = list(range(0, STEPS * EPOCHS, 5))
    assert record["enabled"]
    assert record["steps_saved"]["TRAIN"] == len(expected)
    assert record["save_interval"] == 5
    assert {"losses", "metrics", "weights", "biases"} <= set(record["collections"])

    from smdebug import modes
    from smdebug.trials import create_trial

    trial = create_trial(record["out_dir"])
    assert trial.steps(mode=modes.TRAIN) == expected
    saved = {collection: trial.tensor_names(collection=collection) for collection in ("losses", "metrics", "biases")}
    assert saved == {
        "losses": ["loss"],
        "metrics": ["accuracy", "batch"],
        "biases": ["classifier/weights/two_inputs/classifier/bias:0"],
    }
    assert len(trial.tensor_names(collection="weights")) == 2
    for step in expected:
        assert trial.tensor("loss").value(step, mode=modes.TRAIN) == pytest.approx(recorder.loss[step])
        bias = trial.tensor("classifier/weights/two_inputs/classifier/bias:0").value(step, mode=modes.TRAIN)
        kernel = trial.tensor("classifier/weights/two_inputs/classifier/kernel:0").value(step, mode=modes.TRAIN)
        np.testing.assert_array_equal(bias, recorder.bias[step])
        np.testing.assert_array_equal(kernel, recorder.kernel[step])


def test_a_bare_run_ends_with_the_marker_that_rules_wait_for(
    contract: Contract, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    attached = debugger.attach(contract)
    fit(attached)
    attached.finish()
    tensors = contract.output_dir / "tensors"
    assert (tensors / "training_job_end.ts").exists()
    assert caplog.messages == [
        f"debugger: saving losses, metrics, sm_metrics every 10 steps to {tensors}",
        f"debugger: 3 TRAIN steps, 3 EVAL steps saved in {tensors}",
    ]


def test_on_sagemaker_the_platform_writes_the_end_marker(contract: Contract) -> None:
    os.environ["TRAINING_JOB_NAME"] = "job"
    tensors = contract.output_dir / "tensors"
    configure(contract, {"LocalPath": str(tensors), "S3OutputPath": "s3://bucket/", "HookParameters": None})
    configure(contract, {"LocalPath": str(contract.output_dir / "board")}, "tensorboardoutputconfig.json")
    attached = debugger.attach(contract)
    fit(attached)
    record = attached.finish()
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
    attached = debugger.attach(contract)
    fit(attached)
    assert attached.finish()["steps_saved"]["TRAIN"] == 1


def test_an_earlier_runs_tensors_are_kept_apart(contract: Contract, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    tensors = contract.output_dir / "tensors"
    tensors.mkdir(parents=True)
    (tensors / "training_job_end.ts").touch()
    attached = debugger.attach(contract)
    fit(attached)
    assert attached.finish()["out_dir"] == f"{tensors}-2"
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
    attached = debugger.attach(contract)
    recorder = Recorder()
    fit(attached, recorder, Spoiler(contract.output_dir / "tensors"))
    record = attached.finish()
    assert len(recorder.loss) == STEPS * EPOCHS
    assert not record["enabled"]
    assert record["disabled_reason"].startswith(("NotADirectoryError", "FileExistsError"))
    assert [message for message in caplog.messages if "stopped saving tensors" in message] == [
        f"debugger: stopped saving tensors, training went on: {record['disabled_reason']}"
    ]


def test_a_hook_that_saved_nothing_says_so(contract: Contract) -> None:
    attached = debugger.attach(contract)
    record = attached.finish()
    assert record["disabled_reason"] == "smdebug saved no step and gave no reason"


def test_several_hosts_train_without_the_debugger(contract: Contract, caplog: pytest.LogCaptureFixture) -> None:
    attached = debugger.attach(replace(contract, hosts=("algo-1", "algo-2")))
    assert attached.callbacks == []
    assert "it runs on one host; this job has 2" in caplog.text


def test_switched_off_it_imports_nothing_of_smdebug(contract: Contract) -> None:
    attached = debugger.attach(contract, enabled=False)
    assert attached.callbacks == []
    assert attached.finish() | {"disabled_reason": None} == {
        "enabled": False,
        "disabled_reason": None,
        "out_dir": None,
        "tensorboard_dir": None,
        "save_interval": None,
        "collections": [],
        "steps_saved": {},
    }
    program = (
        "import sys; from star_rating.contract import Contract; from star_rating.debugger import debugger; "
        "debugger.attach(Contract.from_environment({}), enabled=False).finish(); "
        "sys.exit(bool({'smdebug', 'tensorflow', 'google.protobuf'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(debugger.__file__).parents[2])}
    assert subprocess.run([sys.executable, "-c", program], check=False, env=environment).returncode == 0
