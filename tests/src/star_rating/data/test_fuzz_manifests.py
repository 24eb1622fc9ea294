"""Manifests that are damaged: the channel is opened, or refused with a sentence."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from star_rating.data.channel import open_channel
from star_rating.data.manifest import Manifest, PartFile, SourceCounts, TokenizerIdentity
from star_rating.failures import DataError
from tests.helpers.fuzzing import damaged_json, feed
from tests.helpers.training_job import examples, write_records

pytestmark = pytest.mark.slow

LENGTH = 16


def test_a_channel_is_opened_or_refused(tmp_path: Path, say: Callable[[str], None], scaled: Callable[..., int]) -> None:
    write_records(tmp_path / "a.tfrecord", examples(5, LENGTH, seed=0))
    content = (tmp_path / "a.tfrecord").read_bytes()
    manifest = Manifest(
        split="train",
        host="algo-1",
        records=5,
        label_histogram={str(stars): 1 for stars in range(1, 6)},
        truncated=1,
        dropped_by_balancing=0,
        max_seq_length=LENGTH,
        tokenizer=TokenizerIdentity("MiniLM", "0" * 64),
        seed=42,
        files=(PartFile("a.tfrecord", 5, len(content), hashlib.sha256(content).hexdigest()),),
        sources=(SourceCounts("reviews.tsv", 8, 6, 1, 1),),
        settings={"input": "reviews.tsv", "balance": False},
    )
    path = tmp_path / manifest.file_name

    def read(damaged: bytes) -> None:
        path.write_bytes(damaged)
        channel = open_channel("train", tmp_path, max_seq_length=LENGTH, vocabulary_size=100)
        assert channel.label_histogram == (1, 1, 1, 1, 1)

    outcomes = feed(read, damaged_json([json.loads(manifest.to_json())]), number=scaled(4000), allowed=(DataError,))
    say(f"manifests: {outcomes}")
