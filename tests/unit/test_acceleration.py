from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from star_rating.training import acceleration, instruction_set
from star_rating.training.instruction_set import LADDER, InstructionSet, Rung, choose, probe, processor_flags

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="the ladder is x86-64's")

TRAP = "0f0b"  # ud2: the processor's own "invalid instruction", SIGILL on every x86
RETURN = "c3"
FLAGS = processor_flags()
ADVERTISED = [rung for rung in LADDER if rung.flags <= FLAGS]
ALWAYS = frozenset[str]()


def lying_ladder(trapping: str) -> list[Rung]:
    """A processor that advertises everything up to AMX and traps at one rung."""
    return [Rung(rung.name, ALWAYS, TRAP if rung.name == trapping else RETURN) for rung in LADDER[:-1]]


def test_every_instruction_set_that_this_processor_advertises_is_run() -> None:
    found = probe(LADDER, FLAGS)
    if found.trapped is None:
        assert found.best == ADVERTISED[-1].name
    else:  # a machine that lies
        assert found.best == ADVERTISED[[rung.name for rung in ADVERTISED].index(found.trapped) - 1].name


def test_the_probe_is_quick() -> None:
    seconds = []
    for _ in range(3):
        started = time.monotonic()
        probe(LADDER, FLAGS)
        seconds.append(time.monotonic() - started)
    assert min(seconds) < 0.3


@pytest.mark.parametrize(
    ("trapping", "best"),
    [
        ("AVX512_CORE_AMX", "AVX512_CORE_FP16"),
        ("AVX512_CORE_BF16", "AVX512_CORE_VNNI"),
        ("AVX512_CORE", "AVX2"),
    ],
)
def test_an_advertised_instruction_that_traps_limits_onednn_to_the_one_below(
    trapping: str, best: str, caplog: pytest.LogCaptureFixture
) -> None:
    environ: dict[str, str] = {}
    found = choose(environ, lying_ladder(trapping))
    assert environ == {"ONEDNN_MAX_CPU_ISA": best}
    assert (found.best, found.trapped, found.limit) == (best, trapping, best)
    assert found.problem == "ends a process by SIGILL"
    assert not found.has_amx
    assert caplog.messages == [
        f"this processor advertises {trapping}, which ends a process by SIGILL; oneDNN is limited to {best}"
    ]


def test_nothing_is_limited_where_everything_works() -> None:
    environ: dict[str, str] = {}
    found = choose(environ, [Rung(rung.name, ALWAYS, RETURN) for rung in LADDER[:-1]])
    assert environ == {}
    assert found.has_amx


@pytest.mark.parametrize("wanted", ["AVX2", "AVX512_CORE_FP16", "avx512_core"])
def test_a_lower_limit_of_the_users_stays(wanted: str) -> None:
    environ = {"ONEDNN_MAX_CPU_ISA": wanted}
    found = choose(environ, lying_ladder("AVX512_CORE_AMX"))
    assert environ == {"ONEDNN_MAX_CPU_ISA": wanted}
    assert found.limit == wanted


@pytest.mark.parametrize("wanted", ["AVX512_CORE_AMX", "ALL", "AVX51"])
def test_a_limit_that_allows_what_traps_is_replaced_and_named(wanted: str, caplog: pytest.LogCaptureFixture) -> None:
    environ = {"ONEDNN_MAX_CPU_ISA": wanted}
    choose(environ, lying_ladder("AVX512_CORE_AMX"))
    assert environ == {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_FP16"}
    assert f"ONEDNN_MAX_CPU_ISA={wanted} would not have avoided it" in caplog.text


def test_a_users_limit_below_amx_means_that_amx_is_not_used() -> None:
    environ = {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}
    found = choose(environ, [Rung(rung.name, ALWAYS, RETURN) for rung in LADDER[:-1]])
    assert found.best == "AVX512_CORE_AMX"
    assert not found.has_amx


def test_a_processor_that_advertises_nothing_is_left_alone() -> None:
    assert probe(LADDER, frozenset()) == InstructionSet()


def test_amx_is_not_trusted_where_the_probe_cannot_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    environ: dict[str, str] = {}
    found = choose(environ, [replace(rung, flags=ALWAYS) for rung in LADDER])
    assert environ == {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}
    assert found.trapped == "AVX512_CORE_AMX"
    assert "could not be tried here" in caplog.text


def test_a_processor_without_amx_is_trusted_where_the_probe_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    environ: dict[str, str] = {}
    found = choose(environ, [rung for rung in LADDER if not rung.tiles])
    assert environ == {}
    assert found.problem is not None


def test_the_kernels_names_of_the_processors_features_are_read(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu avx2 amx_tile\nbugs\t\t: none\n\nprocessor\t: 1\n")
    assert processor_flags(cpuinfo) == {"fpu", "avx2", "amx_tile"}
    assert processor_flags(tmp_path / "missing") == frozenset()


def test_choosing_imports_no_tensorflow() -> None:
    program = (
        "import os, sys; from star_rating.training import instruction_set; instruction_set.choose(os.environ); "
        "sys.exit('tensorflow' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(instruction_set.__file__).parents[2])}
    assert subprocess.run([sys.executable, "-c", program], check=False, env=environment).returncode == 0


WITH_AMX = InstructionSet(best="AVX512_CORE_AMX")
WITHOUT_AMX = InstructionSet(best="AVX512_CORE_BF16")


@pytest.mark.parametrize("found", [WITH_AMX, WITHOUT_AMX])
def test_auto_is_float32_without_xla_and_says_why(found: InstructionSet) -> None:
    decided = acceleration.decide("auto", "auto", found, gpu=False)
    assert (decided.xla, decided.amp, decided.compute_dtype, decided.policy) == (False, False, "float32", "float32")
    assert all(reason.startswith("auto: ") for reason in decided.reasons)


@pytest.mark.parametrize(
    ("gpu", "policy", "dtype"), [(False, "mixed_bfloat16", "bfloat16"), (True, "mixed_float16", "float16")]
)
def test_true_is_what_happens(*, gpu: bool, policy: str, dtype: str) -> None:
    decided = acceleration.decide("True", "True", WITHOUT_AMX, gpu=gpu)
    assert (decided.xla, decided.amp, decided.compute_dtype, decided.policy) == (True, True, dtype, policy)


def test_false_is_what_happens() -> None:
    decided = acceleration.decide("False", "False", WITH_AMX, gpu=True)
    assert (decided.xla, decided.amp, decided.compute_dtype) == (False, False, "float32")


def test_apply_makes_new_layers_compute_in_the_chosen_dtype(caplog: pytest.LogCaptureFixture) -> None:
    import tf_keras

    caplog.set_level(logging.INFO)
    before = tf_keras.mixed_precision.global_policy()
    try:
        acceleration.decide("False", "True", WITHOUT_AMX, gpu=False).apply()
        layer = tf_keras.layers.Dense(2)
        layer.build((None, 2))
        acceleration.decide("False", "False", WITHOUT_AMX, gpu=False).apply()
        assert tf_keras.layers.Dense(2).compute_dtype == "float32"
    finally:
        tf_keras.mixed_precision.set_global_policy(before)
    assert (layer.compute_dtype, layer.kernel.dtype) == ("bfloat16", "float32")
    assert caplog.messages[0] == (
        "acceleration: XLA off (use_xla=False), compute in bfloat16 (use_amp=True), instruction set AVX512_CORE_BF16"
    )


def test_the_record_holds_what_took_effect() -> None:
    record = acceleration.decide("auto", "True", replace(WITHOUT_AMX, limit="AVX512_CORE_BF16"), gpu=False).record()
    assert (record["xla"], record["amp"], record["compute_dtype"]) == (False, True, "bfloat16")
    assert record["instruction_set"] == {
        "best": "AVX512_CORE_BF16",
        "trapped": None,
        "problem": None,
        "limit": "AVX512_CORE_BF16",
    }
