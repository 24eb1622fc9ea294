"""How a job is judged once its processes are gone: exit code and sentence for every way to end."""

import resource
import signal
from pathlib import Path
from typing import Any

import causes
import failure
import pytest
import toolkit
from process_group import Kill, ProcessExit

from star_rating import failures

OF_THE_SCRIPT = 'ExecuteUserScriptError:\nExitCode {}\nErrorMessage ""\nCommand "python train.py --model secret"'
OF_THE_TOOLKIT = "Framework Error: \nTraceback (most recent call last):\n  File x\n{}\n\n{}"


def classify_exit(main_process: int = 0, reparented: int | None = None, **changes: Any) -> tuple[int, str]:
    context = {
        "exit_code_file": None,
        "failure": "",
        "success": main_process == 0,
        "out_of_memory": False,
        "process": ProcessExit(main_process, reparented, changes.pop("stop_signal", None), changes.pop("kill", None)),
        **changes,
    }
    return toolkit.classify_exit(toolkit.ExitContext(**context))


def test_success_is_code_0_and_no_message() -> None:
    assert classify_exit(0) == (0, "")


def test_the_programs_own_code_and_sentence_stand() -> None:
    assert classify_exit(1, exit_code_file=11, failure="The train channel is empty.") == (11, "")


def test_a_program_that_says_nothing_is_spoken_for() -> None:
    code, sentence = classify_exit(1, failure=OF_THE_SCRIPT.format(3))
    assert code == 3
    assert sentence == "train.py ended with exit code 3 and gave no reason. The log above has its last words."


def test_a_code_without_a_sentence_is_spoken_for() -> None:
    assert classify_exit(1, exit_code_file=15, failure=OF_THE_SCRIPT.format(15))[0] == 15
    assert "exit code 15 and gave no reason" in classify_exit(1, exit_code_file=15)[1]


@pytest.mark.parametrize(
    ("killer", "code", "words"),
    [
        (signal.SIGILL, 132, "ONEDNN_MAX_CPU_ISA"),
        (signal.SIGABRT, 134, "native library gave up"),
        (signal.SIGBUS, 135, "--shm-size"),
        (signal.SIGFPE, 136, "killed by SIGFPE"),
        (signal.SIGKILL, 137, "killed by SIGKILL"),
        (signal.SIGSEGV, 139, "SIGSEGV, a crash in a native library"),
        (signal.SIGSYS, 159, "seccomp"),
        (signal.SIGXCPU, 152, "ulimit cpu"),
        (signal.SIGTERM, 143, "before training was ready to save"),
    ],
)
def test_what_killed_the_program_is_said(killer: int, code: int, words: str) -> None:
    exit_code, sentence = classify_exit(1, failure=OF_THE_SCRIPT.format(-killer))
    assert exit_code == code
    assert words in sentence


def test_an_invalid_instruction_on_arm64_is_not_blamed_on_x86s_instruction_sets() -> None:
    of_machine = {
        machine: causes.signal_message(signal.SIGILL, out_of_memory=False, machine=machine)
        for machine in ("x86_64", "aarch64")
    }
    assert "AVX512_CORE" in of_machine["x86_64"]
    assert "AVX" not in of_machine["aarch64"]
    assert "TF_ENABLE_ONEDNN_OPTS" in of_machine["aarch64"]


def test_sigkill_by_the_kernel_is_out_of_memory() -> None:
    code, sentence = classify_exit(1, failure=OF_THE_SCRIPT.format(-9), out_of_memory=True)
    assert code == 137
    assert sentence.startswith("Training ran out of memory")
    assert "train_batch_size" in sentence


def test_another_signal_is_not_called_out_of_memory() -> None:
    assert "SIGSEGV" in classify_exit(1, failure=OF_THE_SCRIPT.format(-11), out_of_memory=True)[1]


@pytest.mark.parametrize("killer", [signal.SIGABRT, signal.SIGSEGV])
@pytest.mark.parametrize(("limit", "name"), [(resource.RLIMIT_DATA, "ulimit data"), (resource.RLIMIT_AS, "ulimit as")])
def test_a_crash_where_a_process_may_not_have_more_memory_names_the_limit(
    monkeypatch: pytest.MonkeyPatch, killer: int, limit: int, name: str
) -> None:
    real = resource.getrlimit
    monkeypatch.setattr(resource, "getrlimit", lambda of: (3 * 2**30, 2**40) if of == limit else real(of))
    code, sentence = classify_exit(1, failure=OF_THE_SCRIPT.format(-killer))
    assert code == 128 + killer
    assert f"3,072 MiB ({name})" in sentence
    assert "if the log speaks of memory, raise or remove that limit" in sentence
    assert name not in classify_exit(1, failure=OF_THE_SCRIPT.format(-signal.SIGILL))[1]


@pytest.mark.parametrize("code", [0, 7])
def test_after_a_stop_the_code_of_the_program_counts_not_the_toolkits(code: int) -> None:
    exit_code, _ = classify_exit(-15, code, stop_signal=signal.SIGTERM)
    assert exit_code == code


def test_training_that_lost_its_toolkit_to_a_signal_is_no_success() -> None:
    assert classify_exit(-9, 0)[0] == 137


def test_a_stop_that_comes_after_the_program_said_success_does_not_undo_it() -> None:
    assert classify_exit(-15, exit_code_file=0, stop_signal=signal.SIGTERM) == (0, "")


def test_a_stop_before_the_program_started_is_said() -> None:
    code, sentence = classify_exit(-15, stop_signal=signal.SIGTERM)
    assert code == 143
    assert "before training was ready" in sentence


def test_a_second_signal_is_said() -> None:
    code, sentence = classify_exit(-15, -9, stop_signal=signal.SIGINT, kill=Kill.SECOND_SIGNAL)
    assert code == 137
    assert "at once by a second signal, before training had saved its state after SIGINT" in sentence


def test_a_stop_that_took_too_long_is_said() -> None:
    code, sentence = classify_exit(-15, -9, stop_signal=signal.SIGTERM, kill=Kill.GRACE_OVER)
    assert code == 137
    assert "did not end within 110 s of SIGTERM" in sentence


def test_an_end_that_the_toolkit_could_not_write_is_no_success() -> None:
    code, sentence = classify_exit(0, success=False)
    assert code == 14
    assert "the disk is full or read-only" in sentence


def test_a_crash_of_the_toolkit_is_one_message() -> None:
    code, sentence = classify_exit(1, failure=OF_THE_TOOLKIT.format("KeyError: 'hosts'", "'hosts'"))
    assert code == 1
    assert sentence.startswith("sagemaker-training could not start train.py: KeyError: 'hosts'.")
    assert "Traceback" not in sentence


def test_no_sentence_repeats_the_command_line() -> None:
    for code in (1, 3, -9, -11, -15):
        assert "secret" not in classify_exit(1, failure=OF_THE_SCRIPT.format(code))[1]


def test_the_codes_are_those_of_the_program() -> None:
    for code in failure.ExitCode:
        assert failures.ExitCode[code.name].value == code.value
    assert failure.FAILURE_MAX_CHARACTERS == failures.FAILURE_MAX_CHARACTERS


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("memory.events", "low 0\noom 3\noom_kill 2\n"),
        ("memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
    ],
)
def test_both_versions_of_control_groups_tell_of_kills(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content)
    assert causes.out_of_memory_kills(tmp_path) == 2


@pytest.mark.parametrize("name", ["memory.max", "memory/memory.limit_in_bytes"])
@pytest.mark.parametrize(("content", "limit"), [("536870912\n", 2**29), ("max\n", None), ("9223372036854771712", None)])
def test_both_versions_of_control_groups_tell_the_limit(
    tmp_path: Path, name: str, content: str, limit: int | None
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content)
    assert causes.memory_limit(tmp_path) == limit


def test_a_container_in_the_hosts_cgroup_namespace_finds_its_own_group(tmp_path: Path) -> None:
    for group, kills in (("", 9), ("docker/abc", 2)):
        (tmp_path / group).mkdir(parents=True, exist_ok=True)
        (tmp_path / group / "memory.events").write_text(f"oom_kill {kills}\n")
        (tmp_path / group / "memory.max").write_text(f"{kills}\n")
    membership = tmp_path / "membership"
    membership.write_text("0::/docker/abc\n")
    assert causes.out_of_memory_kills(tmp_path, membership) == 2
    assert causes.memory_limit(tmp_path, membership) == 2


@pytest.mark.parametrize("signal_number", [signal.SIGABRT, signal.SIGSEGV])
def test_a_limit_on_processes_that_was_reached_is_the_cause(signal_number: int) -> None:
    code, sentence = classify_exit(-signal_number, process_limit=20)
    assert code == 128 + signal_number
    assert "the container's limit of 20 (pids.max) was reached" in sentence
    assert "--pids-limit" in sentence


def test_a_defect_beside_a_limit_on_processes_that_was_reached_is_none() -> None:
    code, sentence = classify_exit(1, failure=OF_THE_TOOLKIT.format("RuntimeError", "can't start"), process_limit=20)
    assert code == 13
    assert "limit of 20 (pids.max)" in sentence
    assert classify_exit(1, exit_code_file=11, failure="The train channel is empty.", process_limit=20) == (11, "")
    assert "killed by SIGKILL" in classify_exit(-9, process_limit=20)[1]


@pytest.mark.parametrize(
    ("folder", "membership"),
    [("", ""), ("pids", ""), ("docker/abc", "0::/docker/abc\n"), ("pids/docker/abc", "4:cpu,pids:/docker/abc\n")],
)
def test_both_versions_of_control_groups_tell_of_refused_processes(
    tmp_path: Path, folder: str, membership: str
) -> None:
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    (tmp_path / folder / "pids.events").write_text("max 3\n")
    (tmp_path / folder / "pids.max").write_text("20\n")
    (tmp_path / "membership").write_text(membership)
    assert causes.refused_processes(tmp_path, tmp_path / "membership") == 3
    assert causes.process_limit(tmp_path, tmp_path / "membership") == 20
    (tmp_path / folder / "pids.max").write_text("max\n")
    assert causes.process_limit(tmp_path, tmp_path / "membership") is None


def test_without_control_groups_nothing_is_claimed(tmp_path: Path) -> None:
    assert causes.out_of_memory_kills(tmp_path) is None
    assert causes.memory_limit(tmp_path) is None
    assert causes.refused_processes(tmp_path) is None
    assert causes.process_limit(tmp_path) is None
