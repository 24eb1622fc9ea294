"""Splits that the user brings: what goes where, what leaks, and what is refused."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from prepare import main
from star_rating.data.channel import open_channel
from star_rating.data.leakage import check_leakage
from star_rating.data.manifest import GIVEN, read_manifests
from star_rating.data.records import Limits
from star_rating.failures import DataError
from star_rating.preparation.prepare import PrepareSettings, prepare
from star_rating.preparation.reporting import summary
from star_rating.preparation.split import SPLITS
from tests.helpers.prepare_fixtures import (
    MAX_SEQ_LENGTH,
    decoded,
    make_weights,
    random_reviews,
    read_records,
    write_tsv,
)

TRAIN, VALIDATION, TEST = (random_reviews(count, seed=count) for count in (120, 30, 40))
ROWS = dict(zip(SPLITS, (TRAIN, VALIDATION, TEST), strict=True))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def settings(tmp_path: Path, weights: Path) -> PrepareSettings:
    """Return a run over three splits whose files have one name; no text and no id is in two of them."""
    for split, rows in ROWS.items():
        write_tsv(tmp_path / split / "reviews.tsv", [(f"{split}-{key}", *row) for key, *row in rows])
    given = tuple((tmp_path / split,) for split in SPLITS)
    return PrepareSettings((), tmp_path / "out", weights, given=given, max_seq_length=MAX_SEQ_LENGTH)


def texts_of(settings: PrepareSettings, split: str) -> list[str]:
    return decoded(read_records(sorted((settings.output / split).glob("*.tfrecord"))), settings.weights)


def leak(settings: PrepareSettings, split: str, rows: list[tuple[str, int, str]]) -> None:
    """Add rows to a split's folder, as a file of its own."""
    write_tsv(settings.given[SPLITS.index(split)][0] / "more.tsv", rows)


def test_each_split_has_its_own_reviews_and_nothing_else(
    settings: PrepareSettings, caplog: pytest.LogCaptureFixture
) -> None:
    manifests = prepare(settings)

    assert [(manifest.split, manifest.records) for manifest in manifests] == [
        ("train", 120), ("validation", 30), ("test", 40),
    ]  # fmt: skip
    for split, rows in ROWS.items():
        assert sorted(texts_of(settings, split)) == sorted(text.lower() for *_, text in rows)
    assert [source.name for source in manifests[0].sources] == [f"{split}/reviews.tsv" for split in SPLITS]
    assert {manifest.settings["split"] for manifest in read_manifests(settings.output / "test")} == {GIVEN}
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("named", ["train", "validation", "test", "train test", "validation test"])
def test_any_of_the_three_can_be_given(tmp_path: Path, settings: PrepareSettings, named: str) -> None:
    arguments = [part for split in named.split() for part in (f"--{split}", str(tmp_path / split / "reviews.tsv"))]
    options = ["--output", str(settings.output), "--weights", str(settings.weights), "--max-seq-length", "16"]

    assert main([*arguments, *options]) == 0

    assert sorted(path.name for path in settings.output.iterdir()) == sorted(named.split())
    for split in named.split():
        assert read_manifests(settings.output / split)[0].records == len(ROWS[split])


def test_planted_leaks_are_counted_and_named_and_dropped_from_train_if_asked(
    settings: PrepareSettings, caplog: pytest.LogCaptureFixture
) -> None:
    by_text = [("new-1", 1, TEST[3][2]), ("new-2", 5, TEST[4][2])]
    by_id = [(f"test-{TEST[5][0]}", 2, "great book")]
    leak(settings, "train", [*by_text, *by_id, ("new-3", 3, VALIDATION[0][2])])

    kept = prepare(settings)

    assert [manifest.dropped_as_leaks for manifest in kept] == [0, 0, 0]
    assert kept[0].records == 124
    lines = [record.getMessage() for record in caplog.records if "too (" in record.getMessage()]
    assert len(lines) == 2
    assert lines[0].startswith("1 of 124 reviews of train are in validation, too (1 with the same text, 0 ")
    assert lines[1].startswith("3 of 124 reviews of train are in test, too (2 with the same text, 1 ")
    assert "train/more.tsv line 2; train/more.tsv line 3; train/more.tsv line 4" in lines[1]
    assert not any(text in caplog.text for *_, text in (*by_text, *by_id))

    dropped = prepare(replace(settings, drop_leaks=True, overwrite=True))

    assert [manifest.dropped_as_leaks for manifest in dropped] == [4, 0, 0]
    assert [manifest.records for manifest in dropped] == [120, 30, 40]
    assert not set(texts_of(settings, "train")) & set(texts_of(settings, "test"))
    assert "4 left out of train as another split has them, too." in summary(dropped)


def test_what_validation_and_test_share_is_said_and_stays(
    settings: PrepareSettings, caplog: pytest.LogCaptureFixture
) -> None:
    leak(settings, "validation", [("new", 1, TEST[0][2])])

    manifests = prepare(replace(settings, drop_leaks=True))

    assert "1 of 31 reviews of validation are in test, too" in caplog.text
    assert [(manifest.records, manifest.dropped_as_leaks) for manifest in manifests] == [(120, 0), (31, 0), (40, 0)]


def test_balancing_goes_on_with_what_is_no_leak(settings: PrepareSettings) -> None:
    leak(settings, "train", [(f"new-{at}", stars, text) for at, (_, stars, text) in enumerate(TEST)])

    train = prepare(replace(settings, drop_leaks=True, balance=True))[0]

    assert train.dropped_as_leaks == len(TEST)
    assert set(train.label_histogram.values()) == {min(train.label_histogram.values())}
    assert train.records + train.dropped_by_balancing == len(TRAIN)


def test_hosts_that_see_all_files_drop_the_same_leaks(settings: PrepareSettings, tmp_path: Path) -> None:
    leak(settings, "train", [("new", 1, TEST[0][2])])
    alone = prepare(replace(settings, drop_leaks=True))
    hosts = ("algo-1", "algo-2")
    shared = replace(settings, drop_leaks=True, output=tmp_path / "shared", hosts=hosts, shard_by_host=True)

    of_hosts = [
        prepare(replace(shared, host=host, overwrite=False, output=tmp_path / "shared" / host)) for host in hosts
    ]

    for split, manifest in enumerate(alone):
        assert sum(manifests[split].records for manifests in of_hosts) == manifest.records
    assert sum(manifests[0].dropped_as_leaks for manifests in of_hosts) == 1


def test_training_takes_given_splits_of_one_run_or_of_several(settings: PrepareSettings, tmp_path: Path) -> None:
    prepare(settings)
    test = replace(settings, given=((), (), settings.given[2]), output=tmp_path / "test-only")
    prepare(test)
    limits = Limits(MAX_SEQ_LENGTH, 1000)
    for folder in (settings.output, test.output):
        channels = {
            name: open_channel(name, path, max_seq_length=MAX_SEQ_LENGTH, vocabulary_size=1000)
            for name, path in (("train", settings.output / "train"), ("test", folder / "test"))
        }
        check_leakage(channels, limits)


def test_a_split_that_is_a_copy_of_train_is_refused_by_training(settings: PrepareSettings) -> None:
    leak(settings, "train", [(f"new-{at}", stars, text) for at, (_, stars, text) in enumerate(TEST[::-1])])
    prepare(settings)
    channels = {
        name: open_channel(name, settings.output / name, max_seq_length=MAX_SEQ_LENGTH, vocabulary_size=1000)
        for name in ("train", "test")
    }
    with pytest.raises(DataError, match=r"40 of 40 different texts .*--drop-leaks"):
        check_leakage(channels, Limits(MAX_SEQ_LENGTH, 1000))


def test_what_cannot_be_trained_or_tested_is_refused(settings: PrepareSettings, tmp_path: Path) -> None:
    one_class = write_tsv(tmp_path / "one" / "class.tsv", [("a", 5, "great"), ("b", 5, "good")])
    empty = write_tsv(tmp_path / "none" / "empty.tsv", [])
    copy = settings.given[2]
    for given, drop, message in (
        (((one_class,), (), ()), False, "--train have 5 star"),
        ((settings.given[0], (), (empty,)), False, "--test holds no usable review"),
        ((copy, (), copy), True, "leaves nothing to train on"),
    ):
        with pytest.raises(DataError, match=message):
            prepare(replace(settings, given=given, drop_leaks=drop))
    assert prepare(replace(settings, given=((), (), (one_class,))))[0].records == 2


@pytest.mark.parametrize(
    "options",
    [
        ["--train", "a", "--input", "b"],
        ["--test", "a", "--split", "80,10,10"],
        ["--input", "a", "--drop-leaks"],
        ["--train", "a", "--drop-leaks"],
        ["--validation", "a", "--test", "b", "--drop-leaks"],
    ],
)
def test_options_that_contradict_each_other_are_a_usage_error(options: list[str]) -> None:
    assert main([*options, "--output", "o", "--weights", "w"]) == 2


def test_one_channel_of_a_split_can_be_all(settings: PrepareSettings, tmp_path: Path) -> None:
    options = ["--output", str(tmp_path / "all"), "--weights", str(settings.weights), "--split", "0,0,100"]

    assert main(["--input", str(tmp_path / "test"), *options]) == 0

    assert [path.name for path in (tmp_path / "all").iterdir()] == ["test"]
    assert read_manifests(tmp_path / "all" / "test")[0].records == len(TEST)


def test_a_host_without_a_file_of_a_split_writes_the_others(settings: PrepareSettings, tmp_path: Path) -> None:
    given = (settings.given[0], (tmp_path / "dealt-to-another-host",), ())

    manifests = prepare(replace(settings, given=given, hosts=("algo-1", "algo-2")))

    assert [(manifest.split, manifest.records) for manifest in manifests] == [("train", 120), ("validation", 0)]
    with pytest.raises(DataError, match="does not exist"):
        prepare(replace(settings, given=given, overwrite=True))
