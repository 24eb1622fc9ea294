"""TensorBoard's event files: scalars, histograms, texts and pictures, a folder a run (train, validation, test).

    board = Board(folder)
    board.scalars("train", step=10, values={"loss": 1.4})
    board.close()

TensorFlow's own tf.summary.scalar and its like live in the tensorboard package, which an image that only writes does
without. What they write is a tensor and the name of the plugin that shows it (tensorboard/plugins/*/summary_v2.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

HISTOGRAM_BUCKETS = 30
"""TensorBoard's own number."""


class Board:
    """A folder of event files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
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
            writer.flush()

    def close(self) -> None:
        """End the files; what is written later goes into new ones."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def _write(self, run: str, step: int, plugin: str, name: str, tensor: Any) -> None:  # noqa: ANN401 - TensorFlow's
        if run not in self._writers:
            self._writers[run] = tf.summary.create_file_writer(str(self.folder / run))
        metadata = tf.compat.v1.SummaryMetadata(plugin_data={"plugin_name": plugin})
        with self._writers[run].as_default():
            tf.summary.write(name, tensor, step=step, metadata=metadata)


def histogram(array: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """Return [buckets, 3]: left edge, right edge, and how many of the finite values lie between."""
    finite = array[np.isfinite(array)]
    counts, edges = np.histogram(finite, bins=HISTOGRAM_BUCKETS)
    return np.stack([edges[:-1], edges[1:], counts], axis=1).astype(np.float64)
