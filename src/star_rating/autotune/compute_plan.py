"""Decide on XLA and mixed precision: the one place where `use_xla` and `use_amp` become what really happens.

    acceleration = decide(trial, hardware)
    acceleration.apply()                                   # before the model is made
    model = build_model(...)

True means that it happens: XLA compiles the training step, mixed precision computes in bfloat16 on a processor and in
float16 (with a scaled loss) on a GPU, with variables in float32 on both. `auto` measures on this machine, where the run
is long enough to earn that back (budget.py), and takes the fastest whose losses agree (benchmark.py); else it is
float32 without XLA. No measurement comes out twice the same: who wants a run to be repeated bit by bit sets True or
False. A run that resumes keeps what it had decided.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
import tf_keras

from star_rating.autotune import budget
from star_rating.autotune.autotuner import Trial
from star_rating.autotune.benchmark import (
    BFLOAT16,
    FLOAT32,
    Measurement,
    Mode,
    fastest,
    seconds_per_step,
    slower_setting,
    table,
    unmeasured,
)
from star_rating.hardware import HardwareInfo
from star_rating.hardware.instruction_set import InstructionSet
from star_rating.hyperparameters import Switch

log = logging.getLogger(__name__)

SHARE_TO_DECIDE = 0.05
"""Of the run's expected time, that a trial may take if a switch is `auto`."""
SHARE_TO_WARN = 0.02
"""The same if nothing is left to decide, and all that can come of it is a warning."""
BFLOAT16_PRODUCTS = "AVX512_CORE"
"""The lowest instruction set with which TensorFlow lets oneDNN multiply in bfloat16 (tensorflow/core/util/util.cc: it
asks for AVX-512 even on arm64, whose own bfloat16 stays unused); it says on stderr if it is asked to do so without."""


@dataclass(frozen=True)
class ComputePlan:
    """How a run computes, and why."""

    mode: Mode
    reason: str
    measured: tuple[Measurement, ...]
    """Empty where nothing was."""
    hardware: HardwareInfo

    @property
    def seconds_without_xla(self) -> float | None:
        """What a step takes in the same dtype without XLA, if it was measured."""
        return seconds_per_step(self.measured, Mode(xla=False, compute_dtype=self.mode.compute_dtype))

    def compare_with_xla(self, seconds_per_step: float) -> None:
        """Warn if the run's steps under XLA take longer than those without it that were measured."""
        if warning := slower_setting("use_xla", seconds_per_step, self.seconds_without_xla, value=True):
            log.warning(warning)

    def apply(self) -> None:
        """Make layers that are created from now on compute in the mode's dtype."""
        tf_keras.mixed_precision.set_global_policy(self.mode.policy)

    def record(self) -> dict[str, Any]:
        """Return what run.json and checkpoints keep."""
        return {
            "xla": self.mode.xla,
            "amp": self.mode.amp,
            "compute_dtype": self.mode.compute_dtype,
            "variable_dtype": FLOAT32,
            "reason": self.reason,
            "measured": [line.record() for line in self.measured],
            "instruction_set": self.hardware.instruction_set.record(),
            "threads": self.hardware.threads.record(),
        }


def decide(trial: Trial, hardware: HardwareInfo, previous: Mapping[str, Any] | None = None) -> ComputePlan:
    """Turn the hyperparameters `use_xla` and `use_amp` into a mode, and say which; measures where that is worth it.

    `previous` is the record() of the run that this one resumes: its decision holds, unless a switch was set since.
    """
    use_xla, use_amp = trial.hyperparameters.use_xla, trial.hyperparameters.use_amp
    allowed = allowed_modes(use_xla, use_amp, gpu=hardware.gpu)
    measured: tuple[Measurement, ...] = ()
    if previous is not None and (mode := Mode(previous["xla"], previous["compute_dtype"])) in allowed:
        measured = tuple(Measurement(**line) for line in previous["measured"])
        why = "as decided before the interruption"
    elif hardware.gpu:
        mode, why = allowed[0], "nothing is measured on a GPU"
    else:
        measured, why = _measure(trial, allowed, hardware.instruction_set)
        mode, why = fastest(allowed, measured, trial.steps) if measured else (allowed[0], why)
    settings = f"use_xla={use_xla}, use_amp={use_amp}"
    reason = settings if len(allowed) == 1 else f"{settings}: {why}"
    limit = hardware.instruction_set.limit or hardware.instruction_set.best or "not probed"
    threads = hardware.threads.intra_op
    log.info("acceleration: %s (%s), instruction set %s, %d thread(s) an operation", mode, reason, limit, threads)
    return ComputePlan(mode, reason, measured, hardware)


def plan_from_record(record: Mapping[str, Any], hardware: HardwareInfo) -> ComputePlan:
    """Return what another host of the job has decided, from its record()."""
    mode = Mode(record["xla"], record["compute_dtype"])
    log.info("acceleration: %s, as the first host has decided", mode)
    return ComputePlan(mode, record["reason"], tuple(Measurement(**line) for line in record["measured"]), hardware)


def allowed_modes(use_xla: Switch, use_amp: Switch, *, gpu: bool) -> list[Mode]:
    """Return the modes that the switches leave open, the most cautious first."""
    # Processors have no float16 product worth the name, and GPUs before 2020 no bfloat16.
    mixed = "float16" if gpu else BFLOAT16
    compiled = {"True": [True], "False": [False], "auto": [False, True]}[use_xla]
    dtypes = {"True": [mixed], "False": [FLOAT32], "auto": [FLOAT32, mixed]}[use_amp]
    return [Mode(xla, dtype) for xla, dtype in itertools.product(compiled, dtypes)]


def _measure(
    trial: Trial, allowed: Sequence[Mode], instruction_set: InstructionSet
) -> tuple[tuple[Measurement, ...], str]:
    """Return what a trial measured, or nothing and why; warn of a `use_amp` that costs time."""
    use_amp = trial.hyperparameters.use_amp
    float32_rate = budget.matmul_rate(FLOAT32)
    if instruction_set.allows(BFLOAT16_PRODUCTS):
        bfloat16_rate = budget.matmul_rate(BFLOAT16)
        bfloat16_is_slow = bfloat16_rate < float32_rate
        speeds = f"matrix products run at {bfloat16_rate:.0f} GFLOP/s in bfloat16, at {float32_rate:.0f} in float32"
    else:
        bfloat16_is_slow, speeds = True, "oneDNN multiplies in bfloat16 with AVX-512 alone, which is not here"
    known_bad = bfloat16_is_slow and use_amp != "True"
    left_out = [mode for mode in _of_interest(allowed) if mode.amp and known_bad]
    modes = [mode for mode in _of_interest(allowed) if mode not in left_out]
    if len(modes) == 1:
        return (), speeds
    try:
        share = SHARE_TO_DECIDE if len(allowed) > 1 else SHARE_TO_WARN
        seconds = budget.budget(trial, modes, float32_rate, share)
    except budget.NotWorthItError as problem:
        if bfloat16_is_slow and use_amp == "True":
            log.warning("use_amp=True makes this run slower: %s", speeds)
        return (), f"not measured, as {problem}"
    log.info("acceleration: measuring %s for at most %.0f s", ", ".join(map(str, modes)), seconds)
    measured = (*trial.measure(modes, seconds, share), *(unmeasured(mode, speeds) for mode in left_out))
    log.info("acceleration: measured with the same weights, batches and seeds\n%s", table(measured))
    if use_amp != "auto":
        _warn_of_amp(measured, amp=use_amp == "True")
    return measured, ""


def _of_interest(allowed: Sequence[Mode]) -> list[Mode]:
    """Return what a trial shall compare, those without XLA first."""
    # Without XLA both dtypes are cheap to try, whatever is allowed: a warning may come of it. What XLA does to a run
    # that has it anyway shows in the run itself (model/xla.py).
    compiled = [mode for mode in allowed if mode.xla] if len(allowed) > 1 else []
    return [*(Mode(xla=False, compute_dtype=dtype) for dtype in (FLOAT32, BFLOAT16)), *compiled]


def _warn_of_amp(measured: Sequence[Measurement], *, amp: bool) -> None:
    in_float32, in_bfloat16 = (
        seconds_per_step(measured, Mode(xla=False, compute_dtype=dtype)) for dtype in (FLOAT32, BFLOAT16)
    )
    chosen, opposite = (in_bfloat16, in_float32) if amp else (in_float32, in_bfloat16)
    if warning := slower_setting("use_amp", chosen, opposite, value=amp):
        log.warning(warning)


def has_gpu() -> bool:
    """Return whether TensorFlow sees a GPU."""
    return bool(tf.config.list_physical_devices("GPU"))
