"""use_xla and use_amp: what they leave open, what is decided, and that it happens."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from star_rating.autotune import budget, compute_plan
from star_rating.autotune.autotuner import Trial
from star_rating.autotune.benchmark import Measurement, Mode
from star_rating.autotune.compute_plan import allowed_modes, decide
from star_rating.data.channel import open_channel
from star_rating.distributed.strategy import SingleHostStrategy
from star_rating.hardware import HardwareInfo
from star_rating.hardware.instruction_set import InstructionSet
from star_rating.hardware.threads import Threads
from star_rating.hyperparameters import Hyperparameters, Switch
from star_rating.model import pretrained_weights
from star_rating.model.train_step import build_model
from tests.helpers.tiny_model import tiny_weights
from tests.helpers.training_job import LENGTH, TrainingJob

FLOAT32, BFLOAT16 = Mode(xla=False, compute_dtype="float32"), Mode(xla=False, compute_dtype="bfloat16")
COMPILED, COMPILED_BFLOAT16 = replace(FLOAT32, xla=True), replace(BFLOAT16, xla=True)
MACHINE = HardwareInfo(InstructionSet(best="AVX512_CORE_AMX"), Threads(2, 2, 2, 2), gpu=False)
SECONDS = {FLOAT32: 2.0, BFLOAT16: 1.0, COMPILED: 3.0, COMPILED_BFLOAT16: 4.0}


@dataclass(frozen=True)
class KnownTrial(Trial):
    """A trial whose outcome is known; the real one is tested in test_autotuner.py."""

    def measure(self, modes: Sequence[Mode], seconds: float, share: float) -> tuple[Measurement, ...]:
        assert 0 < seconds <= budget.MOST_SECONDS
        assert share in (compute_plan.SHARE_TO_DECIDE, compute_plan.SHARE_TO_WARN)
        return tuple(
            Measurement(mode.xla, mode.compute_dtype, SECONDS[mode], 10.0, loss=1.6, agrees=True) for mode in modes
        )


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> TrainingJob:
    return TrainingJob(tmp_path_factory.mktemp("job"))


def trial(job: TrainingJob, use_xla: Switch, use_amp: Switch, *, steps: int = 10**9) -> Trial:
    """Return the trial of a run that is, by default, long enough for any measurement."""
    pretrained = pretrained_weights.load(job.weights)
    channel = open_channel("train", job.channel("train"), max_seq_length=LENGTH, vocabulary_size=200)
    return KnownTrial(
        Hyperparameters(use_xla=use_xla, use_amp=use_amp, max_seq_length=LENGTH), pretrained, channel, steps
    )


@pytest.fixture(params=["bfloat16 is fast"])
def rates(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = request.param == "bfloat16 is fast"
    monkeypatch.setattr(budget, "matmul_rate", {"float32": 250.0, "bfloat16": 900.0 if fast else 60.0}.__getitem__)


SLOW_BFLOAT16 = pytest.mark.parametrize("rates", ["bfloat16 is slow"], indirect=True)


@pytest.mark.parametrize(
    ("use_xla", "use_amp", "allowed"),
    [
        ("auto", "auto", [FLOAT32, BFLOAT16, COMPILED, COMPILED_BFLOAT16]),
        ("False", "auto", [FLOAT32, BFLOAT16]),
        ("auto", "True", [BFLOAT16, COMPILED_BFLOAT16]),
        ("True", "True", [COMPILED_BFLOAT16]),
        ("False", "False", [FLOAT32]),
    ],
)
def test_true_and_false_leave_nothing_open_and_auto_leaves_both(
    use_xla: Switch, use_amp: Switch, allowed: list[Mode]
) -> None:
    assert allowed_modes(use_xla, use_amp, gpu=False) == allowed


def test_on_a_gpu_mixed_precision_is_float16() -> None:
    assert allowed_modes("False", "True", gpu=True) == [Mode(xla=False, compute_dtype="float16")]


@pytest.mark.usefixtures("rates")
def test_auto_takes_what_was_measured_fastest_and_logs_one_table(
    job: TrainingJob, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    decided = decide(trial(job, "auto", "auto"), MACHINE)
    assert decided.mode == BFLOAT16
    assert decided.reason == "use_xla=auto, use_amp=auto: 1 s a step, float32 without XLA 2 s"
    assert [line.mode for line in decided.measured] == [FLOAT32, BFLOAT16, COMPILED, COMPILED_BFLOAT16]
    (block,) = (message for message in caplog.messages if "s a step  first step" in message)
    assert len(block.splitlines()) == 2 + 4
    assert caplog.messages[-1] == (
        f"acceleration: bfloat16 without XLA ({decided.reason}), instruction set AVX512_CORE_AMX, "
        "2 thread(s) an operation"
    )


@SLOW_BFLOAT16
@pytest.mark.usefixtures("rates")
def test_bfloat16_is_not_tried_where_its_products_are_slower(job: TrainingJob) -> None:
    decided = decide(trial(job, "auto", "auto"), MACHINE)
    assert decided.mode == FLOAT32
    reasons = {line.mode: line.reason for line in decided.measured}
    assert reasons[FLOAT32] is reasons[COMPILED] is None
    assert (
        reasons[BFLOAT16]
        == reasons[COMPILED_BFLOAT16]
        == "matrix products run at 60 GFLOP/s in bfloat16, at 250 in float32"
    )


@SLOW_BFLOAT16
@pytest.mark.usefixtures("rates")
def test_with_nothing_to_compare_nothing_is_measured(job: TrainingJob) -> None:
    decided = decide(trial(job, "False", "auto"), MACHINE)
    assert (decided.mode, decided.measured) == (FLOAT32, ())
    assert "matrix products run at 60 GFLOP/s in bfloat16" in decided.reason


@pytest.mark.parametrize("known", [InstructionSet(best="AVX2"), InstructionSet(best="AVX512_CORE_AMX", limit="AVX2")])
def test_without_avx512_bfloat16_is_not_even_multiplied(
    job: TrainingJob, monkeypatch: pytest.MonkeyPatch, known: InstructionSet
) -> None:
    monkeypatch.setattr(budget, "matmul_rate", {"float32": 125.0}.__getitem__)
    decided = decide(trial(job, "False", "auto"), replace(MACHINE, instruction_set=known))
    assert (decided.mode, decided.measured) == (FLOAT32, ())
    assert decided.reason.endswith("oneDNN multiplies in bfloat16 with AVX-512 alone, which is not here")


def test_a_short_run_is_float32_without_xla_and_says_why(job: TrainingJob) -> None:
    decided = decide(trial(job, "auto", "auto", steps=3), MACHINE)
    assert (decided.mode, decided.measured) == (FLOAT32, ())
    assert "not measured, as the run may take about 0 s" in decided.reason or "matrix products" in decided.reason


@pytest.mark.usefixtures("rates")
@pytest.mark.parametrize(
    ("use_amp", "warning"),
    [("True", None), ("False", "use_amp=False makes this run slower: 2 s a step, 1 s with use_amp=True")],
)
def test_a_setting_that_costs_time_is_warned_of_with_both_numbers(
    job: TrainingJob, caplog: pytest.LogCaptureFixture, use_amp: Switch, warning: str | None
) -> None:
    decide(trial(job, "False", use_amp), MACHINE)
    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [warning] * bool(
        warning
    )


@SLOW_BFLOAT16
@pytest.mark.usefixtures("rates")
def test_a_short_run_in_slow_bfloat16_is_warned_of_by_the_rates(
    job: TrainingJob, caplog: pytest.LogCaptureFixture
) -> None:
    decided = decide(trial(job, "False", "True", steps=3), MACHINE)
    assert decided.mode == BFLOAT16
    assert (
        "use_amp=True makes this run slower: matrix products run at 60 GFLOP/s in bfloat16, at 250 in float32"
        in caplog.messages
    )


@pytest.mark.usefixtures("rates")
def test_a_run_with_xla_learns_what_a_step_without_it_takes(job: TrainingJob) -> None:
    decided = decide(trial(job, "True", "False"), MACHINE)
    assert decided.mode == COMPILED
    assert decided.seconds_without_xla == 2.0


def test_a_resumed_run_keeps_its_decision(job: TrainingJob, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(budget, "matmul_rate", {"float32": 250.0, "bfloat16": 900.0}.__getitem__)
        before = decide(trial(job, "auto", "auto"), MACHINE)
    elsewhere = replace(MACHINE, instruction_set=InstructionSet(best="AVX2"))
    resumed = decide(trial(job, "auto", "auto"), elsewhere, previous=before.record())
    assert (resumed.mode, resumed.measured) == (before.mode, before.measured)
    assert resumed.hardware == elsewhere
    assert resumed.reason == "use_xla=auto, use_amp=auto: as decided before the interruption"


def test_a_switch_that_was_set_since_overrules_the_earlier_decision(job: TrainingJob) -> None:
    previous = compute_plan.ComputePlan(BFLOAT16, "", (), MACHINE).record()
    assert decide(trial(job, "False", "False", steps=3), MACHINE, previous=previous).mode == FLOAT32


def test_nothing_is_measured_on_a_gpu(job: TrainingJob) -> None:
    decided = decide(trial(job, "auto", "auto"), replace(MACHINE, gpu=True))
    assert (decided.mode, decided.measured) == (FLOAT32, ())
    assert decided.reason == "use_xla=auto, use_amp=auto: nothing is measured on a GPU"


def test_the_record_holds_what_took_effect() -> None:
    limited = replace(MACHINE, instruction_set=InstructionSet(best="AVX512_CORE_BF16", limit="AVX512_CORE_BF16"))
    record = compute_plan.ComputePlan(COMPILED_BFLOAT16, "use_xla=True, use_amp=True", (), limited).record()
    assert (record["xla"], record["amp"], record["compute_dtype"]) == (True, True, "bfloat16")
    assert record["instruction_set"]["limit"] == "AVX512_CORE_BF16"
    assert record["threads"] == {"cores": 2, "intra_op": 2, "inter_op": 2, "hardware_threads": 2, "numa_nodes": 1} | {
        "most": 2,
        "reason": "",
    }


@pytest.fixture
def keras_settings() -> Iterator[None]:
    before = tf_keras.mixed_precision.global_policy()
    yield
    tf_keras.mixed_precision.set_global_policy(before)


def built(mode: Mode, folder: Path) -> tf_keras.Model:
    compute_plan.ComputePlan(mode, "", (), MACHINE).apply()
    return build_model(
        Hyperparameters(max_seq_length=LENGTH),
        pretrained_weights.load(tiny_weights(folder)),
        total_steps=9,
        strategy=SingleHostStrategy(),
    )


@pytest.mark.usefixtures("keras_settings")
@pytest.mark.parametrize("mode", [FLOAT32, BFLOAT16])
def test_the_model_computes_in_the_modes_dtype_with_variables_in_float32(mode: Mode, tmp_path: Path) -> None:
    model = built(mode, tmp_path)
    assert model.distilbert.compute_dtype == mode.compute_dtype
    assert {variable.dtype for variable in model.trainable_variables} == {tf.float32}
    logits = model({"input_ids": tf.ones([2, 4], tf.int32), "input_mask": tf.ones([2, 4], tf.int32)})
    assert logits.dtype == tf.float32


@pytest.mark.slow
@pytest.mark.usefixtures("keras_settings")
def test_in_float16_the_loss_is_scaled_and_a_step_that_overflows_changes_nothing(tmp_path: Path) -> None:
    model = built(Mode(xla=False, compute_dtype="float16"), tmp_path)
    assert isinstance(model.optimizer, tf_keras.mixed_precision.LossScaleOptimizer)
    features = {"input_ids": tf.ones([4, 6], tf.int32), "input_mask": tf.ones([4, 6], tf.int32)}
    labels = tf.constant([0, 1, 2, 3])

    def kernel_after_a_step() -> Any:
        model.train_on_batch(features, labels)
        return model.classifier.kernel.numpy()

    before, after = model.classifier.kernel.numpy(), kernel_after_a_step()
    assert np.isfinite(after).all()
    assert (after != before).any()
    model.optimizer._loss_scale.current_loss_scale.assign(2.0**60)
    np.testing.assert_array_equal(kernel_after_a_step(), after)
    assert float(model.optimizer.loss_scale) == 2.0**59
