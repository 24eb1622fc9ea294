"""A case's batches as a channel of TFRecords from which the trainer's shuffled pipeline reads exactly these batches.

    write_channel(case, batches, ids, labels, length)       # case/ml is the job's /opt/ml
    batches_of(case, batch_size, length)                    # what the trainer trains on

The order in which the pipeline reads is a function of the seed and the number of records. It is found out with a
channel of numbered records; then the records are stored so that reading brings them into the order of the plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from star_rating.data.channel import Channel, open_channel
from star_rating.data.pipeline import training_batches
from star_rating.hyperparameters import Hyperparameters
from star_rating.preparation.tfrecord import ExampleSerializer, frame

SEED = Hyperparameters().seed
TRAIN = Path("ml", "input", "data", "train")


def write_channel(
    case: Path,
    batches: Sequence[Sequence[int]],
    ids: Sequence[Sequence[int]],
    labels: Sequence[int],
    length: int,
) -> None:
    """Write case/ml/input/data/train; raise AssertionError if the pipeline does not read the batches back."""
    batch_size = len(batches[0])
    planned = [review for batch in batches for review in batch]
    order = reading_order(case / "numbered", len(planned), batch_size)
    stored = [0] * len(planned)
    for review, place in zip(planned, order, strict=True):
        stored[place] = review
    vocabulary_size = 1 + max(max(row) for row in ids)
    serializer = ExampleSerializer(length, vocabulary_size, pad_id=0)
    write_records(case, (serializer.serialize(ids[review], labels[review]) for review in stored))
    wanted = [[*ids[review], *[0] * (length - len(ids[review]))] for review in planned]
    assert np.array_equal(read_ids(case, len(planned), batch_size, length), wanted)


def batches_of(case: Path, batch_size: int, length: int) -> tf.data.Dataset:
    """Return the trainer's own batches of the channel, with its default seed."""
    return training_batches(open_case(case, length), batch_size, length, seed=SEED)


def open_case(case: Path, length: int) -> Channel:
    """Open a case's channel as the trainer does."""
    return open_channel("train", case / TRAIN, max_seq_length=length, vocabulary_size=2**31)


def reading_order(case: Path, records: int, batch_size: int) -> list[int]:
    """Return the places in the file in the order in which training reads them."""
    serializer = ExampleSerializer(2, max(records, 2), pad_id=0)
    write_records(case, (serializer.serialize([place], place % 5) for place in range(records)))
    return [int(place) for place in read_ids(case, records, batch_size, 2)[:, 0]]


def read_ids(case: Path, records: int, batch_size: int, length: int) -> npt.NDArray[np.int32]:
    """Return the first pass's input_ids, [records, length]."""
    batches = batches_of(case, batch_size, length).take(records // batch_size)
    return np.concatenate([features["input_ids"].numpy() for features, _ in batches])


def write_records(case: Path, records: Iterable[bytes]) -> None:
    """Write the one file of the channel."""
    folder = case / TRAIN
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "part-algo-1-reviews.tfrecord").open("wb") as file:
        for record in records:
            file.write(frame(record))
