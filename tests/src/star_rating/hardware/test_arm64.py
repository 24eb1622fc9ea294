"""What /proc/cpuinfo tells on machines that these tests do not run on, and what follows from it on arm64.

The texts are the first processor's of: a c6g and a c7g instance (Graviton 2 and 3), and the virtual machine of Docker
Desktop on an Apple laptop (M1, and M2 or later, which adds bfloat16).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from star_rating.autotune import compute_plan
from star_rating.hardware import HardwareInfo, cgroup, threads
from star_rating.hardware.cpuinfo import read_processor
from star_rating.hardware.instruction_set import InstructionSet, choose

_ARMV8_2 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm"
_APPLE = f"{_ARMV8_2} jscvt fcma lrcpc dcpop sha3 asimddp sha512 asimdfhm dit uscat ilrcpc flagm sb paca pacg dcpodp"


def cpuinfo_of(features: str, designer: str, variant: str, core: str, revision: int) -> str:
    fields = f"Features\t: {features}\nCPU implementer\t: {designer}\nCPU architecture: 8\nCPU variant\t: {variant}\n"
    processor = f"BogoMIPS\t: 48.00\n{fields}CPU part\t: {core}\nCPU revision\t: {revision}\n\n"
    return "".join(f"processor\t: {number}\n{processor}" for number in range(2))


GRAVITON2 = cpuinfo_of(f"{_ARMV8_2} lrcpc dcpop asimddp", "0x41", "0x3", "0xd0c", 1)
GRAVITON3 = cpuinfo_of(
    f"{_ARMV8_2} jscvt fcma lrcpc dcpop sha3 sm3 sm4 asimddp sha512 sve asimdfhm dit uscat ilrcpc flagm ssbs paca pacg "
    "dcpodp svei8mm svebf16 i8mm bf16 dgh rng",
    "0x41",
    "0x1",
    "0xd40",
    1,
)
APPLE_M1 = cpuinfo_of(f"{_APPLE} flagm2 frint", "0x61", "0x0", "0x000", 0)
APPLE_M2 = cpuinfo_of(f"{_APPLE} flagm2 frint bf16", "0x61", "0x0", "0x000", 0)
X86 = "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu avx2 amx_tile\n\nprocessor\t: 1\nflags\t\t: none\n"


@pytest.mark.parametrize(
    ("cpuinfo", "machine", "name", "flags"),
    [
        (X86, "x86_64", "AMD EPYC", {"fpu", "avx2", "amx_tile"}),
        (GRAVITON2, "aarch64", "Neoverse-N1 (Graviton2)", set(f"{_ARMV8_2} lrcpc dcpop asimddp".split())),
        (cpuinfo_of("asimd", "0x41", "0x0", "0xd85", 0), "aarch64", "Arm, core 0xd85", {"asimd"}),
        (cpuinfo_of("asimd", "0x99", "0x0", "0x001", 0), "aarch64", "designer 0x99, core 0x001", {"asimd"}),
        (X86, "aarch64", "AMD EPYC", set()),  # an arm64 process that QEMU emulates sees the host's file
        ("", "aarch64", "", set()),
        (None, "x86_64", "", set()),
    ],
)
def test_the_processors_name_and_features_are_read(
    tmp_path: Path, cpuinfo: str | None, machine: str, name: str, flags: set[str]
) -> None:
    file = tmp_path / "cpuinfo"
    if cpuinfo is not None:
        file.write_text(cpuinfo)
    processor = read_processor(file, machine)
    assert (processor.machine, processor.name, set(processor.flags)) == (machine, name, flags)


@pytest.mark.parametrize(
    ("cpuinfo", "name", "best"),
    [
        (GRAVITON2, "Neoverse-N1 (Graviton2)", "ASIMD"),
        (GRAVITON3, "Neoverse-V1 (Graviton3)", "SVE"),
        (APPLE_M1, "Apple", "ASIMD"),
        (APPLE_M2, "Apple", "ASIMD"),
        (X86, "AMD EPYC", "ASIMD"),
    ],
)
def test_on_arm64_onednn_is_turned_on_and_nothing_is_tried_or_limited(
    tmp_path: Path, cpuinfo: str, name: str, best: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(cpuinfo)
    processor = read_processor(file, "aarch64")
    environ: dict[str, str] = {}
    found = choose(environ, processor=processor)
    assert processor.name == name
    assert environ == {"TF_ENABLE_ONEDNN_OPTS": "1"}
    assert found == InstructionSet(best)
    assert caplog.messages == []


def test_on_arm64_what_the_user_has_set_stays(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(GRAVITON3)
    wanted = {"TF_ENABLE_ONEDNN_OPTS": "0", "ONEDNN_MAX_CPU_ISA": "SVE_128", "XLA_FLAGS": "--xla_dump_to=/tmp/dump"}
    environ = dict(wanted)
    assert choose(environ, processor=read_processor(file, "aarch64")).limit == "SVE_128"
    assert environ == wanted


@pytest.mark.parametrize("best", ["ASIMD", "SVE", "SVE2"])
def test_on_arm64_bfloat16_is_not_taken_for_fast(best: str) -> None:
    """TensorFlow asks for AVX-512 before it lets oneDNN multiply in bfloat16; a Graviton 3 goes without."""
    assert not InstructionSet(best).allows(compute_plan.BFLOAT16_PRODUCTS)
    assert not InstructionSet(best, limit="SVE_128").allows("SSE41")


def test_on_an_apple_laptop_each_processor_of_the_virtual_machine_is_a_core(tmp_path: Path) -> None:
    for cpu in range(4):
        folder = tmp_path / "cpu" / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "core_cpus_list").write_text(f"{cpu}\n")
    topology = threads.read_topology(range(4), tmp_path)
    assert (topology.cores, topology.hardware_threads, topology.numa_nodes) == (4, 4, 1)
    no_limit = cgroup.Kernel(groups=tmp_path / "none", mount=tmp_path, meminfo=tmp_path / "none")
    environ: dict[str, str] = {}
    assert HardwareInfo(InstructionSet("ASIMD"), threads.choose(environ, no_limit, topology)).threads.intra_op == 4
