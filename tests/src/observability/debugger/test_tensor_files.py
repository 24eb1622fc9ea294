"""The files are what AWS's rule containers read: framing, index, collections, end marker; by a reader of the tests'."""

from __future__ import annotations

import os

import numpy as np
import pytest

from observability.debugger.debugger import attach
from star_rating.contract import Contract
from tests.helpers.debugger_files import configure
from tests.helpers.debugger_fit import EPOCHS, STEPS, Recorder, fit
from tests.helpers.tensor_files import read_collections, read_folder

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("fresh_smdebug")]

COLLECTIONS = ("losses", "metrics", "weights", "biases", "gradients")


@pytest.mark.parametrize("on_sagemaker", [False, True])
def test_framing_index_collections_and_end_marker(contract: Contract, *, on_sagemaker: bool) -> None:
    tensors = contract.output_dir / "tensors"
    configure(
        contract,
        {
            "LocalPath": str(tensors),
            "S3OutputPath": "s3://bucket/tensors",
            "HookParameters": {"save_interval": "4", "eval.save_interval": "2"},
            "CollectionConfigurations": [{"CollectionName": name} for name in COLLECTIONS],
        },
    )
    if on_sagemaker:
        os.environ["TRAINING_JOB_NAME"] = "job"
    recorder = Recorder()
    attached = attach(contract)
    fit(attached, recorder)
    attached.finish(1.0)

    steps = read_folder(tensors)
    saved = [(step.global_step, step.mode, step.mode_step) for step in steps]
    epoch = STEPS + 3  # and three of validation
    assert saved == sorted(
        [(number // STEPS * epoch + number % STEPS, "TRAIN", number) for number in range(0, STEPS * EPOCHS, 4)]
        + [(number // 3 * epoch + STEPS + number % 3, "EVAL", number) for number in (0, 2, 4, 5)]
    )
    for step in steps:
        if step.mode == "TRAIN":
            assert step.tensors["loss"].shape == (1,)
            assert step.tensors["loss"][0] == pytest.approx(recorder.logs[step.mode_step]["loss"])
            kernel = "two_inputs/classifier/kernel"
            np.testing.assert_array_equal(
                step.tensors[f"classifier/weights/{kernel}:0"], recorder.weights[step.mode_step][f"{kernel}:0"]
            )
            gradient = step.tensors[f"gradients/{kernel}Grad"]
            np.testing.assert_allclose(gradient, recorder.gradients[step.mode_step][kernel], rtol=1e-4, atol=1e-7)
        else:
            assert not any(name.startswith("gradients") for name in step.tensors)

    collections = read_collections(tensors)
    assert collections["losses"]["tensor_names"] == ["loss"]
    assert len(collections["gradients"]["tensor_names"]) == 3
    assert collections["weights"]["save_config"]["TRAIN"]["save_interval"] == 4
    assert collections["weights"]["save_config"]["EVAL"]["save_interval"] == 2

    marker = tensors / "training_job_end.ts"
    assert marker.exists() is not on_sagemaker
    assert on_sagemaker or marker.read_bytes() == b""
    assert not list(tensors.rglob("*.tmp"))
    assert not list(tensors.glob("claim.smd"))
