"""Manifests come back as they were written, and damage is named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from star_rating.data.fingerprint import TextsFile
from star_rating.data.manifest import LINES, Manifest, PartFile, SourceCounts, TokenizerIdentity, read_manifests
from star_rating.failures import DataError

MANIFEST = Manifest(
    split="train",
    host="algo-1",
    records=10,
    label_histogram={"1": 1, "2": 2, "3": 3, "4": 4, "5": 0},
    truncated=3,
    dropped_by_balancing=0,
    max_seq_length=64,
    tokenizer=TokenizerIdentity("distilbert-base-uncased", "ab" * 32),
    seed=42,
    files=(PartFile("part-algo-1-reviews.tfrecord", 10, 3120, "cd" * 32),),
    sources=(SourceCounts("reviews.tsv", rows=14, kept=11, empty=1, broken=2),),
    settings={"split": "90,5,5", "balance": False, "review_id_column": None},
    texts=TextsFile("texts-algo-1.u64", 9, 0, "ef" * 32),
)


def changed(**changes: object) -> str:
    document = json.loads(MANIFEST.to_json())
    document.update(changes)
    return json.dumps(document)


def test_a_manifest_comes_back_as_it_was_written() -> None:
    assert Manifest.from_json(MANIFEST.to_json(), "here") == MANIFEST


def test_a_manifest_of_an_earlier_image_has_no_hashes_of_texts_and_no_lines() -> None:
    source = SourceCounts("reviews.tsv", 14, 11, 1, 2, kept_lines=12, empty_lines=1, broken_lines=3, other_lines=1)
    whole = replace(MANIFEST, sources=(source,))
    assert Manifest.from_json(whole.to_json(), "here") == whole
    document = json.loads(whole.to_json())
    del document["texts"]
    for key in LINES:
        del document["sources"][0][key]
    assert Manifest.from_json(json.dumps(document), "here") == replace(MANIFEST, texts=None)


def test_a_folder_gives_the_manifests_of_all_hosts(tmp_path: Path) -> None:
    for host in ("algo-2", "algo-1"):
        manifest = replace(MANIFEST, host=host)
        (tmp_path / manifest.file_name).write_text(manifest.to_json(), encoding="utf-8")

    assert [manifest.host for manifest in read_manifests(tmp_path)] == ["algo-1", "algo-2"]


def test_a_folder_that_prepare_did_not_make_gives_none(tmp_path: Path) -> None:
    assert read_manifests(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MANIFEST.to_json()[:-20], "m.json is not JSON"),
        ("[]", "m.json is not a JSON object"),
        (changed(format_version=2), "m.json has format_version 2, this image reads 1"),
        (changed(records="10"), 'm.json: records is "10", not a whole number'),
        (changed(records=True), "m.json: records is true, not a whole number"),
        (changed(max_seq_length=-1), "m.json: max_seq_length is -1, not a whole number"),
        (changed(split=None), "m.json: split is null, not a text"),
        (changed(tokenizer="distilbert"), "m.json, tokenizer, is not a JSON object"),
        (changed(label_histogram={"1": 10}), "m.json, label_histogram,: 2 is null, not a whole number"),
        (changed(files={}), "m.json: files is not a list"),
        (changed(files=[{"name": "x"}]), r"m.json, files\[0\],: records is null"),
        (changed(texts={"name": "x", "sampled_bits": 0, "hashes": -1}), "m.json, texts,: hashes is -1, not a whole"),
        (
            changed(texts={"name": "x", "hashes": 1, "sampled_bits": 33, "sha256": ""}),
            "m.json, texts, sampled_bits is 33",
        ),
        *(
            (changed(texts={"name": name, "hashes": 1, "sampled_bits": 0, "sha256": ""}), "m.json, texts, name is")
            for name in (
                "",
                ".",
                "../train/texts-algo-1.u64",
                f"texts-{'a' * 5000}.u64",
                "texts-\0.u64",
                "texts-\ud800.u64",
            )
        ),
        (changed(records=9), "records is 9, label_histogram adds up to 10, files to 10"),
    ],
)
def test_damage_is_named_with_its_file_and_key(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Manifest.from_json(text, "m.json")


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b""])
def test_an_unreadable_manifest_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "manifest-algo-1.json").write_bytes(content)

    with pytest.raises(DataError, match=r"manifest-algo-1\.json"):
        read_manifests(tmp_path)


def test_no_key_is_written_that_is_not_read_back() -> None:
    document: dict[str, Any] = json.loads(MANIFEST.to_json())
    for key in document.keys() - {"texts", "dropped_as_leaks"}:
        damaged = {name: value for name, value in document.items() if name != key}
        with pytest.raises(DataError, match=key):
            Manifest.from_json(json.dumps(damaged), "m.json")
