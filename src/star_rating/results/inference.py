"""Reads the model of a training job: as a command, as functions, and under SageMaker's TensorFlow Serving image.

    python code/inference.py "Broke after two days." "Exactly what I needed."

It stands in `code/` of model.tar.gz, where TensorFlow Serving's container looks for it, and takes everything that it
needs (length, class names, tokenizer) from the exports beside it. Needs `tokenizers`; the command needs TensorFlow too.
Request, as JSON: {"instances": ["a review", ...]}; answer: {"predictions": [{"stars": 5, "probabilities": {...}}]}.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

MODEL_FOLDER = Path(__file__).resolve().parent.parent
FINE_TUNED = MODEL_FOLDER / "transformers" / "fine-tuned"


@functools.cache
def _read(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((FINE_TUNED / name).read_text(encoding="utf-8"))
    return document


@functools.cache
def _tokenizer() -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(FINE_TUNED / "tokenizer.json"))
    tokenizer.enable_truncation(_read("tokenizer_config.json")["model_max_length"])
    tokenizer.enable_padding(pad_id=_read("config.json")["pad_token_id"])
    return tokenizer


def tokenize(reviews: list[str]) -> dict[str, list[list[int]]]:
    """Return `input_ids` and `input_mask`, padded to the longest review."""
    encodings = _tokenizer().encode_batch(reviews)
    return {
        "input_ids": [encoding.ids for encoding in encodings],
        "input_mask": [encoding.attention_mask for encoding in encodings],
    }


def describe(probabilities: list[float]) -> dict[str, Any]:
    """Return the most likely stars and every class's probability."""
    names = _read("config.json")["id2label"]
    best = max(range(len(probabilities)), key=probabilities.__getitem__)
    return {
        "stars": int(names[str(best)]),
        "probabilities": {names[str(index)]: value for index, value in enumerate(probabilities)},
    }


def predict(reviews: list[str]) -> list[dict[str, Any]]:
    """Predict in this process, with the SavedModel."""
    serve = _saved_model().signatures["serving_default"]
    import tensorflow as tf  # TensorFlow Serving's Python has none

    inputs = {name: tf.constant(rows, tf.int32) for name, rows in tokenize(reviews).items()}
    return [describe(row) for row in serve(**inputs)["probabilities"].numpy().tolist()]


@functools.cache
def _saved_model() -> Any:  # noqa: ANN401 - TensorFlow is untyped
    import tensorflow as tf

    return tf.saved_model.load(str(MODEL_FOLDER / "tensorflow" / "saved_model" / "0"))


def input_handler(data: Any, context: Any) -> str:  # noqa: ANN401 - TensorFlow Serving's container defines these
    """Turn a request for SageMaker's TensorFlow Serving container into TensorFlow Serving's own."""
    if context.request_content_type != "application/json":
        raise ValueError(f"Content type {context.request_content_type!r} is not supported; send application/json.")
    reviews = json.loads(data.read().decode("utf-8"))["instances"]
    rows = tokenize(reviews)
    return json.dumps({"inputs": rows})


def output_handler(response: Any, context: Any) -> tuple[bytes, str]:  # noqa: ANN401
    """Turn TensorFlow Serving's answer into stars."""
    if response.status_code != 200:
        raise ValueError(response.content.decode("utf-8"))
    rows = json.loads(response.content.decode("utf-8"))["outputs"]["probabilities"]
    return json.dumps({"predictions": [describe(row) for row in rows]}).encode(), context.accept_header


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    for review, prediction in zip(sys.argv[1:], predict(sys.argv[1:]), strict=True):
        share = prediction["probabilities"][str(prediction["stars"])]
        print(f"{prediction['stars']} stars ({share:.0%})  {review}")  # noqa: T201 - this command's output
