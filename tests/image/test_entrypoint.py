"""PID 1 and the toolkit in the real image: arguments, signals, exit codes and failure files of a training program.

A stand-in program takes train.py's place, so that each test is about the container alone.
"""

import json
import time
from pathlib import Path

import pytest

from tests.helpers.containers import LONGEST_WAIT, Containers, Job
from tests.helpers.terminal import CTRL_C, Terminal

pytestmark = pytest.mark.image

REPORTS_WHAT_IT_SEES = """
import importlib.util, json, os, sys
parent = open(f"/proc/{os.getppid()}/status").read()
json.dump({
    "arguments": sys.argv[1:],
    "environment": dict(os.environ),
    "folder": os.getcwd(),
    "toolkit_megabytes": int(parent.split("VmRSS:")[1].split()[0]) / 1000,
    "sees_container": any(importlib.util.find_spec(name) for name in ("configuration", "entrypoint", "toolkit")),
}, open(os.path.join(os.environ["SM_MODEL_DIR"], "seen.json"), "w"))
"""

SAVES_ON_SIGTERM = """
import os, signal, sys, time
def save(number, frame):
    time.sleep(2)
    open(os.path.join(os.environ["SM_MODEL_DIR"], "saved"), "w").close()
    sys.exit({exit_code})
signal.signal(signal.SIGTERM, save)
print("training", flush=True)
time.sleep(600)
"""

IGNORES_SIGTERM = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("training", flush=True)
time.sleep(600)
"""


@pytest.fixture
def seen(job: Job) -> Job:
    job.program(REPORTS_WHAT_IT_SEES)
    return job


def read_seen(job: Job) -> dict[str, object]:
    document: dict[str, object] = json.loads((job.root / "model" / "seen.json").read_text())
    return document


def test_without_a_command_the_usage_is_shown(containers: Containers) -> None:
    result = containers.run([])
    assert result.exit_code == 0
    assert "usage: docker run" in result.log


def test_a_training_job_without_config_files_runs_with_defaults(seen: Job) -> None:
    started = time.monotonic()
    result = seen.run()
    assert result.exit_code == 0, result.log
    assert time.monotonic() - started < LONGEST_WAIT, "it waited for something, as the toolkit does for hosts: 15 min"
    assert "no inputdataconfig.json: the channels are train" in result.log
    environment = read_seen(seen)["environment"]
    assert isinstance(environment, dict)
    assert environment["SM_CHANNELS"] == '["train"]'
    assert environment["SM_HOSTS"] == '["algo-1"]'
    assert seen.failure == ""


def test_hyperparameters_arrive_in_every_form_that_sdks_send(seen: Job) -> None:
    sent = {"aa": "True", "bb": "true", "cc": "1e-05", "dd": '"text"', "ee": "a b", "ff": 3, "gg": 0.5, "hh": True}
    seen.configure("hyperparameters.json", {**sent, "sagemaker_program": "other.py", "sagemaker_region": "eu-west-1"})
    assert seen.run().exit_code == 0
    expected = ["True", "True", "1e-05", "text", "a b", "3", "0.5", "True"]
    names = [f"--{name}" for name in sent]
    assert read_seen(seen)["arguments"] == [word for pair in zip(names, expected, strict=True) for word in pair]


def test_the_program_runs_in_its_own_folder_and_sees_nothing_of_the_container(seen: Job) -> None:
    assert seen.run().exit_code == 0
    assert read_seen(seen)["folder"] == "/opt/distilbert-trainer/src"
    assert read_seen(seen)["sees_container"] is False


def test_the_toolkit_does_not_load_tensorflow(seen: Job) -> None:
    assert seen.run().exit_code == 0
    megabytes = read_seen(seen)["toolkit_megabytes"]
    assert isinstance(megabytes, float)
    assert megabytes < 150


def test_secrets_of_the_environment_are_not_logged(seen: Job) -> None:
    seen.configure("hyperparameters.json", {"sagemaker_container_log_level": "10"})
    result = seen.run(["--env", "AWS_SECRET_ACCESS_KEY=hush-hush"])
    assert result.exit_code == 0
    assert "hush-hush" not in result.log


def test_nothing_of_the_callers_input_changes_and_nothing_is_left_behind(seen: Job) -> None:
    seen.configure("resourceconfig.json", {"current_host": "algo-1", "hosts": ["algo-1"]})
    result = seen.run(["--volume", f"{seen.root}/input:/opt/ml/input:ro"])
    assert result.exit_code == 0, result.log
    files = sorted(str(path.relative_to(seen.root)) for path in seen.root.rglob("*") if path.is_file())
    assert files == ["input/config/resourceconfig.json", "model/seen.json", "output/success"]


@pytest.mark.parametrize(
    "options",
    [
        ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"],
        ["--init"],
    ],
    ids=["locked down", "not PID 1"],
)
def test_a_stop_reaches_the_program_and_waits_for_it(job: Job, options: list[str]) -> None:
    job.program(SAVES_ON_SIGTERM.format(exit_code=0))
    container = job.start(options)
    job.containers.wait_for(container, "training")
    job.containers.signal(container, "SIGTERM")
    result = job.containers.wait(container)
    assert result.exit_code == 0, result.log
    assert "SIGTERM received" in result.log
    assert (job.root / "model" / "saved").exists()
    assert job.failure == ""


@pytest.mark.parametrize("options", [["--interactive", "--tty"], []], ids=["docker run -it", "docker run"])
def test_ctrl_c_in_a_terminal_is_the_same_stop(job: Job, options: list[str]) -> None:
    job.program(SAVES_ON_SIGTERM.format(exit_code=5))
    with Terminal(["docker", *job.containers.command(["train"], [*job.mounts, *options])]) as terminal:
        terminal.wait_for("training\r\n")
        terminal.press(CTRL_C)
        assert terminal.wait() == 5, terminal.shown
    assert "SIGINT received" in terminal.shown
    assert (job.root / "model" / "saved").exists()


def test_a_second_signal_ends_the_job_at_once(job: Job) -> None:
    job.program(IGNORES_SIGTERM)
    container = job.start()
    job.containers.wait_for(container, "training")
    job.containers.signal(container, "SIGTERM")
    job.containers.wait_for(container, "SIGTERM received")
    job.containers.signal(container, "SIGTERM")
    assert job.containers.wait(container).exit_code == 137
    assert "at once by a second signal" in job.failure


@pytest.mark.parametrize("seconds", [0.0, 0.3, 0.6])
def test_a_stop_while_the_container_starts_is_not_lost(job: Job, seconds: float) -> None:
    job.program("import time; time.sleep(600)")
    container = job.start()
    job.containers.wait_for(container, "one host, algo-1")
    time.sleep(seconds)
    job.containers.signal(container, "SIGTERM")
    result = job.containers.wait(container)
    assert result.exit_code == 143, f"{result.log}\nfailure: {job.failure}"
    assert "before training was ready to save anything" in job.failure, result.log


def test_a_stop_ends_a_command_that_has_no_handler(job: Job) -> None:
    job.program("import time; print('preparing', flush=True); time.sleep(600)", name="prepare.py")
    container = job.start(arguments=("prepare",))
    job.containers.wait_for(container, "preparing")
    job.containers.signal(container, "SIGTERM")
    assert job.containers.wait(container).exit_code == 143


def test_the_programs_exit_code_and_sentence_are_the_containers(job: Job) -> None:
    job.program(
        "import os, sys\n"
        "open(os.environ['TRAINING_EXIT_CODE_FILE'], 'w').write('11')\n"
        "open(os.environ['SM_OUTPUT_DIR'] + '/failure', 'w').write('The train channel is empty.')\n"
        "sys.exit(11)\n"
    )
    assert job.run().exit_code == 11
    assert job.failure == "The train channel is empty."


def test_a_failure_of_an_earlier_run_does_not_outlive_it(seen: Job) -> None:
    (seen.root / "output").mkdir()
    (seen.root / "output" / "failure").write_text("old")
    assert seen.run().exit_code == 0
    assert seen.failure == ""


def test_a_crash_without_a_word_gets_a_sentence(job: Job) -> None:
    job.program("raise ValueError('x')")
    result = job.run()
    assert result.exit_code == 1
    assert job.failure == "train.py ended with exit code 1 and gave no reason. The log above has its last words."
    assert result.log.count("Traceback") == 1


@pytest.mark.parametrize(
    ("name", "exit_code", "words"),
    [("SIGILL", 132, "ONEDNN_MAX_CPU_ISA"), ("SIGKILL", 137, "killed by SIGKILL"), ("SIGSEGV", 139, "SIGSEGV")],
)
def test_what_killed_the_program_is_said(job: Job, name: str, exit_code: int, words: str) -> None:
    job.program(f"import os, signal; os.kill(os.getpid(), signal.{name})")
    result = job.run()
    assert result.exit_code == exit_code
    assert words in job.failure
    assert f"error: {job.failure}" in result.log


def test_running_out_of_memory_is_said(job: Job) -> None:
    job.program("chunks = []\nwhile True: chunks.append(bytearray(2**20))")
    result = job.run(["--memory", "256m", "--memory-swap", "256m"])
    assert result.exit_code == 137, result.log
    assert "ran out of memory: the kernel killed it at the container's limit of 256 MiB" in job.failure


def test_a_failure_that_a_full_disk_keeps_from_being_written_is_no_success(job: Job) -> None:
    job.program(
        "import os, sys\n"
        "try:\n"
        "    with open(os.environ['SM_OUTPUT_DIR'] + '/filler', 'wb', buffering=0) as file:\n"
        "        while True: file.write(bytes(4096))\n"
        "except OSError: sys.exit(1)\n"
    )
    result = job.run(["--tmpfs", "/opt/ml/output:size=64k,mode=1777"])
    assert result.exit_code == 14, result.log
    assert "the disk is full" in result.log


def test_one_of_several_hosts_starts_at_once_whatever_names_have_addresses_yet(seen: Job) -> None:
    seen.configure("resourceconfig.json", {"current_host": "algo-2", "hosts": ["algo-1", "algo-2"]})
    result = seen.run()
    assert result.exit_code == 0, result.log
    environment = read_seen(seen)["environment"]
    assert isinstance(environment, dict)
    assert environment["SM_CURRENT_HOST"] == "algo-2"


def test_a_damaged_config_file_ends_the_job_before_the_program(seen: Job) -> None:
    seen.configure("resourceconfig.json", {"hosts": ["algo-1"]})
    result = seen.run()
    assert result.exit_code == 13
    assert seen.failure.startswith("/opt/ml/input/config/resourceconfig.json: current_host (None) must be one of hosts")
    assert "Traceback" not in result.log


def test_an_output_folder_of_somebody_else_is_said(seen: Job, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir(mode=0o555)
    result = seen.run(["--user", "12345:0", "--volume", f"{foreign}:/opt/ml/model"])
    assert result.exit_code == 13
    assert "/opt/ml/model cannot be written by user 12345: Permission denied" in result.log
