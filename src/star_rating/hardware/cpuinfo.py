"""What /proc/cpuinfo tells of the processor, on x86-64 and on arm64: its name, and the instruction sets it advertises.

    read_processor().name       # "AMD EPYC", "Neoverse-V1 (Graviton3)", "Apple"

x86's kernel writes a name. arm64's writes numbers (arch/arm64/kernel/cpuinfo.c): who designed the core, and which of
the designer's cores it is. Arm's numbers are those of util-linux's lscpu and of the cores' Technical Reference Manuals.
A virtual machine on an Apple laptop has 0x61 and no core's number.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")

_DESIGNERS = {
    "0x41": "Arm",
    "0x46": "Fujitsu",
    "0x48": "HiSilicon",
    "0x4e": "NVIDIA",
    "0x51": "Qualcomm",
    "0x61": "Apple",
    "0x6d": "Microsoft",
    "0xc0": "Ampere",
}
_CORES = {
    ("0x41", "0xd08"): "Cortex-A72 (Graviton)",
    ("0x41", "0xd0c"): "Neoverse-N1 (Graviton2)",
    ("0x41", "0xd40"): "Neoverse-V1 (Graviton3)",
    ("0x41", "0xd49"): "Neoverse-N2",
    ("0x41", "0xd4f"): "Neoverse-V2 (Graviton4)",
}


@dataclass(frozen=True)
class Processor:
    """The first of the machine's processors; the others are taken to be like it."""

    machine: str
    """x86_64 or aarch64: what this process's own code is made for."""
    name: str
    """Empty where the kernel does not say."""
    flags: frozenset[str]
    """What it advertises, by the kernel's names; empty where the kernel does not say."""


def read_processor(cpuinfo: Path = CPUINFO, machine: str | None = None) -> Processor:
    """Return the processor that the kernel describes, and this process's own kind of machine unless one is given."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8").partition("\n\n")[0].splitlines()
    except OSError:
        lines = []
    fields = {name.strip(): text.strip() for name, _, text in (line.partition(":") for line in lines)}
    machine = machine or platform.machine()
    return Processor(
        machine,
        fields.get("model name") or _arm_name(fields),
        frozenset(fields.get("Features" if machine == "aarch64" else "flags", "").split()),
    )


def _arm_name(fields: dict[str, str]) -> str:
    designer, core = fields.get("CPU implementer", ""), fields.get("CPU part", "")
    if (designer, core) in _CORES:
        return _CORES[designer, core]
    name = _DESIGNERS.get(designer, f"designer {designer}" if designer else "")
    return name if designer == "0x61" or not core else f"{name}, core {core}"
