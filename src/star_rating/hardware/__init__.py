"""What the machine has for this process, and what TensorFlow is told of it: instruction set, threads, memory."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass

from star_rating.hardware import instruction_set, threads


@dataclass(frozen=True)
class HardwareInfo:
    """What a run computes on."""

    instruction_set: instruction_set.InstructionSet
    threads: threads.Threads
    gpu: bool = False
    """Whether TensorFlow sees one; known once it is imported."""


def prepare_tensorflow(environ: MutableMapping[str, str]) -> HardwareInfo:
    """Set the variables that TensorFlow reads when it is imported; raise ConfigurationError for what makes no sense."""
    return HardwareInfo(instruction_set.choose(environ), threads.choose(environ))
