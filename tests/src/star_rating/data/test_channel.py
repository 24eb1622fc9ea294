"""A channel is checked whole before training: each way to be wrong is named with file, record and remedy."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from star_rating.data import records
from star_rating.data.channel import Channel, open_channel, require_several_classes
from star_rating.data.leakage import check_leakage
from star_rating.data.manifest import KnownTokenizer
from star_rating.data.records import Limits, require_unchanged
from star_rating.failures import DataError
from star_rating.preparation.prepare import PrepareSettings, prepare
from star_rating.preparation.tfrecord import frame
from tests.helpers.prepare_fixtures import make_weights, random_reviews, write_tsv
from tests.helpers.training_job import examples, write_records

LENGTH = 16

Change = Callable[[dict[str, Any]], object]


def check(folder: Path | None, **options: Any) -> Channel:
    return open_channel("train", folder, **({"max_seq_length": LENGTH, "vocabulary_size": 100} | options))


def broken(tmp_path: Path, change: Change) -> Path:
    """Write a file whose record 7 has been changed."""

    def changed() -> Iterator[dict[str, list[int]]]:
        for index, features in enumerate(examples(10, LENGTH, seed=0)):
            if index == 7:
                change(features)
            yield features

    write_records(tmp_path / "a.tfrecord", changed())
    return tmp_path


def test_a_good_channel_is_counted(tmp_path: Path) -> None:
    write_records(tmp_path / "nested" / "b.tfrecord", examples(7, LENGTH, seed=0))
    write_records(tmp_path / "a.tfrecord", examples(5, LENGTH, seed=1))
    (tmp_path / ".hidden.tfrecord").write_text("left by a tool")
    (tmp_path / "empty.tfrecord").touch()
    channel = check(tmp_path)
    assert channel.records == 12
    assert channel.label_histogram == (3, 3, 2, 2, 2)


def test_its_hash_follows_its_content(tmp_path: Path) -> None:
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_records(tmp_path / folder / "x.tfrecord", examples(5, LENGTH, seed=seed))
    hashes = [check(tmp_path / folder).sha256 for folder in "abc"]
    assert hashes[0] == hashes[1] != hashes[2]


CHANGES: dict[str, Change] = {
    "label_ids is 5; allowed are star_rating - 1, from 0 to 4": lambda record: record.update(label_ids=[5]),
    "label_ids is -1": lambda record: record.update(label_ids=[-1]),
    "label_ids holds 2 values": lambda record: record.update(label_ids=[1, 2]),
    "feature segment_ids is missing": lambda record: record.pop("segment_ids"),
    "feature label_ids is missing": lambda record: record.pop("label_ids"),
    "input_ids holds 3 values, max_seq_length is 16": lambda record: record.update(input_ids=[1, 2, 3]),
    "input_ids is 100; allowed are the weights' vocabulary": lambda record: record.update(input_ids=[100] * LENGTH),
    "input_mask is 2": lambda record: record.update(input_mask=[2] * LENGTH),
    "it begins with padding": lambda record: record.update(input_mask=[0] * 5 + [1] * (LENGTH - 5)),
    "no token is real": lambda record: record.update(input_mask=[0] * LENGTH),
    "int64": lambda record: record.update(label_ids=[1.0]),
}


@pytest.mark.parametrize("said", CHANGES)
def test_a_bad_record_is_named_with_its_file_and_number(tmp_path: Path, said: str) -> None:
    with pytest.raises(DataError, match=rf"a\.tfrecord, record 7.*{re.escape(said)}"):
        check(broken(tmp_path, CHANGES[said]))


ODD: dict[str, Change] = {
    "begin with another token": lambda record: record.update(input_ids=[*record["input_ids"][1:], 0]),
    "attends to padding": lambda record: record.update(
        input_ids=[2, 5, 3] + [0] * (LENGTH - 3), input_mask=[1] * LENGTH
    ),
    "never sees it": lambda record: record.update(
        input_ids=[2, 5] * (LENGTH // 2), input_mask=[1] + [0] * (LENGTH - 1)
    ),
}


@pytest.mark.parametrize("said", ODD)
def test_records_that_hardly_anybody_means_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, said: str
) -> None:
    channel = check(broken(tmp_path, ODD[said]), tokenizer=KnownTokenizer("", cls_id=2, pad_id=0))
    assert channel.records == 10
    (warning,) = [record.getMessage() for record in caplog.records if said in record.getMessage()]
    assert re.search(r"channel train: 1 record\(s\), the first of them \S+a\.tfrecord, record 7,", warning)


def test_good_records_are_not_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_records(tmp_path / "a.tfrecord", examples(10, LENGTH, seed=0))
    check(tmp_path, tokenizer=KnownTokenizer("", cls_id=2, pad_id=0))
    assert not caplog.records


def test_a_missing_channel(tmp_path: Path) -> None:
    for folder in (None, tmp_path / "absent"):
        with pytest.raises(DataError, match=r"no channel 'train'\. Add it to InputDataConfig"):
            check(folder)


def test_a_channel_without_tfrecords(tmp_path: Path) -> None:
    (tmp_path / "reviews.tsv").write_text("star_rating\treview_body\n")
    with pytest.raises(DataError, match=r"holds no \*.tfrecord file"):
        check(tmp_path)


def test_what_is_passed_over_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.tfrecord", "b.tfrecords", "part-r-00001", "_temporary/0/c.tfrecord", "D.TFRECORD"):
        write_records(tmp_path / name, examples(5, LENGTH, seed=0))
    (tmp_path / "e.tfrecord.gz").write_bytes(gzip.compress((tmp_path / "a.tfrecord").read_bytes()))
    (tmp_path / "_SUCCESS").touch()
    with caplog.at_level("INFO"):
        assert check(tmp_path).records == 5
    loud, quiet = caplog.records
    assert loud.levelname == "WARNING"
    assert "4 file(s) of TFRecords are NOT read" in loud.getMessage()
    assert quiet.levelname == "INFO"
    assert "_SUCCESS" in quiet.getMessage()
    (tmp_path / "a.tfrecord").unlink()
    with pytest.raises(DataError, match=r"holds no \*\.tfrecord file; there is .*D\.TFRECORD"):
        check(tmp_path)


def test_a_channel_of_empty_files(tmp_path: Path) -> None:
    (tmp_path / "a.tfrecord").touch()
    with pytest.raises(DataError, match="holds no record"):
        check(tmp_path)


def test_a_file_that_is_no_tfrecord(tmp_path: Path) -> None:
    (tmp_path / "a.tfrecord").write_bytes(gzip.compress(b"star_rating\treview_body\n" * 100))
    with pytest.raises(DataError, match="is not a TFRecord file"):
        check(tmp_path)


@pytest.mark.parametrize("whole", [0, 3])
@pytest.mark.parametrize("claimed", [2**20 + 1, 2**31, 2**62, 2**63, 2**64 - 1])
def test_a_record_that_claims_more_bytes_than_any_review_has(tmp_path: Path, whole: int, claimed: int) -> None:
    # TensorFlow allocates what the length says, and dies of it; here the length's checksum is right.
    write_records(tmp_path / "a.tfrecord", examples(whole, LENGTH, seed=0))
    header = struct.pack("<Q", claimed)
    with (tmp_path / "a.tfrecord").open("ab") as file:
        file.write(header + frame(header)[-4:] + b"x" * 100)
    with pytest.raises(DataError, match=rf"a\.tfrecord, record {whole}: it claims to be {claimed:,} bytes long"):
        check(tmp_path)


def test_a_compressed_file_is_named_as_such(tmp_path: Path) -> None:
    with tf.io.TFRecordWriter(str(tmp_path / "a.tfrecord"), "GZIP") as writer:
        writer.write(b"anything")
    with pytest.raises(DataError, match=r"is compressed with gzip\. Uncompress it"):
        check(tmp_path)


def test_a_file_that_changes_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.tfrecord"
    write_records(path, examples(10, LENGTH, seed=0))
    before = path.stat()
    with path.open("ab") as file:
        file.write(b"more")
    with pytest.raises(DataError, match=r"a\.tfrecord changes while it is read"):
        require_unchanged(path, before)


def test_frames_are_walked_over_the_edges_of_what_is_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tfrecord"
    write_records(path, examples(20, LENGTH, seed=0))
    expected = records.scan(path)
    assert (expected.records, expected.whole) == (20, True)
    for size in (1, 7, 12, 13, 100, 1000):
        monkeypatch.setattr(records, "_BYTES_A_READ", size)
        assert records.scan(path) == expected
        assert check(tmp_path).records == 20


@pytest.mark.parametrize("missing_bytes", [1, 4, 30])
def test_a_truncated_file(tmp_path: Path, missing_bytes: int) -> None:
    write_records(tmp_path / "a.tfrecord", examples(10, LENGTH, seed=0))
    whole = (tmp_path / "a.tfrecord").read_bytes()
    (tmp_path / "a.tfrecord").write_bytes(whole[:-missing_bytes])
    with pytest.raises(DataError, match=r"a\.tfrecord ends in the middle of a record"):
        check(tmp_path)


def test_a_flipped_bit(tmp_path: Path) -> None:
    write_records(tmp_path / "a.tfrecord", examples(10, LENGTH, seed=0))
    content = bytearray((tmp_path / "a.tfrecord").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "a.tfrecord").write_bytes(content)
    with pytest.raises(DataError, match="checksum is wrong"):
        check(tmp_path)


def test_one_class_alone_cannot_be_learned(tmp_path: Path) -> None:
    same = ({**features, "label_ids": [4]} for features in examples(10, LENGTH, seed=0))
    write_records(tmp_path / "a.tfrecord", same)
    with pytest.raises(DataError, match=r"All 10 records of channel 'train' have 5 star\(s\)"):
        require_several_classes(check(tmp_path))


@pytest.fixture(scope="module")
def made_by_prepare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    for name in ("a", "b"):
        write_tsv(folder / "reviews" / f"{name}.tsv", random_reviews(60, seed=ord(name)))
    weights = make_weights(folder / "weights")
    prepare(PrepareSettings((folder / "reviews",), folder / "channels", weights, max_seq_length=LENGTH))
    return folder / "channels" / "train"


def copied(made_by_prepare: Path, tmp_path: Path) -> tuple[Path, list[Path]]:
    folder = shutil.copytree(made_by_prepare, tmp_path / "train")
    return folder, sorted(folder.glob("*.tfrecord"))


def test_a_manifest_says_the_same_as_the_records(made_by_prepare: Path, tmp_path: Path) -> None:
    folder, _ = copied(made_by_prepare, tmp_path)
    by_manifest = check(folder, vocabulary_size=1000)
    next(folder.glob("manifest-*.json")).unlink()
    assert check(folder, vocabulary_size=1000) == by_manifest
    assert by_manifest.records > 100


def test_a_file_that_was_changed_after_prepare(made_by_prepare: Path, tmp_path: Path) -> None:
    folder, files = copied(made_by_prepare, tmp_path)
    files[0].write_bytes(files[0].read_bytes()[:-1])
    with pytest.raises(DataError, match="not the file that its manifest describes"):
        check(folder, vocabulary_size=1000)


def test_a_file_that_was_lost_after_prepare(made_by_prepare: Path, tmp_path: Path) -> None:
    folder, files = copied(made_by_prepare, tmp_path)
    files[0].unlink()
    with pytest.raises(DataError, match=rf"lacks 1 file\(s\) of its manifest, for example {files[0].name}"):
        check(folder, vocabulary_size=1000)


def test_files_beside_a_manifest_that_knows_nothing_of_them(made_by_prepare: Path, tmp_path: Path) -> None:
    folder, _ = copied(made_by_prepare, tmp_path)
    write_records(folder / "part-algo-1-old.tfrecord", examples(5, LENGTH, seed=0))
    with pytest.raises(DataError, match=r"1 of 3 record file\(s\) are in no manifest .*part-algo-1-old\.tfrecord"):
        check(folder, vocabulary_size=1000)
    next(folder.glob("manifest-*.json")).unlink()
    assert check(folder, vocabulary_size=1000).records > 100


def test_a_file_that_has_its_manifests_name_alone_in_another_folder(made_by_prepare: Path, tmp_path: Path) -> None:
    folder, files = copied(made_by_prepare, tmp_path)
    (folder / "nested").mkdir()
    files[0].rename(folder / "nested" / files[0].name)
    assert check(folder, vocabulary_size=1000).records > 100
    files[1].unlink()
    shutil.copy(folder / "nested" / files[0].name, files[1])
    with pytest.raises(DataError, match=rf"lacks 1 file\(s\) of its manifest, for example {files[1].name}"):
        check(folder, vocabulary_size=1000)


def test_a_manifest_that_counts_other_records_than_its_file_has(made_by_prepare: Path, tmp_path: Path) -> None:
    folder, _ = copied(made_by_prepare, tmp_path)
    manifest = next(folder.glob("manifest-*.json"))
    document = json.loads(manifest.read_text())
    for part, more in zip(document["files"], (1, -1), strict=True):
        part["records"] += more
    manifest.write_text(json.dumps(document))
    with pytest.raises(DataError, match=r"whole record\(s\), its manifest says"):
        check(folder, vocabulary_size=1000)


def test_a_file_that_is_there_twice_is_counted_twice(made_by_prepare: Path, tmp_path: Path) -> None:
    folder, files = copied(made_by_prepare, tmp_path)
    records = check(folder, vocabulary_size=1000).records
    shutil.copy(files[0], folder / "again.tfrecord")
    assert records < check(folder, vocabulary_size=1000).records < 2 * records


def test_records_are_counted_once_if_their_manifest_is_there_twice(
    made_by_prepare: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train, _ = copied(made_by_prepare, tmp_path)
    once = check(train, vocabulary_size=1000)
    (manifest,) = train.glob("manifest-*.json")
    shutil.copy(manifest, manifest.with_stem(f"{manifest.stem} (1)"))

    twice = check(train, vocabulary_size=1000)
    assert twice == once
    check_leakage({"train": twice}, Limits(LENGTH, 1000))
    assert "more than once" not in caplog.text


def test_another_length_than_prepares(made_by_prepare: Path) -> None:
    with pytest.raises(DataError, match="prepared with max_seq_length 16, the job says 64"):
        check(made_by_prepare, max_seq_length=64, vocabulary_size=1000)


def test_another_tokenizer_than_the_weights(made_by_prepare: Path) -> None:
    with pytest.raises(DataError, match=r"prepared with the tokenizer of .*its ids mean other words"):
        check(made_by_prepare, vocabulary_size=1000, tokenizer=KnownTokenizer("0" * 64))
