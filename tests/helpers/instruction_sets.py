"""Processors that a test needs and this machine is not."""

from __future__ import annotations

from star_rating.hardware.instruction_set import ISA_LEVELS, ISALevel

ALWAYS = frozenset[str]()
TRAP = "0f0b"  # ud2: the processor's own "invalid instruction", SIGILL on every x86
RETURN = "c3"


def lying_isa_levels(trapping: str) -> list[ISALevel]:
    """A processor that advertises everything up to AMX and traps at one level."""
    return [ISALevel(level.name, ALWAYS, TRAP if level.name == trapping else RETURN) for level in ISA_LEVELS[:-1]]
