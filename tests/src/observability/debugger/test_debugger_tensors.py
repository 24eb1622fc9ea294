"""What the hook saves under Keras: the right tensors at the right steps, equal to what a recorder kept on its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tf_keras

from observability.debugger.debugger import attach
from star_rating.contract import Contract
from tests.helpers.debugger_files import configure
from tests.helpers.debugger_fit import BATCH, EPOCHS, STEPS, Recorder, batch_of, fit

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("fresh_smdebug")]

ALL_STEPS = range(STEPS * EPOCHS)
BIAS, KERNEL, EMBEDDING = (
    f"two_inputs/{name}" for name in ("classifier/bias", "classifier/kernel", "embedding/embeddings")
)


def collection(name: str, **parameters: str) -> dict[str, Any]:
    settings = {key.replace("__", "."): value for key, value in parameters.items()}
    return {"CollectionName": name, "CollectionParameters": settings}


def trial_of(record: dict[str, Any]) -> Any:
    from smdebug.trials import create_trial

    assert record["enabled"], record["disabled_reason"]
    return create_trial(record["out_dir"])


def steps_of(trial: Any, tensor: str, mode: str = "TRAIN") -> list[int]:
    from smdebug import modes

    steps: list[int] = trial.tensor(tensor).steps(mode=modes[mode])
    return steps


def value(trial: Any, tensor: str, step: int) -> Any:
    from smdebug import modes

    return trial.tensor(tensor).value(step, mode=modes.TRAIN)


@pytest.mark.parametrize(
    ("jit_compile", "policy"),
    [
        (False, "float32"),
        (True, "float32"),
        (True, "mixed_bfloat16"),
        (False, "mixed_bfloat16"),
        (False, "mixed_float16"),
    ],
)
def test_five_collections_are_saved_as_they_were(contract: Contract, *, jit_compile: bool, policy: str) -> None:
    names = ("losses", "metrics", "weights", "biases", "gradients")
    configure(
        contract,
        {"HookParameters": {"save_interval": "5"}, "CollectionConfigurations": [collection(name) for name in names]},
    )
    tf_keras.mixed_precision.set_global_policy(policy)
    recorder = Recorder()
    attached = attach(contract)
    fit(attached, recorder, jit_compile=jit_compile)
    record = attached.finish(1.0)

    expected = list(ALL_STEPS[::5])
    assert record["steps_saved"]["TRAIN"] == len(expected)
    assert record["collections"] == {
        "losses": 2,
        "metrics": 3,
        "weights": 2,
        "biases": 1,
        "gradients": 3,
        "sm_metrics": 0,
    }
    trial = trial_of(record)
    saved = {name: sorted(trial.tensor_names(collection=name)) for name in names}
    assert saved == {
        "losses": ["loss"],
        "metrics": ["accuracy", "batch"],
        "weights": [f"classifier/weights/{KERNEL}:0", f"embedding/weights/{EMBEDDING}:0"],
        "biases": [f"classifier/weights/{BIAS}:0"],
        "gradients": [f"gradients/{name}Grad" for name in (BIAS, KERNEL, EMBEDDING)],
    }
    # Both compute in bfloat16, of seven bits, and not in the same order.
    tolerance = {"float32": 1e-6, "mixed_bfloat16": 1e-2, "mixed_float16": 1e-3}[policy]
    for step in expected:
        assert value(trial, "loss", step) == pytest.approx(recorder.logs[step]["loss"])
        assert value(trial, "accuracy", step) == pytest.approx(recorder.logs[step]["accuracy"])
        for layer, name in (("classifier", BIAS), ("classifier", KERNEL), ("embedding", EMBEDDING)):
            weight = value(trial, f"{layer}/weights/{name}:0", step)
            np.testing.assert_array_equal(weight, recorder.weights[step][f"{name}:0"])
            gradient, wanted = value(trial, f"gradients/{name}Grad", step), recorder.gradients[step][name]
            assert gradient.dtype == np.float32
            assert np.abs(gradient - wanted).max() <= tolerance * np.abs(wanted).max()
            assert np.abs(wanted).max() > 0


def test_gradients_are_those_before_clipping(contract: Contract) -> None:
    configure(contract, {"CollectionConfigurations": [collection("gradients", save_interval="1")]})
    recorder = Recorder()
    attached = attach(contract)
    fit(attached, recorder, clip=1e-3)
    trial = trial_of(attached.finish(1.0))
    for step in ALL_STEPS:
        saved = value(trial, f"gradients/{KERNEL}Grad", step)
        np.testing.assert_allclose(saved, recorder.gradients[step][KERNEL], rtol=1e-5, atol=1e-8)
    assert np.linalg.norm(saved) > 1e-2


def test_each_collection_has_its_own_steps_and_modes_as_sagemaker_writes_them(contract: Contract) -> None:
    configure(
        contract,
        {
            "HookParameters": {"save_interval": "100", "eval.save_interval": "2"},
            "CollectionConfigurations": [
                collection("losses", save_interval="7"),
                collection("gradients", save_steps="1, 3", start_step="20", end_step="24", save_interval="2"),
                collection("weights", train__save_interval="11", eval__start_step="4"),
                collection("kernels", include_regex="gradients/.*kernel,weights/.*kernel", save_interval="10"),
            ],
        },
    )
    attached = attach(contract)
    fit(attached)
    trial = trial_of(attached.finish(1.0))
    assert steps_of(trial, "loss") == [0, 7, 14, 21]
    assert steps_of(trial, "loss", "EVAL") == [0], "a collection's interval is that of all modes"
    assert steps_of(trial, "accuracy", "EVAL") == [0, 2, 4]
    assert steps_of(trial, "val_loss", "EVAL") == [2, 5], "smdebug saves an epoch's end whatever the interval"
    assert steps_of(trial, f"gradients/{BIAS}Grad") == [1, 3, 20, 22]
    assert steps_of(trial, f"gradients/{KERNEL}Grad") == [0, 1, 3, 10, 20, 22]
    assert steps_of(trial, f"embedding/weights/{EMBEDDING}:0") == [0, 11, 22]
    assert steps_of(trial, f"embedding/weights/{EMBEDDING}:0", "EVAL") == [4]
    assert sorted(trial.tensor_names(collection="kernels")) == [
        f"classifier/weights/{KERNEL}:0",
        f"gradients/{KERNEL}Grad",
    ]


def test_a_regex_chooses_among_the_gradients(contract: Contract) -> None:
    configure(contract, {"CollectionConfigurations": [collection("gradients", include_regex="embedding")]})
    attached = attach(contract)
    fit(attached)
    trial = trial_of(attached.finish(1.0))
    assert trial.tensor_names(collection="gradients") == [f"gradients/{EMBEDDING}Grad"]


def test_reductions_are_saved_in_the_tensors_place_or_beside_it(contract: Contract) -> None:
    from smdebug import modes

    configure(
        contract,
        {
            "CollectionConfigurations": [
                collection("gradients", reductions="mean,abs_max,variance", save_interval="8"),
                collection("weights", reductions="min,l2_norm", save_raw_tensor="True", save_interval="8"),
            ],
        },
    )
    recorder = Recorder()
    attached = attach(contract)
    fit(attached, recorder)
    trial = trial_of(attached.finish(1.0))
    gradient, weight = trial.tensor(f"gradients/{KERNEL}Grad"), trial.tensor(f"classifier/weights/{KERNEL}:0")
    for step in (0, 8, 16):
        wanted = recorder.gradients[step][KERNEL]
        saved = gradient.reduction_values(step, mode=modes.TRAIN)
        assert saved == {
            ("mean", False): pytest.approx(wanted.mean(), abs=1e-8),
            ("max", True): pytest.approx(np.abs(wanted).max(), rel=1e-3),
            ("variance", False): pytest.approx(wanted.var(), rel=1e-3),
        }
        kernel = recorder.weights[step][f"{KERNEL}:0"]
        np.testing.assert_array_equal(weight.value(step, mode=modes.TRAIN), kernel)
        assert weight.reduction_value(step, "min", mode=modes.TRAIN) == kernel.min()
        assert weight.reduction_value(step, "l2", mode=modes.TRAIN) == pytest.approx(np.linalg.norm(kernel, 2))
    with pytest.raises(Exception, match="was not saved"):
        gradient.value(0, mode=modes.TRAIN)


def test_optimizer_variables_are_saved(contract: Contract) -> None:
    configure(contract, {"CollectionConfigurations": [collection("optimizer_variables", save_interval="8")]})
    attached = attach(contract)
    model = fit(attached)
    trial = trial_of(attached.finish(1.0))
    names = trial.tensor_names(collection="optimizer_variables")
    assert len(names) == len(model.optimizer.variables)


@pytest.mark.parametrize(
    ("collections", "jit_compile"),
    [
        ([collection("outputs")], False),
        ([collection("outputs")], True),
        ([collection("answers", include_regex="^labels,pred")], False),
    ],
)
def test_labels_and_predictions_are_saved_in_both_modes(
    contract: Contract, collections: list[dict[str, Any]], *, jit_compile: bool
) -> None:
    from smdebug import modes

    configure(contract, {"HookParameters": {"save_interval": "5"}, "CollectionConfigurations": collections})
    attached = attach(contract)
    recorder = Recorder()
    model = fit(attached, recorder, jit_compile=jit_compile)
    trial = trial_of(attached.finish(1.0))
    assert sorted(trial.tensor_names(collection=collections[0]["CollectionName"])) == ["labels", "predictions"]
    assert steps_of(trial, "labels") == list(ALL_STEPS[::5])
    assert steps_of(trial, "predictions", "EVAL") == [0, 5]
    for step in ALL_STEPS[::5]:
        np.testing.assert_array_equal(value(trial, "labels", step), batch_of(step % STEPS)[1])
        assert value(trial, "predictions", step).shape == (BATCH, 5)
    inputs, labels = batch_of(2)  # the last of the second validation
    np.testing.assert_array_equal(trial.tensor("labels").value(5, mode=modes.EVAL), labels)
    logits = trial.tensor("predictions").value(5, mode=modes.EVAL)
    np.testing.assert_allclose(logits, model(inputs).numpy(), rtol=1e-5, atol=1e-6)
    assert set(recorder.logs[0]) == {"loss", "accuracy"}, "nobody else sees them"


def test_without_gradients_in_the_settings_the_step_is_the_same(contract: Contract) -> None:
    configure(contract, {"CollectionConfigurations": [collection("losses", save_interval="1"), collection("weights")]})
    attached = attach(contract)
    model = fit(attached)
    assert "compute_gradients" not in vars(model.optimizer)
    assert "compute_metrics" not in vars(model)
    assert trial_of(attached.finish(1.0)).tensor_names(collection="gradients") == []


def test_tensorboard_files_hold_what_was_saved(contract: Contract, tmp_path: Path) -> None:
    del tmp_path
    configure(
        contract,
        {
            "HookParameters": {"export_tensorboard": "true", "tensorboard_dir": "board"},
            "CollectionConfigurations": [
                collection("gradients", save_interval="10"),
                collection("losses", save_interval="10"),
            ],
        },
    )
    recorder = Recorder()
    attached = attach(contract)
    fit(attached, recorder)
    record = attached.finish(1.0)
    assert record["tensorboard_dir"] == str(contract.output_dir / "board")
    scalars, histograms = read_events(Path(record["tensorboard_dir"]) / "TRAIN")
    assert scalars["loss"][10] == pytest.approx(recorder.logs[10]["loss"])
    assert histograms[f"gradients/gradients/{KERNEL}Grad"][10].num == 30


def read_events(folder: Path) -> tuple[dict[str, dict[int, float]], dict[str, dict[int, Any]]]:
    import tensorflow as tf

    scalars: dict[str, dict[int, float]] = {}
    histograms: dict[str, dict[int, Any]] = {}
    for path in sorted(folder.glob("*.tfevents")):
        for record in tf.data.TFRecordDataset([str(path)]):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for entry in event.summary.value:
                if entry.HasField("histo"):
                    histograms.setdefault(entry.tag, {})[event.step] = entry.histo
                else:
                    scalars.setdefault(entry.tag, {})[event.step] = entry.simple_value
    return scalars, histograms
