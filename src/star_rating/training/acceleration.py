"""Decide on XLA and mixed precision: the one place where `use_xla` and `use_amp` become what really happens.

    acceleration = decide("auto", "auto", instruction_set.choose(os.environ), gpu=has_gpu())
    acceleration.apply()                                   # before the model is made
    model.compile(..., jit_compile=acceleration.xla)

True means that it happens: XLA compiles the training step, mixed precision computes in bfloat16 on a processor and in
float16 (with a scaled loss) on a GPU, with variables in float32 on both. `auto` is the choice that measurements of
this model have found best; a measurement on the job's own machine would take the place of `_auto_xla` and `_auto_amp`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import tensorflow as tf
import tf_keras

from star_rating.hyperparameters import Switch
from star_rating.training.instruction_set import InstructionSet

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Acceleration:
    """What a run computes with."""

    xla: bool
    """Whether XLA compiles the step: `jit_compile`, and shapes that do not depend on the data."""
    amp: bool
    compute_dtype: str
    """Of the matrix products: float32, bfloat16 or float16. Variables, loss and logits are float32."""
    reasons: tuple[str, str]
    """Why `xla` and why `amp` are what they are."""
    instruction_set: InstructionSet

    @property
    def policy(self) -> str:
        """Keras's name for the dtypes of the layers."""
        return f"mixed_{self.compute_dtype}" if self.amp else "float32"

    @property
    def summary(self) -> str:
        """Say in one line what takes effect."""
        instructions = self.instruction_set.limit or self.instruction_set.best or "not probed"
        return (
            f"XLA {'on' if self.xla else 'off'} ({self.reasons[0]}), compute in {self.compute_dtype} "
            f"({self.reasons[1]}), instruction set {instructions}"
        )

    def apply(self) -> None:
        """Make layers that are created from now on compute in `compute_dtype`."""
        tf_keras.mixed_precision.set_global_policy(self.policy)
        log.info("acceleration: %s", self.summary)

    def record(self) -> dict[str, object]:
        """Return what run.json keeps."""
        return {
            "xla": self.xla,
            "amp": self.amp,
            "compute_dtype": self.compute_dtype,
            "variable_dtype": "float32",
            "xla_reason": self.reasons[0],
            "amp_reason": self.reasons[1],
            "instruction_set": self.instruction_set.record(),
        }


def decide(use_xla: Switch, use_amp: Switch, instruction_set: InstructionSet, *, gpu: bool) -> Acceleration:
    """Turn the two hyperparameters into a decision; pure."""
    xla, xla_reason = _auto_xla() if use_xla == "auto" else (use_xla == "True", f"use_xla={use_xla}")
    amp, amp_reason = (
        _auto_amp(instruction_set, gpu=gpu) if use_amp == "auto" else (use_amp == "True", f"use_amp={use_amp}")
    )
    mixed = "float16" if gpu else "bfloat16"
    return Acceleration(xla, amp, mixed if amp else "float32", (xla_reason, amp_reason), instruction_set)


def _auto_xla() -> tuple[bool, str]:
    return False, "auto: a compiled step was 1.3 to 2 times slower than oneDNN's, and compiling took 20 s and more"


def _auto_amp(instruction_set: InstructionSet, *, gpu: bool) -> tuple[bool, str]:
    if gpu:
        return False, "auto: not measured on a GPU; set use_amp=True for float16"
    if instruction_set.has_amx:
        return False, "auto: bfloat16 rounds more; with AMX, as here, use_amp=True was 1.1 to 1.4 times faster"
    return False, "auto: without AMX, a step in bfloat16 was 1.7 to 2.4 times slower"


def has_gpu() -> bool:
    """Return whether TensorFlow sees a GPU."""
    return bool(tf.config.list_physical_devices("GPU"))
