"""A training job in this process: real TensorFlow, a tiny model, TFRecords made on the spot.

job = TrainingJob(tmp_path)
outcome = job.run(epochs="1")
assert outcome.exit_code == 0, outcome.log
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import train
from tests.helpers.tiny_model import VOCABULARY, tiny_weights

LENGTH = 16
RECORDS = {"train": 60, "validation": 20, "test": 25}


@dataclass(frozen=True)
class Outcome:
    """What a job's caller sees."""

    exit_code: int
    log: str
    """stdout."""
    stderr: str
    failure: str
    """The failure file's text; empty where there is none."""
    root: Path

    @property
    def run(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.root / "model" / "run.json").read_text())
        return document

    @property
    def evaluation(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.root / "model" / "metrics" / "evaluation.json").read_text())
        return document


class TrainingJob:
    """A SageMaker-like folder with three channels and tiny weights."""

    def __init__(self, folder: Path, length: int = LENGTH) -> None:
        self.root = folder / "ml"
        self.weights = tiny_weights(folder / "weights")
        for seed, (channel, records) in enumerate(RECORDS.items()):
            write_records(self.channel(channel) / "part-algo-1-reviews.tfrecord", examples(records, length, seed))

    def channel(self, name: str) -> Path:
        folder = self.root / "input" / "data" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def run(self, **hyperparameters: str) -> Outcome:
        """Run train.main() with these hyperparameters, one short epoch unless they say otherwise."""
        settings = {"epochs": "1", "max_seq_length": str(LENGTH), "train_batch_size": "20", "learning_rate": "0.001"}
        settings |= hyperparameters
        arguments = [word for name, value in settings.items() for word in (f"--{name}", value)]
        environ = {"SAGEMAKER_BASE_DIR": str(self.root), "DISTILBERT_WEIGHTS": str(self.weights)}
        failure = self.root / "output" / "failure"
        failure.unlink(missing_ok=True)
        with running(arguments, environ) as (stdout, stderr):
            exit_code = train.main()
        text = failure.read_text() if failure.exists() else ""
        return Outcome(int(exit_code), stdout.getvalue(), stderr.getvalue(), text, self.root)


@contextlib.contextmanager
def running(arguments: Sequence[str], environ: Mapping[str, str]) -> Iterator[tuple[io.StringIO, io.StringIO]]:
    stdout, stderr = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["train.py", *arguments]),
        mock.patch.dict(os.environ, environ),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        yield stdout, stderr


def examples(records: int, length: int, seed: int) -> Iterator[dict[str, list[int]]]:
    """Yield features whose label can be learned: each class has words of its own."""
    random = np.random.default_rng(seed)
    for index in range(records):
        label = index % 5
        words = random.integers(2, length - 1)
        ids = [2, *(5 + 7 * label + random.integers(0, 5, size=words)).tolist(), 3][:length]
        assert max(ids) < len(VOCABULARY)
        padding = [0] * (length - len(ids))
        yield {
            "input_ids": ids + padding,
            "input_mask": [1] * len(ids) + padding,
            "segment_ids": [0] * length,
            "label_ids": [label],
        }


def write_records(path: Path, features: Iterator[Mapping[str, Sequence[float]]]) -> None:
    """Write TFRecords by TensorFlow's own means, as a file made elsewhere; floats become a FloatList."""
    import tensorflow as tf  # which takes seconds: tests that never come here should not wait for it

    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in features:
            example = {
                name: tf.train.Feature(float_list=tf.train.FloatList(value=values))
                if any(isinstance(value, float) for value in values)
                else tf.train.Feature(int64_list=tf.train.Int64List(value=values))
                for name, values in record.items()
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=example)).SerializeToString())
