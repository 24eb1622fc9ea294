"""A job's channels against each other and against their manifests: what is surely wrong, and what may be meant."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from star_rating.contract import Contract
from star_rating.data.channel import Channel, open_channel
from star_rating.data.fingerprint import SUFFIX
from star_rating.data.leakage import check_leakage
from star_rating.data.records import Limits, fingerprint_of, record_hashes
from star_rating.failures import DataError
from star_rating.preparation.prepare import PrepareSettings, prepare
from tests.helpers.prepare_fixtures import make_weights, random_reviews, write_tsv
from tests.helpers.training_job import examples, write_records

LENGTH = 16
LIMITS = Limits(LENGTH, 1000)
CHANNELS = ("train", "validation", "test")


class Runs:
    """Runs of prepare, each made once, below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.weights = make_weights(folder / "weights")
        for name, seed in (("reviews", 0), ("others", 1)):
            write_tsv(folder / name / f"{name}.tsv", random_reviews(200, seed=seed))

    def __call__(self, seed: int = 1, source: str = "reviews", host: str = "algo-1") -> Path:
        """Return the folder of the run's channels."""
        output = self.folder / f"{seed}-{source}-{host}"
        if not output.exists():
            inputs = (self.folder / source,)
            hosts = ("algo-1", "algo-2") if host != "algo-1" else ("algo-1",)
            prepare(
                PrepareSettings(inputs, output, self.weights, max_seq_length=LENGTH, seed=seed, host=host, hosts=hosts)
            )
        return output


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("runs"))


def opened(**folders: Path) -> dict[str, Channel]:
    return {
        name: open_channel(name, folder, max_seq_length=LENGTH, vocabulary_size=1000)
        for name, folder in folders.items()
    }


def check(**folders: Path) -> None:
    check_leakage(opened(**folders), LIMITS)


def of_run(run: Path) -> dict[str, Path]:
    return {name: run / name for name in CHANNELS}


def without(folder: Path, pattern: str, into: Path) -> Path:
    shutil.copytree(folder, into)
    for path in into.rglob(pattern):
        path.unlink()
    return into


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_channels_of_one_run_are_quiet(runs: Runs, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        check(**of_run(runs()))
    assert not warnings(caplog)
    assert any("none of" in line and "texts of test is in train" in line for line in caplog.messages)


def test_one_prefix_for_all_channels(runs: Runs) -> None:
    with pytest.raises(DataError, match=r"3 of 3 record file\(s\) of channel 'validation' are in channel 'train', too"):
        check(**dict.fromkeys(CHANNELS, runs()))


def test_a_train_channel_that_also_holds_the_test_channel(runs: Runs, tmp_path: Path) -> None:
    shutil.copytree(runs() / "train", tmp_path / "all" / "train")
    shutil.copytree(runs() / "test", tmp_path / "all" / "test")
    with pytest.raises(DataError, match=r"1 of 1 record file\(s\) of channel 'test'.*set run_test=False"):
        check(train=tmp_path / "all", test=runs() / "test")


def test_one_folder_for_validation_and_test_may_be_meant(runs: Runs, caplog: pytest.LogCaptureFixture) -> None:
    check(train=runs() / "train", validation=runs() / "test", test=runs() / "test")
    said = " ".join(warnings(caplog))
    assert "of channel 'test' are in channel 'validation', too" in said
    assert "channel validation holds what prepare wrote as 'test'" in said


@pytest.mark.parametrize("left_out", [None, f"*{SUFFIX}"])
def test_train_and_test_of_two_runs_over_one_source(runs: Runs, tmp_path: Path, left_out: str | None) -> None:
    test = runs(2) / "test" if left_out is None else without(runs(2) / "test", left_out, tmp_path / "test")
    with pytest.raises(DataError, match=r"of two runs of `prepare` \(seed 1 and 2\)"):
        check(train=runs(1) / "train", test=test)


def test_train_and_test_of_two_sources_are_two_runs_that_may_be_meant(
    runs: Runs, caplog: pytest.LogCaptureFixture
) -> None:
    check(train=runs(1) / "train", test=runs(2, "others") / "test")
    assert not warnings(caplog)


def test_two_runs_over_one_source_in_one_channel(runs: Runs, tmp_path: Path) -> None:
    for seed in (1, 2):
        shutil.copytree(runs(seed) / "train", tmp_path / "train" / str(seed))
    with pytest.raises(DataError, match=r"two runs of `prepare` over 'reviews\.tsv' \(seed 1 and 2\)"):
        check(train=tmp_path / "train")


def test_a_run_of_two_hosts_beside_a_run_of_one(runs: Runs, tmp_path: Path) -> None:
    for host in ("algo-1", "algo-2"):
        shutil.copytree(runs(1, host=host) / "train", tmp_path / "train", dirs_exist_ok=True)
    with pytest.raises(DataError, match=r"two runs of `prepare` over .* \(number of hosts 1 and 2\)"):
        check(train=tmp_path / "train")


def test_two_runs_over_two_sources_in_one_channel_may_be_meant(
    runs: Runs, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for seed, source in ((1, "reviews"), (2, "others")):
        shutil.copytree(runs(seed, source) / "train", tmp_path / "train" / source)
    check(train=tmp_path / "train")
    (warning,) = warnings(caplog)
    assert "two runs of prepare (seed 2 and 1), over other sources" in warning


def test_an_input_that_both_hosts_have_read_whole(runs: Runs, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copytree(runs(1, host="algo-2") / "train", tmp_path / "train")
    manifest = next((tmp_path / "train").glob("manifest-*.json"))
    document = json.loads(manifest.read_text())
    manifest.with_name("manifest-algo-1.json").write_text(json.dumps(document | {"host": "algo-1"}))
    check(train=tmp_path / "train")
    assert "--shard-by-host" in " ".join(warnings(caplog))


def test_records_made_elsewhere_are_compared_by_their_tokens(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    records = list(examples(60, LENGTH, seed=0))
    for name, chosen in {"train": records[:50], "test": records[45:], "other": records[50:], "in": records[:9]}.items():
        write_records(tmp_path / name / f"{name}.tfrecord", iter(chosen))
    check(train=tmp_path / "train", test=tmp_path / "other")
    assert not warnings(caplog)
    check(train=tmp_path / "train", test=tmp_path / "test")
    assert "5 of 15 different records of channel 'test' are in channel 'train', too" in " ".join(warnings(caplog))
    with pytest.raises(DataError, match=r"9 of 9 different records .*result would be that of training data"):
        check(train=tmp_path / "train", test=tmp_path / "in")


def test_records_made_elsewhere_are_compared_with_those_of_a_manifest(runs: Runs, tmp_path: Path) -> None:
    test = without(runs() / "train", "*.json", tmp_path / "test")
    with pytest.raises(DataError, match=r"record file\(s\) of channel 'test' are in channel 'train'"):
        check(train=runs() / "train", test=test)
    (path,) = test.glob("*.tfrecord")
    path.write_bytes(path.read_bytes() + (runs() / "test" / path.name).read_bytes())
    with pytest.raises(DataError, match=r"different records of channel 'test' are in channel 'train', too"):
        check(train=runs() / "train", test=test)


def test_padding_and_its_ids_make_no_difference_to_a_records_hash() -> None:
    ids = np.array([[2, 5, 3, 0], [2, 5, 3, 7], [2, 5, 4, 0], [5, 2, 3, 0], [2, 5, 3, 0]])
    mask = np.array([[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 1]])
    hashes = record_hashes(ids, mask)
    assert hashes[0] == hashes[1]
    assert len(set(hashes.tolist())) == 4


def test_hashes_of_many_records_do_not_meet_and_samples_are_shared() -> None:
    random = np.random.default_rng(0)
    ids = random.integers(0, 30_000, (200_000, 8))
    hashes = record_hashes(ids, np.ones_like(ids))
    assert len(np.unique(hashes)) == len(np.unique(ids, axis=0))
    whole = fingerprint_of(np.array_split(hashes, 7))
    sampled = fingerprint_of(np.array_split(hashes[:150_000], 7), most=5000)
    assert whole.sampled_bits == 0
    assert 2000 < len(sampled.hashes) <= 5000
    assert whole.shared_with(sampled) == len(sampled.hashes)


def contract(root: Path, channels: tuple[str, ...], config: object | None = None) -> Contract:
    for name in channels:
        (root / "input" / "data" / name).mkdir(parents=True)
    (root / "input" / "config").mkdir(parents=True)
    if config is not None:
        (root / "input" / "config" / "inputdataconfig.json").write_text(json.dumps(config))
    return Contract.from_environment({"SAGEMAKER_BASE_DIR": str(root)})


@pytest.mark.parametrize("name", ["Train", "TEST", "Model"])
def test_a_channel_that_differs_in_case_alone(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=rf"a channel '{name}'.*Call it '{name.lower()}'"):
        contract(tmp_path, ("train", name)).require_readable_channels(["train"])


def test_a_channel_that_is_not_read_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    contract(tmp_path, ("train", "valid")).require_readable_channels(["train"])
    assert "channel 'valid' is not read" in caplog.text
    assert "should it be called validation?" in caplog.text


PIPES: list[Callable[[Path], object]] = [
    lambda root: contract(root, (), {"train": {"TrainingInputMode": "Pipe"}}),
    lambda root: contract(root, ("train",), {"train": {"TrainingInputMode": "pipe"}}),
    lambda root: contract(root, ("train",), {"train": {}, "model": {"TrainingInputMode": "Pipe"}}),
]


@pytest.mark.parametrize("job", range(len(PIPES)))
def test_pipe_mode_is_named(tmp_path: Path, job: int) -> None:
    PIPES[job](tmp_path)
    with pytest.raises(DataError, match=r"is in Pipe mode.*TrainingInputMode to File or FastFile"):
        Contract.from_environment({"SAGEMAKER_BASE_DIR": str(tmp_path)}).require_readable_channels(["train"])


def test_a_pipe_without_a_config_file_is_known_by_its_fifo(tmp_path: Path) -> None:
    job = contract(tmp_path, ("validation",))
    os.mkfifo(tmp_path / "input" / "data" / "train_0")
    job.require_readable_channels(["validation"])
    with pytest.raises(DataError, match="Channel 'train' is in Pipe mode"):
        job.require_readable_channels(["train"])
