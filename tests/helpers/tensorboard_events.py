"""Event files, read by TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf


def read(folder: Path) -> dict[str, dict[int, tuple[str, Any]]]:
    """Return tag -> step -> plugin and value of the event files below a folder; their checksums are verified."""
    values: dict[str, dict[int, tuple[str, Any]]] = {}
    for path in sorted(folder.rglob("events.out.tfevents.*")):
        for record in tf.data.TFRecordDataset([str(path)]):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for entry in event.summary.value:
                plugin = entry.metadata.plugin_data.plugin_name
                values.setdefault(entry.tag, {})[event.step] = (plugin, tf.make_ndarray(entry.tensor))
    return values
