"""TensorBoard scalars of a run: train per log line, validation per epoch.

Where they go: the folder that SageMaker mirrors (tensorboardoutputconfig.json) if the job has one, else
/opt/ml/output/data/tensorboard, which becomes part of output.tar.gz; model.tar.gz only if asked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from star_rating.contract import Contract
from star_rating.failures import ConfigurationError
from star_rating.training.progress import History


def tensorboard_folder(contract: Contract, *, in_model: bool) -> Path:
    """Return where the scalars go."""
    if in_model:
        return contract.model_dir / "tensorboard"
    config = contract.config_dir / "tensorboardoutputconfig.json"
    if not config.exists():
        return contract.output_dir / "data" / "tensorboard"
    try:
        return Path(
            json.loads(config.read_text(encoding="utf-8")).get("LocalPath") or contract.output_dir / "tensorboard"
        )
    except (ValueError, AttributeError, TypeError) as error:
        raise ConfigurationError(
            f"{config} is damaged ({error}); SageMaker writes a JSON object with LocalPath."
        ) from None


class TensorBoardScalars(tf_keras.callbacks.Callback):
    """Writes what the log lines say as event files; must stand after ProgressLog among the callbacks."""

    def __init__(self, folder: Path, history: History) -> None:
        super().__init__()
        self.history = history
        self.writers = {name: tf.summary.create_file_writer(str(folder / name)) for name in ("train", "validation")}
        self.written = 0

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Leave out what an interrupted run has written."""
        del logs
        self.written = len(self.history.train)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Write the windows that ProgressLog has added."""
        del batch, logs
        while self.written < len(self.history.train):
            self._write("train", self.history.steps[self.written], self.history.train[self.written])
            self.written += 1

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Write the epoch's validation."""
        del epoch, logs
        entry = self.history.epochs[-1]
        if "validation_loss" in entry:
            values = {name: entry[f"validation_{name}"] for name in ("loss", "accuracy")}
            self._write("validation", int(entry["step"]), values)

    def _write(self, run: str, step: int, values: Mapping[str, float]) -> None:
        # TensorFlow's tf.summary.scalar lives in the tensorboard package; the image only writes, so it does without.
        metadata = tf.compat.v1.SummaryMetadata(plugin_data={"plugin_name": "scalars"})
        with self.writers[run].as_default():
            for name, value in values.items():
                tf.summary.write(name, np.float32(value), step=step, metadata=metadata)
            self.writers[run].flush()
