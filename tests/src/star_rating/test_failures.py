"""Every exception becomes a sentence and a code; what the system or the user caused is not called a defect."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import tensorflow as tf

from star_rating.failures import DataError, ExitCode, as_failure, write_failure


def of_the_system(number: int, name: str | None = "/opt/ml/x") -> OSError:
    return OSError(number, os.strerror(number), name)


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        (errno.ENOSPC, ExitCode.DISK_FULL, "The disk is full while writing /opt/ml/x. Give the job a larger volume"),
        (errno.EDQUOT, ExitCode.DISK_FULL, "The disk is full"),
        (errno.ENOMEM, ExitCode.OUT_OF_MEMORY, "ran out of memory"),
        (errno.EACCES, ExitCode.CONFIGURATION, f"User {os.getuid()} may not use /opt/ml/x: Permission denied"),
        (errno.EROFS, ExitCode.CONFIGURATION, "may not use /opt/ml/x: Read-only file system"),
        (errno.EIO, ExitCode.DATA, "The storage below /opt/ml/x stopped answering: Input/output error"),
        (errno.EBADF, ExitCode.BUG, "A defect of the training image"),
    ],
)
def test_an_error_of_the_system_is_told_by_its_number(number: int, code: ExitCode, words: str) -> None:
    failure = as_failure(of_the_system(number))
    assert failure.exit_code == code
    assert words in str(failure)


def test_an_error_without_a_file_is_a_sentence_too() -> None:
    assert str(as_failure(of_the_system(errno.EACCES, None))).startswith(f"User {os.getuid()} may not use a file of")


def test_memory_that_python_is_refused() -> None:
    with pytest.raises(MemoryError) as caught:
        bytearray(2**62)
    assert as_failure(caught.value).exit_code == ExitCode.OUT_OF_MEMORY


@pytest.mark.slow  # TensorFlow asks again for ten seconds
def test_memory_that_tensorflow_is_refused() -> None:
    with pytest.raises(tf.errors.ResourceExhaustedError) as caught:
        tf.zeros([2**46])
    failure = as_failure(caught.value)
    assert failure.exit_code == ExitCode.OUT_OF_MEMORY
    assert "train_batch_size" in str(failure)


def test_a_failure_file_is_cut_and_never_refuses_a_name(tmp_path: Path) -> None:
    write_failure(DataError("a\udcff.tfrecord " + "x" * 2000), tmp_path)
    text = (tmp_path / "failure").read_text(encoding="utf-8")
    assert text.startswith("a\\udcff.tfrecord xxx")
    assert len(text) == 1024
