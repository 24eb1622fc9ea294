"""The trained model's SavedModel, as fast as this processor runs it: token ids in, probabilities out.

    engine = Engine.load(Path("/opt/ml/model"))
    encodings = engine.encode(["Great product"])
    engine.probabilities([encoding.ids for encoding in encodings])

The SavedModel does no work on padding, and the last layer's for [CLS] alone (star_rating/model/distilbert.py): it runs
as fast as the model in memory, and loads without Keras. Frozen, with constants for weights, it is no faster, and takes
seconds longer to load.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from star_rating import quiet_tensorflow
from star_rating.failures import WeightsError
from star_rating.hardware import instruction_set, threads
from star_rating.results.inference import Encoding, ModelFolder
from star_rating.serving.batching import Probabilities, Rows
from star_rating.serving.formats import Prediction

MOST_HEAPS = 2
_M_ARENA_MAX = -8  # malloc.h
PROBE = "It works as expected, and I would buy it again."


class Engine:
    """A loaded model."""

    def __init__(self, folder: ModelFolder, model: Any) -> None:  # noqa: ANN401 - TensorFlow is untyped
        self.folder = folder
        self._model = model
        """A signature does not keep the variables alive."""
        self._signature = model.signatures["serving_default"]

    @classmethod
    def load(cls, model: Path) -> Engine:
        """Load a folder as training leaves it; WeightsError says what is missing.

        Chooses instructions and threads, imports TensorFlow, and runs the model once.
        """
        folder = ModelFolder(model)
        _require(folder)
        _find_temporary_folder()
        _keep_memory_together()
        instruction_set.choose(os.environ)
        threads.choose(os.environ)
        quiet_tensorflow.import_tensorflow()
        try:
            engine = cls(folder, _load(folder.saved_model))
            encodings = engine.encode([PROBE, PROBE[:8]])
            probabilities = engine.probabilities([encoding.ids for encoding in encodings])
            engine.describe(encodings, probabilities)
            if not np.isfinite(probabilities).all():
                raise ValueError("its probabilities are not finite")
        except Exception as error:  # of any type: TensorFlow's, the tokenizer's, a KeyError of what a file does not say
            shown = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            raise WeightsError(
                f"{model} cannot be loaded: {shown}. Unpack model.tar.gz again; if another image has made it, serve it "
                "with that one."
            ) from error
        return engine

    def encode(self, reviews: list[str]) -> list[Encoding]:
        """Tokenise reviews, cut as in training."""
        return self.folder.encode(reviews)

    def probabilities(self, rows: Rows) -> Probabilities:
        """Return float32[reviews, classes]; a review's are the same in any batch, to 1e-6."""
        width = max(map(len, rows))
        ids = np.zeros((len(rows), width), np.int32)
        mask = np.zeros((len(rows), width), np.int32)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = row
            mask[index, : len(row)] = 1
        import tensorflow as tf  # loaded already

        answer = self._signature(input_ids=tf.constant(ids), input_mask=tf.constant(mask))
        result: Probabilities = answer["probabilities"].numpy()
        return result

    def describe(self, encodings: list[Encoding], probabilities: Probabilities) -> list[Prediction]:
        """Return what the answer says of each review."""
        documents = map(self.folder.describe, probabilities.tolist())
        return [
            Prediction(document["stars"], document["probabilities"], encoding.truncated)
            for document, encoding in zip(documents, encodings, strict=True)
        ]


def _require(folder: ModelFolder) -> None:
    needed = [folder.saved_model / "saved_model.pb"]
    needed += [folder.fine_tuned / name for name in ("config.json", "tokenizer.json", "tokenizer_config.json")]
    for path in needed:
        if not path.is_file():
            raise WeightsError(
                f"{path} is missing. {folder.folder} must hold the unpacked model.tar.gz of this image's training job."
            )


def _find_temporary_folder() -> None:
    """Let TensorFlow's import find a folder for temporary files where the container's file system is read-only."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        os.environ["TMPDIR"] = "/dev/shm"  # noqa: S108 - the one that every container has


def _keep_memory_together() -> None:
    """Let all threads allocate from a few common heaps, unless the user has said how many.

    By default glibc gives each thread one of its own, and keeps in each what batches of every size have left: the
    process would grow by a hundred megabytes over its first thousands of requests.
    """
    if "MALLOC_ARENA_MAX" not in os.environ:
        with contextlib.suppress(AttributeError):  # another C library
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, MOST_HEAPS)


def _load(saved_model: Path) -> Any:  # noqa: ANN401
    import tensorflow as tf  # seconds

    return tf.saved_model.load(str(saved_model))
