"""TensorBoard's event files of a run (enable_tensorboard): scalars, histograms, texts and pictures.

    writer = TensorBoardWriter(tensorboard_folder(contract, in_model=False))
    writer.scalars("train", step=10, values={"loss": 1.4})
    writer.close()

TensorFlow's own tf.summary.scalar and its like live in the tensorboard package, which an image that only writes does
without. What they write is a tensor and the name of the plugin that shows it (tensorboard/plugins/*/summary_v2.py).
The debugger's hook writes TensorBoard files of its own (debughookconfig.json's export_tensorboard).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from star_rating.contract import Contract, local_path, read_object

log = logging.getLogger(__name__)

HISTOGRAM_BUCKETS = 30
"""TensorBoard's own number."""


class TensorBoardWriter:
    """A folder of event files; one that cannot be written is a warning, as a trained model is worth more."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.failed = False
        """Whether a file could not be written; nothing is, from then on."""
        self._writers: dict[str, Any] = {}

    def scalars(self, run: str, step: int, values: Mapping[str, float]) -> None:
        """Write numbers by name."""
        for name, value in values.items():
            self._write(run, step, "scalars", name, np.float32(value))

    def histograms(self, run: str, step: int, arrays: Mapping[str, npt.NDArray[np.floating[Any]]]) -> None:
        """Write how the values of arrays are distributed."""
        for name, array in arrays.items():
            self._write(run, step, "histograms", name, histogram(array))

    def text(self, run: str, step: int, name: str, markdown: str) -> None:
        """Write a text."""
        self._write(run, step, "text", name, tf.constant(markdown))

    def image(self, run: str, step: int, name: str, png: bytes) -> None:
        """Write a picture."""
        height, width, _ = tf.io.decode_png(png).shape
        self._write(run, step, "images", name, tf.constant([str(width).encode(), str(height).encode(), png]))

    def flush(self) -> None:
        """Put what was written on disk."""
        for writer in self._writers.values():
            self._attempt(writer.flush)

    def close(self) -> None:
        """End the files; what is written later goes into new ones."""
        for writer in self._writers.values():
            self._attempt(writer.close)
        self._writers.clear()

    def _write(self, run: str, step: int, plugin: str, name: str, tensor: Any) -> None:  # noqa: ANN401 - TensorFlow's
        def write() -> None:
            if run not in self._writers:
                self._writers[run] = tf.summary.create_file_writer(str(self.folder / run))
            metadata = tf.compat.v1.SummaryMetadata(plugin_data={"plugin_name": plugin})
            with self._writers[run].as_default():
                tf.summary.write(name, tensor, step=step, metadata=metadata)

        self._attempt(write)

    def _attempt(self, write: Callable[[], None]) -> None:
        if self.failed:
            return
        try:
            write()
        except tf.errors.OpError as error:
            self.failed = True
            reason = "the disk is full" if "No space left" in error.message else error.message.splitlines()[0]
            log.warning("tensorboard: %s is incomplete, training goes on: %s", self.folder, reason)


def histogram(array: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """Return [buckets, 3]: left edge, right edge, and how many of the finite values lie between."""
    finite = array[np.isfinite(array)]
    counts, edges = np.histogram(finite, bins=HISTOGRAM_BUCKETS)
    return np.stack([edges[:-1], edges[1:], counts], axis=1).astype(np.float64)


class History(Protocol):
    """What the trainer keeps of the numbers that it logs."""

    @property
    def steps(self) -> Sequence[int]:
        """Return the step of each log line."""

    @property
    def train(self) -> Sequence[Mapping[str, float]]:
        """Return the numbers of each log line."""

    @property
    def epochs(self) -> Sequence[Mapping[str, float]]:
        """Return each epoch's last step, and validation_loss and validation_accuracy if it had a validation."""


class TensorBoardCallback(tf_keras.callbacks.Callback):
    """Writes while Keras trains; must stand after ProgressLogger among the callbacks."""

    def __init__(self, writer: TensorBoardWriter, history: History, settings: Mapping[str, object]) -> None:
        super().__init__()
        self.writer = writer
        self.history = history
        self.settings = settings
        self.written = 0

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Write what the run is and starts from; leave out what an interrupted run has written."""
        del logs
        self.written = len(self.history.train)
        if not self.history.steps:
            self.writer.text("train", 0, "hyperparameters", as_markdown(self.settings))
            self._write_weights(0)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Write the windows that ProgressLogger has added."""
        del batch, logs
        while self.written < len(self.history.train):
            self.writer.scalars("train", self.history.steps[self.written], self.history.train[self.written])
            self.written += 1
            self.writer.flush()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Write the epoch's validation, and the weights that it leaves."""
        del epoch, logs
        entry = self.history.epochs[-1]
        step = int(entry["step"])
        if "validation_loss" in entry:
            values = {name: entry[f"validation_{name}"] for name in ("loss", "accuracy")}
            self.writer.scalars("validation", step, values)
        self._write_weights(step)
        self.writer.flush()

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Put on disk what is pending."""
        del logs
        self.writer.flush()

    def _write_weights(self, step: int) -> None:
        arrays = {
            f"weights/{variable.name.split(':')[0]}": variable.numpy() for variable in self.model.trainable_weights
        }
        self.writer.histograms("train", step, arrays)


def as_markdown(settings: Mapping[str, object]) -> str:
    """Return a table of names and values."""
    rows = (f"| {name} | {value} |" for name, value in settings.items())
    return "\n".join(["| hyperparameter | value |", "|---|---|", *rows])


def tensorboard_folder(contract: Contract, *, in_model: bool) -> Path:
    """Return the folder; raise ConfigurationError for a damaged tensorboardoutputconfig.json."""
    if in_model:
        return contract.model_dir / "tensorboard"
    path = contract.config_dir / "tensorboardoutputconfig.json"
    config = read_object(path)
    if config is None:
        return contract.output_dir / "data" / "tensorboard"
    return local_path(config, path) or contract.output_dir / "tensorboard"
