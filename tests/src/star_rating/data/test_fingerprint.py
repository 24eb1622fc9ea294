"""The hashes of texts beside a manifest: what two channels share is counted, exactly or in a sample of both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from star_rating.data.fingerprint import Fingerprint, TextHashes, TextsFile, read_fingerprint
from star_rating.data.manifest import Manifest
from star_rating.failures import DataError
from star_rating.preparation.prepare import PrepareSettings, prepare
from star_rating.preparation.split import SPLITS
from tests.helpers.prepare_fixtures import MAX_SEQ_LENGTH, make_weights, random_reviews, write_tsv


def written(folder: Path, texts: list[str], largest: int = 1000) -> tuple[TextsFile, Fingerprint]:
    folder.mkdir(exist_ok=True)
    hashes = TextHashes(largest)
    for start in range(0, len(texts), 7):
        hashes.add(texts[start : start + 7])
    entry = hashes.write(folder, "algo-1")
    return entry, read_fingerprint(folder, entry)


def texts(start: int, stop: int) -> list[str]:
    return [f"review {number}" for number in range(start, stop)]


def test_each_text_counts_once_and_to_the_letter(tmp_path: Path) -> None:
    entry, one = written(tmp_path, [*texts(0, 100), *texts(50, 60), "Review 1", "é"])
    assert (entry.hashes, entry.sampled_bits, one.hashes.size) == (102, 0, 102)
    assert (tmp_path / entry.name).stat().st_size == 102 * 8
    assert bool((np.diff(one.hashes) > 0).all())
    _, other = written(tmp_path / "other", [*texts(90, 200), "review 1 ", "é"])
    assert one.shared_with(other) == other.shared_with(one) == 11
    _, empty = written(tmp_path / "empty", [])
    assert one.shared_with(empty) == empty.shared_with(one) == 0


def test_beyond_a_bound_the_same_texts_are_sampled_everywhere(tmp_path: Path) -> None:
    entry, large = written(tmp_path / "large", texts(0, 10_000), largest=500)
    assert entry.hashes <= 500
    assert entry.sampled_bits in (5, 6)
    _, inside = written(tmp_path / "inside", texts(0, 900))
    _, outside = written(tmp_path / "outside", texts(10_000, 10_900))
    assert 0 < large.shared_with(inside) == inside.shared_with(large) < 100
    assert large.shared_with(outside) == 0


@pytest.mark.parametrize("damage", [b"", b"x", b"12345678" * 100])
def test_a_file_that_is_not_the_manifests_is_refused(tmp_path: Path, damage: bytes) -> None:
    entry, _ = written(tmp_path, texts(0, 100))
    (tmp_path / entry.name).write_bytes(damage)
    with pytest.raises(DataError, match=r"texts-algo-1\.u64 is not the file that its manifest describes"):
        read_fingerprint(tmp_path, entry)
    (tmp_path / entry.name).unlink()
    with pytest.raises(DataError, match=r"texts-algo-1\.u64 cannot be read: No such file"):
        read_fingerprint(tmp_path, entry)


def test_prepare_leaves_them_for_each_channel_and_for_every_seed(tmp_path: Path) -> None:
    rows = random_reviews(300)
    write_tsv(tmp_path / "in" / "reviews.tsv", rows)
    weights = make_weights(tmp_path / "weights")
    settings = PrepareSettings((tmp_path / "in",), tmp_path / "1", weights, max_seq_length=MAX_SEQ_LENGTH, seed=1)

    def fingerprints(settings: PrepareSettings) -> list[Fingerprint]:
        return [
            read_fingerprint(settings.output / manifest.split, manifest.texts)
            for manifest in prepare(settings)
            if manifest.texts
        ]

    first, second = fingerprints(settings), fingerprints(replace(settings, output=tmp_path / "2", seed=2))

    sizes = [one.hashes.size for one in first]
    assert sum(sizes) == 300
    assert [first[0].shared_with(one) for one in first] == [sizes[0], 0, 0]
    assert sum(first[2].shared_with(one) for one in second) == sizes[2] > 0
    assert sum(one.shared_with(other) for one in first for other in second) == 300
    _, whole = written(tmp_path / "whole", [text for _, _, text in rows])
    assert sum(whole.shared_with(one) for one in first) == 300
    manifest = (tmp_path / "1" / SPLITS[0] / "manifest-algo-1.json").read_text(encoding="utf-8")
    assert Manifest.from_json(manifest, "here").texts is not None


def test_an_empty_sample_says_nothing() -> None:
    some = Fingerprint(np.array([1, 2, 3 << 60], np.uint64), 0)
    assert some.can_be_compared_with(some)
    assert some.can_be_compared_with(Fingerprint(some.hashes[:2], 8))
    assert not some.can_be_compared_with(Fingerprint(some.hashes[:0], 0))
    assert not Fingerprint(some.hashes[2:], 0).can_be_compared_with(Fingerprint(some.hashes[:2], 8))
