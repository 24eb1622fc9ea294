"""The hosts' parts of a batch: together they are the batch, each record once a pass; and a run can go on anywhere."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from star_rating.data import pipeline
from star_rating.data.channel import Channel, open_channel
from star_rating.distributed import batches as parts
from star_rating.distributed.channels import DistributedChannel, distribute_channel
from star_rating.distributed.cluster import Cluster
from star_rating.failures import DataError
from star_rating.model.xla import pad_to_buckets
from star_rating.preparation.prepare import PrepareSettings, prepare
from tests.helpers.prepare_fixtures import make_weights, random_reviews, write_tsv
from tests.helpers.training_job import LENGTH, examples, write_records

pytestmark = pytest.mark.slow

SHARDS = (5, 15, 45)
"""1 : 3 : 9."""
WITH_A_SINGLE_RECORD = (1, 0, 64)


class Told(Cluster):
    """A cluster whose other hosts have already said what they have to say."""

    def __init__(self, rank: int, descriptions: list[Any]) -> None:
        hosts = tuple(f"algo-{number + 1}" for number in range(len(descriptions)))
        super().__init__(hosts, hosts[rank])
        self.descriptions = descriptions

    def all_gather(self, value: Any) -> list[Any]:
        del value
        return self.descriptions


class Listening(Cluster):
    """Keeps what a host says."""

    def all_gather(self, value: Any) -> list[Any]:
        self.said = value
        return [value]


def shared_channels(folder: Path, contents: list[dict[str, list[dict[str, list[int]]]]]) -> list[DistributedChannel]:
    """Write each host's files (name -> records) and open them as the hosts do."""
    opened = []
    for rank, files in enumerate(contents):
        own = folder / str(rank)
        own.mkdir()
        for name, records in files.items():
            write_records(own / name, iter(records))
        channel = open_channel("train", own, max_seq_length=LENGTH, vocabulary_size=1000, shared=True)
        listening = Listening(("a",), "a")
        with contextlib.suppress(DataError):  # where nothing is here
            distribute_channel(listening, channel, own)
        opened.append((channel, own, listening.said))
    descriptions = [said for *_, said in opened]
    return [distribute_channel(Told(rank, descriptions), channel, own) for rank, (channel, own, _) in enumerate(opened)]


def numbered(count: int, first: int = 0) -> list[dict[str, list[int]]]:
    """Records that tell who they are by their second id."""
    return [
        record | {"input_ids": [2, 100 + first + index, 3, *[0] * (LENGTH - 3)]}
        for index, record in enumerate(examples(count, LENGTH, seed=0))
    ]


def sharded(folder: Path, shards: tuple[int, ...]) -> list[DistributedChannel]:
    firsts = np.cumsum([0, *shards]).tolist()
    return shared_channels(
        folder, [{f"part-{rank}.tfrecord": numbered(count, firsts[rank])} for rank, count in enumerate(shards)]
    )


def replicated(folder: Path, hosts: int) -> list[DistributedChannel]:
    return shared_channels(folder, [{"part-0.tfrecord": numbered(40), "part-1.tfrecord": numbered(25, 40)}] * hosts)


def records_in(part: Any) -> list[int]:
    features, _, weights = part
    return [int(ids[1]) - 100 for ids, weight in zip(features["input_ids"], weights, strict=True) if weight > 0]


def steps(channel: DistributedChannel, count: int, first_batch: int = 0, batch_size: int = 13) -> list[Any]:
    batches = parts.training_batches(channel, batch_size, LENGTH, seed=5, first_batch=first_batch)
    return list(islice(batches.as_numpy_iterator(), count))


def test_of_uneven_shards_each_record_is_seen_once_a_pass(tmp_path: Path) -> None:
    hosts = [steps(channel, 10) for channel in sharded(tmp_path, SHARDS)]
    for one_pass in (slice(0, 5), slice(5, 10)):
        seen = Counter(record for own in hosts for part in own[one_pass] for record in records_in(part))
        assert seen == Counter(range(65))
    orders = [[records_in(part) for part in hosts[2][one_pass]] for one_pass in (slice(0, 5), slice(5, 10))]
    assert orders[0] != orders[1]


def test_a_host_with_a_single_record_works_on_padding_but_for_one_step(tmp_path: Path) -> None:
    hosts = [steps(channel, 5, batch_size=16) for channel in sharded(tmp_path, WITH_A_SINGLE_RECORD)]
    seen = Counter(record for own in hosts for part in own for record in records_in(part))
    assert seen == Counter(range(65))
    assert [sum(len(records_in(part)) for part in own) for own in hosts] == list(WITH_A_SINGLE_RECORD)
    for same_step in zip(*hosts, strict=True):
        assert sum(float(part[2].sum()) for part in same_step) == pytest.approx(1.0)
        assert all(len(part[1]) >= 1 for part in same_step)


def test_replicated_parts_make_up_the_batches_of_one_host(tmp_path: Path) -> None:
    channels = replicated(tmp_path, 3)
    assert channels[0].shards is None
    alone = pipeline.training_batches(channels[0], 13, LENGTH, seed=5)
    whole = [(features["input_ids"][:, 1] - 100).tolist() for features, _ in islice(alone.as_numpy_iterator(), 8)]
    hosts = [steps(channel, 8) for channel in channels]
    together = [[record for part in step for record in records_in(part)] for step in zip(*hosts, strict=True)]
    assert together == whole


def test_a_resumed_run_gets_the_batches_that_it_would_have_got(tmp_path: Path) -> None:
    first = 7  # within the second pass
    for channel in (sharded(tmp_path, SHARDS)[1], replicated_elsewhere(tmp_path)):
        uninterrupted = [records_in(part) for part in steps(channel, 9)]
        assert [records_in(part) for part in steps(channel, 9 - first, first_batch=first)] == uninterrupted[first:]


def replicated_elsewhere(folder: Path) -> DistributedChannel:
    (folder / "replicated").mkdir()
    return replicated(folder / "replicated", 2)[1]


def test_the_records_of_a_batch_can_be_named(tmp_path: Path) -> None:
    batch = 6
    for channel, first in ((sharded(tmp_path, SHARDS)[2], 20), (replicated_elsewhere(tmp_path), 0)):
        places = parts.records_of_batch(channel, 13, seed=5, batch=batch)
        offsets = {path: first + 40 * index for index, path in enumerate(channel.files)}
        assert [offsets[path] + record for path, record in places] == records_in(steps(channel, 1, batch)[0])


def test_rows_are_filled_up_with_padding_of_weight_zero(tmp_path: Path) -> None:
    channel = sharded(tmp_path, SHARDS)[1]
    rows = parts.local_batch_size(channel, 13)
    batches = pad_to_buckets(parts.training_batches(channel, 13, LENGTH, seed=5), rows)
    for features, labels, weights in islice(batches.as_numpy_iterator(), 5):
        assert len(features["input_ids"]) == len(labels) == len(weights) == rows
        assert not features["input_mask"][weights == 0].any()


@pytest.mark.parametrize("limit", [0, 4])
def test_an_evaluation_is_the_parts_of_all_hosts_in_order(tmp_path: Path, limit: int) -> None:
    for channels in (sharded(tmp_path, SHARDS), replicated_channels(tmp_path)):
        seen = [
            int(ids[1]) - 100
            for channel in channels
            for features, _ in parts.evaluation_batches(channel, 10, LENGTH, steps=limit).as_numpy_iterator()
            for ids in features["input_ids"]
        ]
        assert seen == list(range(limit * 10 or 65))


def replicated_channels(folder: Path) -> list[DistributedChannel]:
    (folder / "replicated").mkdir()
    return replicated(folder / "replicated", 3)


def test_no_iterator_has_a_thread_that_its_end_waits_for(tmp_path: Path) -> None:
    channel, _ = replicated(tmp_path, 2)
    training = parts.training_batches(channel, 13, LENGTH, seed=3)
    for batches in (training, parts.evaluation_batches(channel, 13, LENGTH)):
        assert batches.options().autotune.enabled is False


def test_the_channel_over_all_hosts_is_the_channel_that_one_host_would_have(tmp_path: Path) -> None:
    channels = sharded(tmp_path, SHARDS)
    together = tmp_path / "together"
    together.mkdir()
    for rank in range(3):
        (together / f"part-{rank}.tfrecord").hardlink_to(tmp_path / str(rank) / f"part-{rank}.tfrecord")
    alone = open_channel("train", together, max_seq_length=LENGTH, vocabulary_size=1000)
    for channel in channels:
        assert dataclasses.replace(alone, files=(), digests=()) == Channel(
            channel.name, (), channel.records, channel.label_histogram, channel.sha256
        )
        assert channel.shards == SHARDS


def test_files_on_two_hosts_that_do_not_have_the_same_are_refused(tmp_path: Path) -> None:
    contents = [{"a.tfrecord": numbered(3), "b.tfrecord": numbered(4)}, {"b.tfrecord": numbered(4)}]
    with pytest.raises(DataError, match=r"algo-1 and algo-2 both have b\.tfrecord, but not the same files in all"):
        shared_channels(tmp_path, contents)


def test_a_channel_that_no_host_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="The job has no channel 'train'"):
        shared_channels(tmp_path, [{}, {}])


def prepared_shards(folder: Path, *, more: bool = False) -> list[DistributedChannel]:
    """Prepare two files, and deal what is in the channel out to two hosts, as ShardedByS3Key may."""
    for name in "ab":
        write_tsv(folder / "reviews" / f"{name}.tsv", random_reviews(60, seed=ord(name)))
    prepare(
        PrepareSettings((folder / "reviews",), folder / "all", make_weights(folder / "weights"), max_seq_length=LENGTH)
    )
    if more:
        write_records(folder / "all" / "train" / "part-old.tfrecord", examples(5, LENGTH, seed=9))
    told = []
    for rank in range(2):
        own = folder / str(rank)
        own.mkdir()
        for path in sorted((folder / "all" / "train").iterdir())[rank::2]:
            shutil.copy(path, own)
        channel = open_channel("train", own, max_seq_length=LENGTH, vocabulary_size=1000, shared=True)
        listening = Listening(("a",), "a")
        with contextlib.suppress(DataError):  # where the manifest lists what is on the other host
            distribute_channel(listening, channel, own)
        told.append((channel, own, listening.said))
    descriptions = [said for *_, said in told]
    return [distribute_channel(Told(rank, descriptions), channel, own) for rank, (channel, own, _) in enumerate(told)]


def test_a_manifest_on_one_host_speaks_of_the_files_on_all(tmp_path: Path) -> None:
    channels = prepared_shards(tmp_path)
    assert [len(channel.manifests) for channel in channels] == [1, 1]
    assert len(set(channels[0].all_digests())) == 2
    assert channels[0].all_digests() == channels[1].all_digests()
    assert channels[0].records == channels[1].records > 100


def test_a_file_in_no_manifest_of_any_host_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"1 of 3 record file\(s\) are in no manifest .*part-old\.tfrecord"):
        prepared_shards(tmp_path, more=True)
