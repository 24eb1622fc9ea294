"""XLA's training step: what it compiles, counted; and its warning."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import train
from star_rating.model.xla import STEPS_TIMED, CompiledStep
from tests.helpers.training_job import LENGTH, TrainingJob

pytestmark = pytest.mark.slow


@pytest.fixture
def model() -> tf_keras.Model:
    model = tf_keras.Sequential([tf_keras.layers.Dense(2)])
    model.compile(optimizer="sgd", loss="mse")
    model.build([None, 3])
    return model


def batches(*sizes: int) -> tf.data.Dataset:
    arrays = [(np.ones([size, 3], np.float32), np.ones([size, 2], np.float32)) for size in sizes]
    specification = (tf.TensorSpec([None, 3]), tf.TensorSpec([None, 2]))
    return tf.data.Dataset.from_generator(lambda: iter(arrays), output_signature=specification)


def test_each_shape_of_a_training_batch_is_one_compilation_and_evaluation_is_none(model: tf_keras.Model) -> None:
    compiled = CompiledStep()
    model.train_step = compiled.wrap(model.train_step)
    model.fit(batches(4, 5, 4, 4, 5, 2), validation_data=batches(6, 7), epochs=2, verbose=0)
    assert compiled.record()["compilations"] == 3
    assert isinstance(compiled.record()["seconds_per_step"], float)


def test_a_step_that_compiled_is_not_timed(model: tf_keras.Model) -> None:
    compiled = CompiledStep()
    model.train_step = compiled.wrap(model.train_step)
    model.fit(batches(4, 5, 6), verbose=0)
    assert compiled.record() == {"compilations": 3, "seconds_per_step": None}


def test_once_enough_steps_are_timed_their_median_is_told_once(model: tf_keras.Model) -> None:
    told: list[float] = []
    model.train_step = CompiledStep(told.append).wrap(model.train_step)
    model.fit(batches(*[4] * (STEPS_TIMED + 5)), verbose=0)
    assert len(told) == 1
    assert told[0] > 0


@pytest.mark.long  # half a minute, most of it in XLA
def test_a_job_with_xla_counts_what_tensorflow_says_it_compiled_and_stays_within_eight(tmp_path: Path) -> None:
    job = TrainingJob(tmp_path)
    hyperparameters = {"use_xla": "True", "epochs": "2", "max_seq_length": str(LENGTH), "train_batch_size": "8"}
    finished = subprocess.run(
        [
            sys.executable,
            train.__file__,
            *(word for pair in hyperparameters.items() for word in (f"--{pair[0]}", pair[1])),
        ],
        env={
            **os.environ,
            "SAGEMAKER_BASE_DIR": str(job.root),
            "DISTILBERT_WEIGHTS": str(job.weights),
            "TF_CPP_MIN_LOG_LEVEL": "0",
            "TF_CPP_VMODULE": "device_compilation_profiler=1",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    counts: dict[str, int] = {}
    for cluster, count in re.findall(r"Compiled (\S+) (\d+) times", finished.stderr):
        counts[cluster] = int(count)
    record = json.loads((job.root / "model" / "run.json").read_text())["acceleration"]
    assert record["compiled_step"]["compilations"] == sum(counts.values())
    assert 2 <= sum(counts.values()) <= 8
