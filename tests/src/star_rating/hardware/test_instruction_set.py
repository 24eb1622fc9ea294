"""What the processor advertises is tried, and what traps is not used."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from star_rating.hardware import instruction_set
from star_rating.hardware.cpuinfo import read_processor
from star_rating.hardware.instruction_set import ISA_LEVELS, InstructionSet, ISALevel, choose, probe
from tests.helpers.instruction_sets import ALWAYS, RETURN, lying_isa_levels
from tests.helpers.training_job import LENGTH, TrainingJob

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="the levels is x86-64's")

FLAGS = read_processor().flags
ADVERTISED = [level for level in ISA_LEVELS if level.flags <= FLAGS]


def test_every_instruction_set_that_this_processor_advertises_is_run() -> None:
    found = probe(ISA_LEVELS, FLAGS)
    if found.trapped is None:
        assert found.best == ADVERTISED[-1].name
    else:  # a machine that lies
        assert found.best == ADVERTISED[[level.name for level in ADVERTISED].index(found.trapped) - 1].name


def test_the_probe_is_quick() -> None:
    def processor_seconds() -> float:
        times = os.times()
        return times.user + times.system + times.children_user + times.children_system

    started = processor_seconds()
    probe(ISA_LEVELS, FLAGS)
    assert processor_seconds() - started < 0.3


@pytest.mark.parametrize(
    ("trapping", "best", "in_xla"),
    [
        ("AVX512_CORE_AMX", "AVX512_CORE_FP16", "AVX512_BF16"),
        ("AVX512_CORE_BF16", "AVX512_CORE_VNNI", "AVX512_VNNI"),
        ("AVX512_CORE", "AVX2", "AVX2"),
    ],
)
def test_an_advertised_instruction_that_traps_limits_onednn_and_xla_to_the_one_below(
    trapping: str, best: str, in_xla: str, caplog: pytest.LogCaptureFixture
) -> None:
    environ: dict[str, str] = {}
    found = choose(environ, lying_isa_levels(trapping))
    assert environ == {
        "TF_ENABLE_ONEDNN_OPTS": "1",
        "ONEDNN_MAX_CPU_ISA": best,
        "XLA_FLAGS": f"--xla_cpu_max_isa={in_xla}",
    }
    assert (found.best, found.trapped, found.limit) == (best, trapping, best)
    assert found.problem == "ends a process by SIGILL"
    assert not found.allows("AVX512_CORE_AMX")
    assert caplog.messages == [
        f"this processor advertises {trapping}, which ends a process by SIGILL; oneDNN and XLA are limited to {best}"
    ]


def test_nothing_is_limited_where_everything_works() -> None:
    environ: dict[str, str] = {}
    found = choose(environ, [ISALevel(level.name, ALWAYS, RETURN) for level in ISA_LEVELS[:-1]])
    assert environ == {"TF_ENABLE_ONEDNN_OPTS": "1"}
    assert found.allows("AVX512_CORE_AMX")


@pytest.mark.parametrize("wanted", ["AVX2", "AVX512_CORE_FP16", "avx512_core"])
def test_a_lower_limit_of_the_users_stays(wanted: str) -> None:
    environ = {"ONEDNN_MAX_CPU_ISA": wanted}
    found = choose(environ, lying_isa_levels("AVX512_CORE_AMX"))
    assert environ["ONEDNN_MAX_CPU_ISA"] == wanted
    assert found.limit == wanted


@pytest.mark.parametrize(
    ("wanted", "set_to"),
    [
        ("--xla_dump_to=/tmp/dump", "--xla_dump_to=/tmp/dump --xla_cpu_max_isa=AVX512_BF16"),
        ("--xla_cpu_max_isa=AMX", "--xla_cpu_max_isa=AMX --xla_cpu_max_isa=AVX512_BF16"),
        ("--xla_cpu_max_isa=AVX2", "--xla_cpu_max_isa=AVX2"),
    ],
)
def test_of_the_users_flags_for_xla_only_a_limit_that_is_too_high_is_overruled(wanted: str, set_to: str) -> None:
    environ = {"XLA_FLAGS": wanted}
    choose(environ, lying_isa_levels("AVX512_CORE_AMX"))
    assert environ["XLA_FLAGS"] == set_to


@pytest.mark.parametrize("wanted", ["AVX512_CORE_AMX", "ALL", "AVX51"])
def test_a_limit_that_allows_what_traps_is_replaced_and_named(wanted: str, caplog: pytest.LogCaptureFixture) -> None:
    environ = {"ONEDNN_MAX_CPU_ISA": wanted}
    choose(environ, lying_isa_levels("AVX512_CORE_AMX"))
    assert environ["ONEDNN_MAX_CPU_ISA"] == "AVX512_CORE_FP16"
    assert f"ONEDNN_MAX_CPU_ISA={wanted} would not have avoided it" in caplog.text


def test_a_users_limit_below_amx_means_that_amx_is_not_used() -> None:
    environ = {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}
    found = choose(environ, [ISALevel(level.name, ALWAYS, RETURN) for level in ISA_LEVELS[:-1]])
    assert found.best == "AVX512_CORE_AMX"
    assert not found.allows("AVX512_CORE_AMX")


def test_a_processor_that_advertises_nothing_is_left_alone() -> None:
    nothing = probe(ISA_LEVELS, frozenset())
    assert nothing == InstructionSet()
    assert nothing.allows("AVX512_CORE")


def test_a_user_can_turn_onednn_off() -> None:
    environ = {"TF_ENABLE_ONEDNN_OPTS": "0"}
    choose(environ, [])
    assert environ == {"TF_ENABLE_ONEDNN_OPTS": "0"}


PRODUCT = """
import os
from star_rating.hardware import instruction_set
instruction_set.choose(os.environ)
import tensorflow as tf
tf.function(tf.matmul)(tf.ones([256, 256]), tf.ones([256, 256]))
"""


@pytest.mark.slow
def test_tensorflow_multiplies_with_onednn_whatever_the_processor() -> None:
    untouched = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    environment = {**untouched, "PYTHONPATH": str(Path(instruction_set.__file__).parents[2]), "ONEDNN_VERBOSE": "1"}
    finished = subprocess.run(
        [sys.executable, "-c", PRODUCT], check=True, env=environment, capture_output=True, text=True
    )
    assert re.search("onednn_verbose.*,exec,cpu,.*256x256:256x256", finished.stdout)


def test_amx_is_not_trusted_where_the_probe_cannot_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    environ: dict[str, str] = {}
    found = choose(environ, [replace(level, flags=ALWAYS) for level in ISA_LEVELS])
    assert environ["ONEDNN_MAX_CPU_ISA"] == "AVX512_CORE"
    assert environ["XLA_FLAGS"] == "--xla_cpu_max_isa=AVX512"
    assert found.trapped == "AVX512_CORE_AMX"
    assert "could not be tried here" in caplog.text


def test_a_processor_without_amx_is_trusted_where_the_probe_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    environ: dict[str, str] = {}
    found = choose(environ, [level for level in ISA_LEVELS if not level.tiles])
    assert environ == {"TF_ENABLE_ONEDNN_OPTS": "1"}
    assert found.problem is not None


def test_choosing_imports_no_tensorflow() -> None:
    program = (
        "import os, sys; from star_rating.hardware import instruction_set; instruction_set.choose(os.environ); "
        "sys.exit('tensorflow' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(instruction_set.__file__).parents[2])}
    assert subprocess.run([sys.executable, "-c", program], check=False, env=environment).returncode == 0


TRAPPING_JOB = """
import functools, sys
import train
from star_rating.hardware import instruction_set
from tests.helpers.instruction_sets import lying_isa_levels
instruction_set.choose = functools.partial(instruction_set.choose, levels=lying_isa_levels("AVX512_CORE_AMX"))
sys.exit(train.main())
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("switch", "dtype"), [("True", "bfloat16"), pytest.param("auto", "float32", marks=pytest.mark.long)]
)
def test_a_job_on_a_machine_whose_amx_traps_completes_and_says_what_was_chosen_and_why(
    tmp_path: Path, switch: str, dtype: str
) -> None:
    job = TrainingJob(tmp_path)
    settings = {"use_amp": switch, "use_xla": switch, "epochs": "1", "max_seq_length": str(LENGTH)}
    arguments = [word for name, value in settings.items() for word in (f"--{name}", value)]
    untouched = {name: value for name, value in os.environ.items() if name not in ("ONEDNN_MAX_CPU_ISA", "XLA_FLAGS")}
    finished = subprocess.run(
        [sys.executable, "-c", TRAPPING_JOB, *arguments],
        env={
            **untouched,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "SAGEMAKER_BASE_DIR": str(job.root),
            "DISTILBERT_WEIGHTS": str(job.weights),
            "ONEDNN_VERBOSE": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert (
        "AVX512_CORE_AMX, which ends a process by SIGILL; oneDNN and XLA are limited to AVX512_CORE_FP16"
        in finished.stdout
    )
    onednn = re.search(r"onednn_verbose.*cpu,isa:(.*)", finished.stdout)
    assert onednn
    assert "AMX" not in onednn[1], "oneDNN does not use what traps"
    acceleration = json.loads((job.root / "model" / "run.json").read_text())["acceleration"]
    assert acceleration["compute_dtype"] == dtype
    assert acceleration["instruction_set"]["trapped"] == "AVX512_CORE_AMX"
    assert acceleration["instruction_set"]["limit"] == "AVX512_CORE_FP16"
