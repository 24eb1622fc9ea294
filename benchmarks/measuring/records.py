"""The records of prepared channels as arrays, for a contestant that reads no TFRecords.

    python -m benchmarks.measuring.records --job out/job --length 64        # out/job/records.npz; counts as JSON

Of each channel `ids` [records, length], `lengths` and `labels` (0 to 4), in the order of the files.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from star_rating.data.channel import open_channel
from star_rating.data.pipeline import evaluation_batches

CHANNELS = ("train", "validation", "test")
BATCH_SIZE = 256


def main() -> None:
    """Convert, and print the number of each channel's records."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--job", type=Path, required=True, help="a job's /opt/ml")
    parser.add_argument("--length", type=int, required=True)
    options = parser.parse_args()
    arrays = {}
    for name in CHANNELS:
        folder = options.job / "input" / "data" / name
        channel = open_channel(name, folder, max_seq_length=options.length, vocabulary_size=2**31)
        batches = list(evaluation_batches(channel, BATCH_SIZE, options.length).as_numpy_iterator())
        arrays[f"{name}_ids"] = np.concatenate([features["input_ids"] for features, _ in batches])
        arrays[f"{name}_lengths"] = np.concatenate([features["input_mask"].sum(axis=1) for features, _ in batches])
        arrays[f"{name}_labels"] = np.concatenate([labels for _, labels in batches])
    np.savez(options.job / "records.npz", **arrays)
    print("\n" + json.dumps({name: len(arrays[f"{name}_labels"]) for name in CHANNELS}))


if __name__ == "__main__":
    main()
