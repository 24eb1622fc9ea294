"""Reads the model of a training job: as a command, as functions, and under SageMaker's TensorFlow Serving image.

    python code/inference.py "Broke after two days." "Exactly what I needed."

It stands in `code/` of model.tar.gz, where TensorFlow Serving's container looks for it, and takes everything that it
needs (length, class names, tokenizer, how `prepare` read texts) from the exports beside it. Needs `tokenizers`; the
command needs TensorFlow too.
Request, as JSON: {"instances": ["a review", ...]}; answer: {"predictions": [{"stars": 5, "probabilities": {...}}]}.
The image's own `serve` and `predict` read a folder through the same class.
"""

from __future__ import annotations

import functools
import html
import json
import os
import re
import sys
from html.entities import html5
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer

_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_LINE_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)


class Encoding(NamedTuple):
    """A review's tokens."""

    ids: list[int]
    """[CLS] and [SEP] included, cut as in training, not padded."""
    truncated: bool
    """Whether the review was longer."""


class ModelFolder:
    """What a model's folder says of how reviews become tokens, and probabilities stars."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fine_tuned = folder / "transformers" / "fine-tuned"
        self.saved_model = folder / "tensorflow" / "saved_model" / "0"

    def encode(self, reviews: list[str]) -> list[Encoding]:
        """Tokenise reviews; runs outside the interpreter lock."""
        settings = self._preprocessing
        texts = reviews if settings["keep_html"] else [decode_html(review) for review in reviews]
        # One review is not worth the way to the tokenizer's own threads, which wait for a core while a model works.
        single = len(texts) == 1
        encodings = [self._tokenizer.encode(texts[0])] if single else self._tokenizer.encode_batch(texts)
        if settings["truncate"] == "head":
            return [Encoding(cut.ids, bool(cut.overflowing)) for cut in encodings]
        longest = self._read("tokenizer_config.json")["model_max_length"]
        return [Encoding(head_and_tail(whole.ids, longest), len(whole.ids) > longest) for whole in encodings]

    def pad(self, rows: list[list[int]]) -> dict[str, list[list[int]]]:
        """Return `input_ids` and `input_mask`, padded to the longest row."""
        width = max(map(len, rows), default=0)
        pad_id = self._read("config.json")["pad_token_id"]
        return {
            "input_ids": [row + [pad_id] * (width - len(row)) for row in rows],
            "input_mask": [[1] * len(row) + [0] * (width - len(row)) for row in rows],
        }

    def describe(self, probabilities: list[float]) -> dict[str, Any]:
        """Return the most likely stars and every class's probability."""
        names = self._read("config.json")["id2label"]
        best = max(range(len(probabilities)), key=probabilities.__getitem__)
        return {
            "stars": int(names[str(best)]),
            "probabilities": {names[str(index)]: value for index, value in enumerate(probabilities)},
        }

    def stars(self) -> list[str]:
        """Return the classes' names, in their order."""
        names = self._read("config.json")["id2label"]
        return [names[str(index)] for index in range(len(names))]

    def settings(self) -> dict[str, Any]:
        """Return everything beside the weights that predictions follow from."""
        return {name: self._read(name) for name in ("config.json", "tokenizer_config.json")} | self._preprocessing

    def _read(self, name: str) -> dict[str, Any]:
        return _read(self.fine_tuned / name)

    @functools.cached_property
    def _preprocessing(self) -> dict[str, Any]:
        """What `prepare` was told; models of earlier images have no such file, and were not told anything."""
        recorded = self._read("preprocessing.json") if (self.fine_tuned / "preprocessing.json").exists() else {}
        return {"truncate": "head", "keep_html": True, **recorded}

    @functools.cached_property
    def _tokenizer(self) -> Tokenizer:
        tokenizer = Tokenizer.from_file(str(self.fine_tuned / "tokenizer.json"))
        tokenizer.no_padding()
        if self._preprocessing["truncate"] == "head":
            tokenizer.enable_truncation(self._read("tokenizer_config.json")["model_max_length"])
        else:
            tokenizer.no_truncation()
        return tokenizer


def decode_html(review: str) -> str:
    """Return a review with its HTML entities and line breaks as text."""
    if not ("&" in review or "<" in review):
        return review
    return _LINE_BREAK.sub(" ", _ENTITY.sub(_decode_entity, review))


def _decode_entity(entity: re.Match[str]) -> str:
    # html.unescape alone would make of "&notable;" what it makes of "&not;".
    named = entity[0][1:]
    return html.unescape(entity[0]) if named[0] == "#" else html5.get(named, entity[0])


def head_and_tail(ids: list[int], longest: int) -> list[int]:
    """Return the first quarter and the last three of a longer review's ids, [CLS] and [SEP] among them."""
    head = 1 + (longest - 2) // 4
    return ids if len(ids) <= longest else ids[:head] + ids[head - longest :]


@functools.cache
def _read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


MODEL = ModelFolder(Path(__file__).resolve().parent.parent)
"""The model in whose `code/` this file stands."""


def tokenize(reviews: list[str]) -> dict[str, list[list[int]]]:
    """Return `input_ids` and `input_mask`, padded to the longest review."""
    return MODEL.pad([encoding.ids for encoding in MODEL.encode(reviews)])


def predict(reviews: list[str]) -> list[dict[str, Any]]:
    """Predict in this process, with the SavedModel."""
    serve = _saved_model().signatures["serving_default"]
    import tensorflow as tf  # TensorFlow Serving's Python has none

    inputs = {name: tf.constant(rows, tf.int32) for name, rows in tokenize(reviews).items()}
    return [MODEL.describe(row) for row in serve(**inputs)["probabilities"].numpy().tolist()]


@functools.cache
def _saved_model() -> Any:  # noqa: ANN401 - TensorFlow is untyped
    import tensorflow as tf

    return tf.saved_model.load(str(MODEL.saved_model))


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
    return json.dumps({"predictions": [MODEL.describe(row) for row in rows]}).encode(), context.accept_header


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    for review, prediction in zip(sys.argv[1:], predict(sys.argv[1:]), strict=True):
        share = prediction["probabilities"][str(prediction["stars"])]
        print(f"{prediction['stars']} stars ({share:.0%})  {review}")  # noqa: T201 - this command's output
