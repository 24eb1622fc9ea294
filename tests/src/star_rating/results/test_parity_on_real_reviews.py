"""Full-size models on the shipped reviews: ours computes what transformers' padded TFDistilBert computes.

The same with a tiny model, which takes no time, is in test_distilbert.py.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tokenizers import Tokenizer

from benchmarks.measuring.reviews import make_reviews
from benchmarks.measuring.weights import write_weights
from star_rating.model import pretrained_weights
from star_rating.model.config import DistilBertConfig
from star_rating.model.distilbert import DistilBertClassifier
from star_rating.preparation.tokenization import load_tokenizer
from tests.helpers.parity import Batch, Computed, assert_alike, in_bucket, ours, padded, transformers_own, unpadded

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[4]
REVIEWS, LENGTH = 8, 128


@dataclass(frozen=True)
class Case:
    """A model with a new head, and what transformers' class of the same weights makes of the batch."""

    model: DistilBertClassifier
    batch: Batch
    labels: tf.Tensor
    expected: Computed


@pytest.fixture(scope="module")
def shipped() -> Path:
    """The weights that the image has, made on this machine."""
    subprocess.run([PROJECT / "scripts" / "host_weights.sh"], check=True)
    return PROJECT / ".cache" / "weights"


@pytest.fixture(scope="module", params=["shipped weights", pytest.param("6 x 768, random", marks=pytest.mark.long)])
def case(request: pytest.FixtureRequest, shipped: Path, tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = shipped
    if request.param != "shipped weights":
        folder = tmp_path_factory.mktemp("random")
        write_weights(folder, DistilBertConfig(), tokenizer_folder=shipped)
    pretrained = pretrained_weights.load(folder)
    model = DistilBertClassifier(pretrained.config, seed=3)
    pretrained_weights.load_into(model, pretrained)
    batch, labels = real_reviews(shipped)
    expected = transformers_own(model, shipped, tmp_path_factory.mktemp("saved"), batch, labels)
    return Case(model, batch, labels, expected)


def real_reviews(tokenizer_folder: Path) -> tuple[Batch, tf.Tensor]:
    """A batch in which reviews of all lengths are, one of them longer than a row."""
    plain = Tokenizer.from_file(str(tokenizer_folder / "tokenizer.json"))
    plain.no_padding()
    plain.no_truncation()
    reviews = make_reviews(PROJECT / "data" / "reviews.tsv", plain, REVIEWS, seed=4)
    rows = load_tokenizer(tokenizer_folder, LENGTH).encode([review.text for review in reviews]).ids
    ids, mask = (np.zeros((REVIEWS, LENGTH), np.int32) for _ in range(2))
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)], mask[row, : len(tokens)] = tokens, 1
    assert mask.sum(axis=1).max() == LENGTH
    assert mask.sum(axis=1).min() < LENGTH // 8
    batch = {"input_ids": tf.constant(ids), "input_mask": tf.constant(mask)}
    return batch, tf.constant([review.stars - 1 for review in reviews])


@pytest.mark.parametrize(
    ("layout", "jit_compile"),
    [(unpadded, False), (in_bucket, False), (in_bucket, True), (padded, False), (padded, True)],
    ids=["unpadded", "bucket", "bucket-xla", "padded", "padded-xla"],
)
def test_logits_loss_and_all_gradients_are_those_of_transformers(
    case: Case, layout: Callable[[Batch], Batch], *, jit_compile: bool
) -> None:
    assert_alike(ours(case.model, layout(case.batch), case.labels, jit_compile=jit_compile), case.expected)
