"""From review files to the records that training reads."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
from collections import Counter
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from star_rating.data.manifest import read_manifests
from star_rating.failures import DataError, UsageError, WeightsError
from star_rating.preparation import prepare as preparation
from star_rating.preparation import reviews
from star_rating.preparation.prepare import PrepareSettings, prepare
from star_rating.preparation.reporting import summary
from star_rating.preparation.reviews import Columns
from star_rating.preparation.sources import dealt_by_bytes
from star_rating.preparation.split import SPLITS
from star_rating.preparation.survey import Survey, survey
from tests.helpers.prepare_fixtures import (
    MAX_SEQ_LENGTH,
    decoded,
    make_weights,
    random_reviews,
    read_records,
    write_tsv,
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def settings(tmp_path: Path, weights: Path) -> PrepareSettings:
    write_tsv(tmp_path / "input" / "reviews.tsv", random_reviews(400))
    return PrepareSettings((tmp_path / "input",), tmp_path / "output", weights, max_seq_length=MAX_SEQ_LENGTH)


def records_of(output: Path, split: str) -> list[dict[str, Any]]:
    return read_records(sorted((output / split).glob("*.tfrecord")))


def texts_of(settings: PrepareSettings, split: str) -> list[str]:
    return decoded(records_of(settings.output, split), settings.weights)


def content(output: Path) -> dict[str, str]:
    files = (path for path in output.rglob("*") if path.is_file())
    return {str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_every_review_is_in_exactly_one_split_with_its_ids_and_label(settings: PrepareSettings) -> None:
    prepare(settings)

    tokenizer = Tokenizer.from_file(str(settings.weights / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_SEQ_LENGTH)
    expected = []
    for _, stars, text in random_reviews(400):
        ids = tokenizer.encode(text).ids
        missing = MAX_SEQ_LENGTH - len(ids)
        expected.append(
            {
                "input_ids": ids + [0] * missing,
                "input_mask": [1] * len(ids) + [0] * missing,
                "label_ids": stars - 1,
                "segment_ids": [0] * MAX_SEQ_LENGTH,
            }
        )
    written = [record for split in SPLITS for record in records_of(settings.output, split)]
    assert sorted(map(repr, written)) == sorted(map(repr, expected))
    assert [len(records_of(settings.output, split)) for split in SPLITS] == [360, 20, 20]


def test_the_manifest_says_what_is_there(settings: PrepareSettings) -> None:
    long_text = " ".join(["camera"] * MAX_SEQ_LENGTH)
    write_tsv(settings.inputs[0] / "long.tsv", [("L1", 5, long_text), ("L2", 5, ""), ("L3", 5, "camera " * 14)])

    returned = prepare(replace(settings, max_broken_share=0.5))

    assert returned == tuple(read_manifests(settings.output / split)[0] for split in SPLITS)
    for manifest in returned:
        labels = Counter(record["label_ids"] + 1 for record in records_of(settings.output, manifest.split))
        assert {int(stars): count for stars, count in manifest.label_histogram.items() if count} == labels
        for part in manifest.files:
            data = (settings.output / manifest.split / part.name).read_bytes()
            assert (part.bytes, part.sha256) == (len(data), hashlib.sha256(data).hexdigest())
            assert part.records == len(read_records([settings.output / manifest.split / part.name]))
    long, reviews = returned[0].sources
    assert (long.name, long.rows, long.kept, long.empty, long.broken) == ("long.tsv", 3, 2, 1, 0)
    assert (reviews.name, reviews.rows, reviews.kept) == ("reviews.tsv", 400, 400)
    # "camera" fourteen times, [CLS] and [SEP] are 16 tokens: full, and not cut.
    assert sum(manifest.truncated for manifest in returned) == 1
    digest = hashlib.sha256((settings.weights / "tokenizer.json").read_bytes()).hexdigest()
    assert (returned[0].tokenizer.name, returned[0].tokenizer.sha256) == ("tiny/uncased", digest)
    assert (returned[0].seed, returned[0].max_seq_length) == (42, MAX_SEQ_LENGTH)


def test_the_seed_decides_every_byte(settings: PrepareSettings, tmp_path: Path) -> None:
    outputs = [tmp_path / name for name in ("a", "b", "c")]
    for output, seed in zip(outputs, (7, 7, 8), strict=True):
        prepare(replace(settings, output=output, seed=seed))
    first, again, other = map(content, outputs)

    assert first == again
    assert first["test/part-algo-1-reviews.tfrecord"] != other["test/part-algo-1-reviews.tfrecord"]


def test_sentences_of_one_review_stay_together(settings: PrepareSettings) -> None:
    rows = random_reviews(300, sentences_a_review=5)
    write_tsv(settings.inputs[0] / "reviews.tsv", rows)
    prepare(settings)

    review_of = {text: review_id for review_id, _, text in rows}
    reviews = [{review_of[text] for text in texts_of(settings, split)} for split in SPLITS]
    assert sum(map(len, reviews)) == len(set.union(*reviews)) == 60


def test_copies_of_a_text_in_different_files_stay_together(settings: PrepareSettings) -> None:
    rows = random_reviews(200, seed=1)
    write_tsv(settings.inputs[0] / "reviews.tsv", rows)
    write_tsv(settings.inputs[0] / "more.tsv", [(f"other-{name}", stars, text) for name, stars, text in rows[::2]])
    prepare(settings)

    texts = [set(texts_of(settings, split)) for split in SPLITS]
    assert sum(map(len, texts)) == len(set.union(*texts)) == 200


def test_balanced_splits_have_as_many_of_each_class(settings: PrepareSettings) -> None:
    write_tsv(settings.inputs[0] / "reviews.tsv", random_reviews(1000))
    plain = prepare(settings)
    balanced = prepare(replace(settings, balance=True, overwrite=True))

    for before, after in zip(plain, balanced, strict=True):
        assert set(after.label_histogram.values()) == {min(before.label_histogram.values())}
        assert before.records - after.records == after.dropped_by_balancing > 0
        assert len(records_of(settings.output, after.split)) == after.records


def test_parts_are_named_for_host_and_source_and_never_alike(settings: PrepareSettings) -> None:
    rows = random_reviews(400, seed=3)
    (settings.inputs[0] / "reviews.tsv").unlink()
    for index, name in enumerate(("a/reviews.tsv", "b/reviews.tsv", "b/reviews.v1.tsv", "b/My reviews.tsv")):
        write_tsv(settings.inputs[0] / name, rows[index::4])

    manifests = prepare(replace(settings, host="algo-2", hosts=("algo-1", "algo-2")))

    assert [part.name for part in manifests[0].files] == [
        "part-algo-2-reviews.tfrecord",
        "part-algo-2-My-reviews.tfrecord",
        "part-algo-2-reviews-2.tfrecord",
        "part-algo-2-reviews.v1.tfrecord",
    ]
    assert sum(manifest.records for manifest in manifests) == 400


def test_hosts_that_see_all_files_write_each_review_once_and_agree_on_its_split(
    settings: PrepareSettings, tmp_path: Path
) -> None:
    rows = random_reviews(600, sentences_a_review=3)
    for index in range(3):  # one review's sentences are in three files, so on two hosts
        write_tsv(settings.inputs[0] / f"{index}.tsv", rows[index::3])
    (settings.inputs[0] / "reviews.tsv").unlink()
    hosts = ("algo-1", "algo-2")
    outputs = [tmp_path / host for host in hosts]
    for host, output in zip(hosts, outputs, strict=True):
        prepare(replace(settings, output=output, host=host, hosts=hosts, shard_by_host=True))

    review_of = {text: review_id for review_id, _, text in rows}
    texts = {split: [t for o in outputs for t in decoded(records_of(o, split), settings.weights)] for split in SPLITS}
    reviews = [{review_of[text] for text in texts[split]} for split in SPLITS]
    assert sorted(text for split in SPLITS for text in texts[split]) == sorted(review_of)
    assert sum(map(len, reviews)) == len(set.union(*reviews)) == 200
    sources = [[source.name for source in read_manifests(output / "train")[0].sources] for output in outputs]
    assert sorted(map(len, sources)) == [1, 2]
    assert sorted(chain(*sources)) == ["0.tsv", "1.tsv", "2.tsv"]


def test_any_number_of_hosts_that_see_all_files_writes_the_same_records(
    settings: PrepareSettings, tmp_path: Path
) -> None:
    rows = random_reviews(600)
    for name, part in {"a": rows[:50], "b": rows[50:100], "c": rows[100:]}.items():
        write_tsv(settings.inputs[0] / f"{name}.tsv", part)
    (settings.inputs[0] / "reviews.tsv").unlink()
    written = {}
    for number in (1, 2, 3):
        hosts = tuple(f"algo-{index + 1}" for index in range(number))
        output = tmp_path / str(number)
        for host in hosts:  # each has a folder of its own on the platform; here their files come together
            prepare(replace(settings, output=output / host, host=host, hosts=hosts, shard_by_host=True))
        files = output.glob("*/*/*.tfrecord")
        written[number] = sorted((path.parent.name, path.name, path.read_bytes()) for path in files)
    assert len(written[1]) >= len(SPLITS) * 2
    assert written[1] == written[2] == written[3]


def test_hosts_get_about_the_same_number_of_bytes() -> None:
    assert dealt_by_bytes([10, 900, 20, 30, 940, 25], 2) == [1, 1, 0, 1, 0, 1]  # 960 and 965
    assert dealt_by_bytes([5, 5, 5], 3) == [0, 1, 2]
    assert dealt_by_bytes([0, 0], 2) == [0, 1]


def test_a_host_without_files_writes_nothing(settings: PrepareSettings) -> None:
    hosts = ("algo-1", "algo-2")

    assert prepare(replace(settings, host="algo-2", hosts=hosts, shard_by_host=True)) == ()
    assert not settings.output.exists()


def test_empty_and_broken_rows_are_left_out_and_named_without_their_text(
    settings: PrepareSettings, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [*random_reviews(400), ("X1", 5, ""), ("X2", 9, "secret"), ("X3", "secret", "secret")]
    write_tsv(settings.inputs[0] / "reviews.tsv", rows)

    with caplog.at_level(logging.INFO):
        manifests = prepare(settings)

    assert sum(manifest.records for manifest in manifests) == 400
    assert manifests[0].sources[0].empty == 1
    assert manifests[0].sources[0].broken == 2
    assert "1 of 403 rows whose text or rating is empty: reviews.tsv line 402" in caplog.text
    assert "2 of 403 rows that are broken: reviews.tsv line 403: its rating is 9" in caplog.text
    assert "secret" not in caplog.text
    assert not any(text in caplog.text for _, _, text in random_reviews(400))
    assert "403 rows read from 1 file(s): 1 empty, 2 broken." in summary(manifests)


def json_lines(path: Path, documents: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(document) + "\n" for document in documents), encoding="utf-8")


def test_a_json_key_that_is_missing_is_null(settings: PrepareSettings, caplog: pytest.LogCaptureFixture) -> None:
    documents = [
        {"review_id": name, "star_rating": stars, "review_body": body} for name, stars, body in random_reviews(98)
    ]
    (settings.inputs[0] / "reviews.tsv").unlink()
    json_lines(settings.inputs[0] / "a.jsonl", [*documents, {"star_rating": 5}, {"review_body": "x"}])
    json_lines(settings.inputs[0] / "b.jsonl", [{"star_rating": 5}])

    a, b = prepare(settings)[0].sources

    assert (a.rows, a.empty, a.broken, b.rows, b.empty) == (100, 2, 0, 1, 1)
    assert "1 file(s) have no row with all keys, such as b.jsonl, which lacks review_body" in caplog.text


def test_a_json_key_that_no_row_has_is_an_error(settings: PrepareSettings) -> None:
    (settings.inputs[0] / "reviews.tsv").unlink()
    json_lines(settings.inputs[0] / "a.jsonl", [{"star_rating": 5, "review_text": "x"}])
    with pytest.raises(
        DataError, match=r"a\.jsonl has no column review_body \(did you mean review_text\?\).*body-column"
    ):
        prepare(settings)
    json_lines(settings.inputs[0] / "a.jsonl", [{"star_rating": 5, "review_body": "x"}])
    with pytest.raises(DataError, match=r"no column id; it has star_rating, review_body.*--review-id-column"):
        prepare(replace(settings, columns=Columns(review_id="id")))


@pytest.mark.parametrize("name", ["part-1.csv", "part-1.tsv", "part-1.jsonl", "part-1.parquet", "part-1.csv.gz"])
def test_a_file_without_a_row_is_left_out_with_a_word(
    settings: PrepareSettings, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    (settings.inputs[0] / name).write_bytes(b"")

    manifests = prepare(settings)

    assert sum(manifest.records for manifest in manifests) == 400
    assert f"Leaving out 1 file(s) without a row, such as {name}" in caplog.text


def test_every_row_and_every_line_is_accounted_for(settings: PrepareSettings, caplog: pytest.LogCaptureFixture) -> None:
    rows = [*random_reviews(300), ("E1", 5, "two\nlines"), ("E2", 4, ""), ("E3", "", "three\nmore\nlines")]
    file = io.StringIO()
    csv.writer(file).writerows([("review_id", "star_rating", "review_body"), *rows])
    content = file.getvalue().replace("\r\n", "\n") + '\nX1,5,"never closed\nX2,5,fine\n\nX3,9,x\n'
    (settings.inputs[0] / "other.csv").write_text(content, encoding="utf-8")

    with caplog.at_level(logging.INFO):
        manifests = prepare(settings)

    source = manifests[0].sources[0]
    assert (source.rows, source.kept, source.empty, source.broken) == (306, 302, 2, 2)
    assert (source.kept_lines, source.empty_lines, source.broken_lines, source.other_lines) == (303, 4, 2, 3)
    assert source.lines == content.count("\n")
    assert "713 lines read: 703 kept, 4 empty, 2 broken, 4 header or blank." in summary(manifests)
    assert "Reading 1 file(s), such as other.csv, as csv: fields between commas, fields are quoted" in caplog.text
    assert "Reading 1 file(s), such as reviews.tsv, as tsv: fields between tabs, quotes are characters" in caplog.text


def test_a_line_that_no_reader_accounts_for_is_an_error(
    settings: PrepareSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at = reviews.open_reviews

    def look_then_grow(path: Path, *arguments: Any) -> reviews.ReviewFile:
        file = looked_at(path, *arguments)
        with path.open("a", encoding="utf-8") as text:
            text.write("late\t5\tanother one\n")
        return file

    monkeypatch.setattr("star_rating.preparation.survey.open_reviews", look_then_grow)
    with pytest.raises(DataError, match=r"reviews\.tsv: 402 of its 401 lines are accounted for"):
        prepare(settings)


def test_too_many_broken_rows_end_it_before_anything_is_written(settings: PrepareSettings) -> None:
    rows = [*random_reviews(90), *[("X", 9, "x")] * 10]
    write_tsv(settings.inputs[0] / "reviews.tsv", rows)

    message = (
        r"10 of 100 rows are broken, more than --max-broken-share 0.09 allows: reviews.tsv line 92: .*; and 7 more"
    )
    with pytest.raises(DataError, match=message):
        prepare(replace(settings, max_broken_share=0.09))
    assert not settings.output.exists()
    assert prepare(replace(settings, max_broken_share=0.10))[0].sources[0].broken == 10


def test_a_broken_row_of_many_lines_is_many_lines_lost(settings: PrepareSettings) -> None:
    path = write_tsv(settings.inputs[0] / "reviews.tsv", random_reviews(200)).rename(settings.inputs[0] / "reviews.csv")
    whole = path.read_text().replace("\t", ",")
    path.write_text(whole + 'R1","5","outer quotes are missing\n' * 50)

    with pytest.raises(DataError, match=r"1 of 201 rows, 50 of 250 lines, are broken, .*csv line 202: .* \(50 lines\)"):
        prepare(settings)
    assert prepare(replace(settings, max_broken_share=0.2))[0].sources[0].broken_lines == 50


def test_an_output_with_records_is_refused_unless_told_otherwise(settings: PrepareSettings) -> None:
    prepare(settings)
    before = content(settings.output)

    with pytest.raises(UsageError, match=r"already holds 9 file\(s\) of an earlier run.*--overwrite"):
        prepare(replace(settings, seed=1))
    assert content(settings.output) == before


def test_overwriting_leaves_nothing_of_the_earlier_run(settings: PrepareSettings) -> None:
    prepare(replace(settings, host="algo-9", hosts=("algo-9",)))
    prepare(replace(settings, shares=(0.9, 0.1, 0.0), overwrite=True))

    assert set(content(settings.output)) == {
        f"{split}/{name}"
        for split in ("train", "validation")
        for name in ("manifest-algo-1.json", "part-algo-1-reviews.tfrecord", "texts-algo-1.u64")
    }


def test_a_failure_while_writing_leaves_the_earlier_run_as_it_was(
    settings: PrepareSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(settings)
    before = content(settings.output)
    reviews = settings.inputs[0] / "reviews.tsv"

    def survey_then_grow(*arguments: Any) -> Survey:
        surveyed = survey(*arguments)
        with reviews.open("a", encoding="utf-8") as file:
            file.write("late\t5\tanother one\n")
        return surveyed

    monkeypatch.setattr(preparation, "survey", survey_then_grow)
    with pytest.raises(DataError, match=r"reviews.tsv changed while it was being read"):
        prepare(replace(settings, overwrite=True))
    assert content(settings.output) == before
    assert not list(settings.output.rglob(".prepare-*"))


def test_what_a_killed_run_left_is_removed(settings: PrepareSettings) -> None:
    left = settings.output / "train" / ".prepare-algo-1"
    left.mkdir(parents=True)
    (left / "part-algo-1-reviews.tfrecord").write_bytes(b"half")

    prepare(settings)

    assert not left.exists()


def test_other_files_in_a_folder_are_passed_over(settings: PrepareSettings, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("README.md", "_SUCCESS", ".reviews.tsv.crc", ".hidden/reviews.tsv"):
        path = settings.inputs[0] / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("not reviews", encoding="utf-8")

    with caplog.at_level(logging.INFO):
        assert len(prepare(settings)[0].sources) == 1
    assert "Passing over 1 file(s) that are no reviews by name, such as README.md" in caplog.text


def test_a_file_is_read_once_however_often_it_is_named(settings: PrepareSettings) -> None:
    reviews = settings.inputs[0] / "reviews.tsv"

    assert prepare(replace(settings, inputs=(reviews, settings.inputs[0])))[0].sources[0].rows == 400


def test_unusable_inputs_and_weights_are_named(settings: PrepareSettings, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "reviews.txt").write_text("x", encoding="utf-8")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "tokenizer.json").write_text("{}", encoding="utf-8")
    for changes, error, message in (
        ({"inputs": (tmp_path / "none",)}, DataError, "none does not exist"),
        ({"inputs": (tmp_path / "empty",)}, DataError, r"empty holds no review file: none ends in \.tsv"),
        (
            {"inputs": (tmp_path / "reviews.txt",)},
            DataError,
            r"reviews.txt: its name does not tell.*--format tsv \| csv",
        ),
        ({"columns": Columns(star_rating="stars")}, DataError, "no column stars"),
        ({"weights": tmp_path / "empty"}, WeightsError, "tokenizer.json cannot be read: No such file"),
        ({"weights": tmp_path / "bad"}, WeightsError, "tokenizer.json is not a tokenizer"),
        ({"output": tmp_path / "reviews.txt"}, UsageError, "--output cannot be written"),
    ):
        with pytest.raises(error, match=message):
            prepare(replace(settings, **changes))


def test_a_format_given_by_hand_rules_over_the_name(settings: PrepareSettings, tmp_path: Path) -> None:
    renamed = (settings.inputs[0] / "reviews.tsv").rename(tmp_path / "reviews.csv")

    assert prepare(replace(settings, inputs=(renamed,), review_format="tsv"))[0].sources[0].kept == 400


def test_a_share_that_cannot_be_met_is_said(settings: PrepareSettings, caplog: pytest.LogCaptureFixture) -> None:
    rows = [("one", stars, text) for _, stars, text in random_reviews(60)]
    write_tsv(settings.inputs[0] / "reviews.tsv", [*rows, ("two", 1, "x y"), ("three", 2, "y z")])

    prepare(settings)

    assert "train gets 96.8 % of the reviews instead of 90.0 %" in caplog.text
