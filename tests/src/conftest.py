"""What every test of this folder needs before TensorFlow is imported."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from star_rating.contract import Contract
from star_rating.hardware import instruction_set

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# smdebug's reader looks again this many seconds after the end of a run, which here is over before it looks at all.
os.environ["SMDEBUG_TRAINING_END_DELAY_REFRESH"] = "0"
# This machine may advertise instructions that end the process; the training script asks the same question.
instruction_set.choose(os.environ)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C reaches a child, even where a shell has started the tests in the background, with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def contract(tmp_path: Path) -> Contract:
    config = tmp_path / "input" / "config"
    config.mkdir(parents=True)
    return Contract(
        channels={},
        config_dir=config,
        model_dir=tmp_path / "model",
        output_dir=tmp_path / "output",
        checkpoint_dir=tmp_path / "checkpoints",
        current_host="algo-1",
        hosts=("algo-1",),
        training_job_name="job",
    )


@pytest.fixture
def fresh_smdebug() -> Iterator[None]:
    """Give back what is the whole process's: variables, hooks, Keras's policy, and whether smdebug is off."""
    import tf_keras

    policy = tf_keras.mixed_precision.global_policy()
    with mock.patch.dict(os.environ), mock.patch.object(threading, "excepthook", threading.excepthook):
        os.environ.pop("TRAINING_JOB_NAME", None)
        yield
    tf_keras.mixed_precision.set_global_policy(policy)
    if "smdebug.core.utils" in sys.modules:
        sys.modules["smdebug.core.utils"].error_handling_agent.disable_smdebug = False
