"""How the real training ends badly in the real image: each way has its code and one sentence, without a traceback."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.helpers.containers import Containers, Job, Result
from tests.helpers.real_job import RealJob

pytestmark = pytest.mark.image

SMALL = {"train": 8, "validation": 5, "test": 5}

RUNS_AN_INSTRUCTION_THAT_DOES_NOT_EXIST = """
import ctypes, mmap
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(bytes.fromhex("0f0b"))  # ud2
ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
"""


@pytest.fixture
def small(containers: Containers, tmp_path: Path) -> RealJob:
    job = RealJob(containers, tmp_path, length=32, records=SMALL)
    job.configure(train_batch_size="4", log_every_steps="1")
    return job


def check(result: Result, failure: str, exit_code: int, *words: str) -> None:
    assert result.exit_code == exit_code, result.log
    assert all(word in failure for word in words), failure
    assert len(failure) <= 1024
    assert f"error: {failure}" in result.log
    assert "Traceback" not in result.log + failure


def test_memory_that_is_too_small(small: RealJob) -> None:
    result = small.run("--memory", "512m", "--memory-swap", "512m")
    check(result, small.failure, 137, "ran out of memory", "limit of 512 MiB", "train_batch_size")


def test_memory_that_is_refused(containers: Containers, tmp_path: Path) -> None:
    # 260,000 tokens, a vector of 384 floats each, where the process may have 2 GiB of data.
    job = RealJob(containers, tmp_path, length=512, records={"train": 1024})
    job.configure(train_batch_size="1024", run_validation="False", run_test="False")
    # One operation at a time, as each that is refused is tried again for ten seconds.
    one_thread = ["--env", "TF_NUM_INTEROP_THREADS=1", "--env", "TF_NUM_INTRAOP_THREADS=1"]
    result = job.run("--ulimit", f"data={2 * 2**30}", *one_thread)
    # At the limit a library that cannot say it may be the first to ask, or TensorFlow itself, while it says it.
    if result.exit_code in (128 + signal.SIGABRT, 128 + signal.SIGSEGV):
        check(result, job.failure, result.exit_code, "2,048 MiB (ulimit data)", "max_seq_length")
    else:
        check(result, job.failure, 17, "an allocation was refused", "train_batch_size", "max_seq_length")


def test_a_disk_that_holds_no_checkpoint(small: RealJob) -> None:
    result = small.run("--tmpfs", f"/opt/ml/checkpoints:size=64m,uid={os.getuid()}")
    check(result, small.failure, 14, "/opt/ml/checkpoints has 6", "checkpoints need", "VolumeSizeInGB")


def test_a_loss_that_is_not_a_number(small: RealJob) -> None:
    small.configure(learning_rate="1e6", weight_decay="1", train_steps_per_epoch="40")
    result = small.run()
    check(result, small.failure, 15, "made-elsewhere.tfrecord record", "learning_rate")


def test_an_instruction_that_the_processor_does_not_have(job: Job) -> None:
    job.program(RUNS_AN_INSTRUCTION_THAT_DOES_NOT_EXIST)
    result = job.run()
    check(result, job.failure, 132, "SIGILL", "ONEDNN_MAX_CPU_ISA")
    assert "Fatal Python error: Illegal instruction" in result.log, "the log does not show where"


def test_a_crash_where_a_process_may_not_have_more_memory(job: Job) -> None:
    job.program("import ctypes; ctypes.string_at(0)")
    result = job.run(["--ulimit", f"data={3 * 2**30}"])
    check(result, job.failure, 139, "SIGSEGV", "report it", "3,072 MiB (ulimit data); if the log speaks of memory")


def test_input_that_stops_coming(small: RealJob) -> None:
    settings = {"use_xla": "False", "use_amp": "False", "run_validation": "False", "run_test": "False"}
    small.configure(epochs="1000", stall_timeout_minutes="0.1", **settings)
    container = small.start()
    small.containers.wait_for(container, "epoch 1/1000 ended")
    # In the next pass, opening the file waits for somebody who writes: as a volume that does not answer any more.
    pipe = small.file("train").with_name("pipe")
    os.mkfifo(pipe)
    pipe.replace(small.file("train"))
    result = small.containers.wait(container)
    check(result, small.failure, 18, "There was no progress", "in training", "stall_timeout_minutes")
    assert 'train.py", line' in result.log, "the log does not show where it hangs"
