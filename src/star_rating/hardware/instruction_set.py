"""Find out which vector instructions really work here, and keep oneDNN and XLA to those; before TensorFlow is loaded.

    instruction_set = choose(os.environ)      # turns oneDNN on; limits it and XLA if the processor lies

Some virtual machines advertise AMX and kill the process with SIGILL at its first use, which is the first bfloat16
matrix product. So each instruction that the processor advertises is run once, in a child process that may die of it.
Takes about 25 ms.

By itself TensorFlow leaves oneDNN alone on processors without VNNI (ml.c4, and ml.c5 where it is a Skylake); a step of
DistilBERT-base took 1.16 times as long without it (AMD EPYC with AVX2, two cores). oneDNN reads ONEDNN_MAX_CPU_ISA
once; its names and their order are those of its developer guide, "CPU Dispatcher Control". XLA makes its code through
LLVM, which oneDNN's limit does not bind: it has a flag of its own.

Only x86-64 is probed. On arm64 oneDNN is turned on too (TensorFlow does so by itself on Graviton 3 alone); its names
and XLA's for instruction sets are others there, and no machine is known that advertises what it cannot run.
"""

from __future__ import annotations

import json
import logging
import re
import signal
import subprocess
import sys
from collections.abc import MutableMapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from star_rating.hardware.cpuinfo import Processor, read_processor

log = logging.getLogger(__name__)

ONEDNN_SWITCH = "TF_ENABLE_ONEDNN_OPTS"
VARIABLE = "ONEDNN_MAX_CPU_ISA"

ASCENDING = (
    "SSE41",
    "AVX",
    "AVX2",
    "AVX2_VNNI",
    "AVX2_VNNI_2",
    "AVX512_CORE",
    "AVX512_CORE_VNNI",
    "AVX512_CORE_BF16",
    "AVX512_CORE_FP16",
    "AVX512_CORE_AMX",
    "AVX512_CORE_AMX_FP16",
)
"""oneDNN's names, each including those before it."""

XLA_VARIABLE = "XLA_FLAGS"
XLA_NAMES = {
    "SSE4_2": "SSE41",
    "AVX": "AVX",
    "AVX2": "AVX2",
    "AVX512": "AVX512_CORE",
    "AVX512_VNNI": "AVX512_CORE_VNNI",
    "AVX512_BF16": "AVX512_CORE_BF16",
    "AMX": "AVX512_CORE_AMX",
    "AMX_FP16": "AVX512_CORE_AMX_FP16",
}
"""The values of XLA's flag xla_cpu_max_isa, lowest first, and oneDNN's names for the same."""

PROBE_SECONDS = 10.0
"""Far more than the probe takes; a child that hangs must not hang the job."""


@dataclass(frozen=True)
class ISALevel:
    """One instruction set: what advertises it, and an instruction of it to try."""

    name: str
    """oneDNN's name."""
    flags: frozenset[str]
    """What /proc/cpuinfo must list, all of it."""
    code: str
    """Machine code in hexadecimal, run as a C function f(tile_configuration)."""
    tiles: bool = False
    """Whether the kernel must be asked for AMX's tile registers first."""


_END = "c5f877c3"  # vzeroupper; ret
# ldtilecfg (%rdi); tilezero %tmm0; tilezero %tmm1; tilezero %tmm2
_LOAD_TILES = "c4e2784907" + "c4e27b49c0" + "c4e27b49c8" + "c4e27b49d0"
_DROP_TILES = "c4e27849c0" + _END  # tilerelease

ISA_LEVELS = (
    ISALevel("SSE41", frozenset({"sse4_1"}), "660f3840c0" + "c3"),  # pmulld %xmm0, %xmm0; ret
    ISALevel("AVX2", frozenset({"avx2"}), "c5fdefc0" + _END),  # vpxor %ymm0, %ymm0, %ymm0
    ISALevel(
        "AVX512_CORE",
        frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl"}),
        "62f17c4858c0" + _END,  # vaddps %zmm0, %zmm0, %zmm0
    ),
    ISALevel("AVX512_CORE_VNNI", frozenset({"avx512_vnni"}), "62f27d4850c0" + _END),  # vpdpbusd %zmm0, %zmm0, %zmm0
    ISALevel("AVX512_CORE_BF16", frozenset({"avx512_bf16"}), "62f27e4852c0" + _END),  # vdpbf16ps %zmm0, %zmm0, %zmm0
    ISALevel("AVX512_CORE_FP16", frozenset({"avx512_fp16"}), "62f57c4858c0" + _END),  # vaddph %zmm0, %zmm0, %zmm0
    ISALevel(
        "AVX512_CORE_AMX",
        frozenset({"amx_tile", "amx_bf16", "amx_int8"}),
        _LOAD_TILES + "c4e26a5cc1" + "c4e26b5ec1" + _DROP_TILES,  # tdpbf16ps, tdpbssd of %tmm2, %tmm1, %tmm0
        tiles=True,
    ),
    ISALevel(
        "AVX512_CORE_AMX_FP16",
        frozenset({"amx_fp16"}),
        _LOAD_TILES + "c4e26b5cc1" + _DROP_TILES,  # tdpfp16ps %tmm2, %tmm1, %tmm0
        tiles=True,
    ),
)

ARM_LEVELS = {"asimd": "ASIMD", "sve": "SVE", "sve2": "SVE2"}
"""arm64's vector instructions by the kernel's names, lowest first. The first (also called NEON) is on every arm64."""

UNTESTED_MAXIMUM = "AVX512_CORE"
"""What oneDNN may use of a processor with AMX where the probe cannot run; float32 loses nothing by it."""


@dataclass(frozen=True)
class InstructionSet:
    """What was found, and what oneDNN is allowed."""

    best: str | None = None
    """The highest level that is advertised and, on x86-64, works; None where the kernel advertises nothing."""
    trapped: str | None = None
    """The level that is advertised and does not work."""
    problem: str | None = None
    """How the trapped level failed, or why the probe could not run."""
    limit: str | None = None
    """The value of ONEDNN_MAX_CPU_ISA in force; None: oneDNN chooses by what the processor advertises."""

    def allows(self, name: str) -> bool:
        """Return whether oneDNN can use an instruction set of x86-64 of this name; True where nothing is known."""
        if self.best in ARM_LEVELS.values():
            return False
        return self.best is None or min(_height(self.best), _height(self.limit)) >= _height(name)

    def record(self) -> dict[str, str | None]:
        """Return what run.json keeps."""
        return asdict(self)


def choose(
    environ: MutableMapping[str, str],
    levels: Sequence[ISALevel] = ISA_LEVELS,
    processor: Processor | None = None,
) -> InstructionSet:
    """Turn oneDNN on, probe the processor, and limit oneDNN and XLA in `environ` if it advertises what does not work.

    What the user has set stays, unless it allows what was seen to trap.
    """
    environ.setdefault(ONEDNN_SWITCH, "1")
    processor = processor or read_processor()
    wanted = environ.get(VARIABLE)
    if processor.machine == "aarch64":
        # Under QEMU's user emulation /proc/cpuinfo is the host's, of another kind: what every arm64 has remains.
        advertised = [name for flag, name in ARM_LEVELS.items() if flag in processor.flags]
        return InstructionSet((advertised or ["ASIMD"])[-1], limit=wanted)
    found = probe(levels, processor.flags)
    if found.best is None or found.trapped is None:
        return replace(found, limit=wanted)
    _limit_xla(environ, found.best)
    if _height(wanted) <= _height(found.best):
        return replace(found, limit=wanted)
    environ[VARIABLE] = found.best
    log.warning(
        "this processor advertises %s, which %s; oneDNN and XLA are limited to %s%s",
        found.trapped,
        found.problem,
        found.best,
        f" ({VARIABLE}={wanted} would not have avoided it)" if wanted else "",
    )
    return replace(found, limit=found.best)


def _limit_xla(environ: MutableMapping[str, str], best: str) -> None:
    """Add XLA's own flag to XLA_FLAGS; of two, XLA takes the last."""
    flags = environ.get(XLA_VARIABLE, "")
    wanted = re.findall(r"--xla_cpu_max_isa=(\w+)", flags)
    if wanted and _height(XLA_NAMES.get(wanted[-1].upper())) <= _height(best):
        return
    limit = [name for name, onednn in XLA_NAMES.items() if _height(onednn) <= _height(best)][-1]
    environ[XLA_VARIABLE] = f"{flags} --xla_cpu_max_isa={limit}".strip()


def probe(levels: Sequence[ISALevel], flags: frozenset[str]) -> InstructionSet:
    """Run each advertised level's instruction, lowest first, in one child process, until one fails."""
    advertised = [level for level in levels if level.flags <= flags]
    if not advertised:
        return InstructionSet()
    request = json.dumps([[level.code, level.tiles] for level in advertised])
    try:
        # -I -S: the child needs neither site-packages nor the job's environment, and starts in a few milliseconds.
        child = subprocess.run(  # noqa: S603 - our own file, run by our own interpreter
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("isa_probe.py")), request],
            capture_output=True,
            check=False,
            text=True,
            timeout=PROBE_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return _untested(advertised, str(error))
    return _verdict(advertised, child)


def _verdict(advertised: Sequence[ISALevel], child: subprocess.CompletedProcess[str]) -> InstructionSet:
    """Read the child's answers: a line a level, `works` or `refused`; a signal's death answers for the next level."""
    answers = child.stdout.split()
    if child.returncode > 0 or not answers:
        return _untested(advertised, (child.stderr.strip().splitlines() or [f"exit code {child.returncode}"])[-1])
    working = [level.name for level, answer in zip(advertised, answers, strict=False) if answer == "works"]
    best = working[-1]
    if child.returncode == 0:
        return InstructionSet(best)
    ended = f"ends a process by {signal.Signals(-child.returncode).name}"
    return InstructionSet(best, trapped=advertised[len(answers)].name, problem=ended)


def _untested(advertised: Sequence[ISALevel], problem: str) -> InstructionSet:
    """Trust the processor, but for AMX: that is what is known to be advertised without working."""
    usable = [level for level in advertised if not level.tiles]
    if len(usable) == len(advertised):
        return InstructionSet(advertised[-1].name, problem=f"could not be tried here ({problem})")
    tiles = next(level.name for level in advertised if level.tiles)
    return InstructionSet(UNTESTED_MAXIMUM, trapped=tiles, problem=f"could not be tried here ({problem})")


def _height(name: str | None) -> int:
    """Return how much a value of ONEDNN_MAX_CPU_ISA allows: oneDNN ignores case, and values that it does not know."""
    upper = (name or "").upper()
    return ASCENDING.index(upper) if upper in ASCENDING else len(ASCENDING)
