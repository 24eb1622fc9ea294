"""Processors that a test needs and this machine is not."""

from __future__ import annotations

from star_rating.hardware.instruction_set import LADDER, Rung

ALWAYS = frozenset[str]()
TRAP = "0f0b"  # ud2: the processor's own "invalid instruction", SIGILL on every x86
RETURN = "c3"


def lying_ladder(trapping: str) -> list[Rung]:
    """A processor that advertises everything up to AMX and traps at one rung."""
    return [Rung(rung.name, ALWAYS, TRAP if rung.name == trapping else RETURN) for rung in LADDER[:-1]]
