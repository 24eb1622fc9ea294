"""A channel over all hosts: what each holds of it, found out from the files themselves.

    channel = distribute_channel(cluster, open_channel("train", folder, shared=True, ...), folder)
    channel.records          # of all hosts
    channel.shards           # (120, 97) where each host has some of the files, None where each has all of them

Whether a channel is FullyReplicated or ShardedByS3Key is what the hosts' files say, which is also true where nothing
wrote an inputdataconfig.json.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from star_rating.data.channel import Channel, combined_digest, files_missing, no_channel, require_listed
from star_rating.data.manifest import Manifest
from star_rating.distributed.cluster import Cluster
from star_rating.failures import DataError

log = logging.getLogger(__name__)

UNEVEN = 1.5
"""Times the mean, from which the largest shard is worth a warning."""


@dataclass(frozen=True)
class DistributedChannel(Channel):
    """A checked channel of several hosts: records, labels and hash are those of all, files those of this one."""

    local_records: int = 0
    """Records in this host's files."""
    shards: tuple[int, ...] | None = None
    """Records of each host, by rank; None where each has all."""
    rank: int = 0
    size: int = 1
    of_all: tuple[str, ...] = ()
    """The hashes of all hosts' files."""

    def all_digests(self) -> tuple[str, ...]:
        """Return the hashes of all hosts' files."""
        return self.of_all

    def local_shard(self) -> Channel:
        """Return what this host has, as a channel of its own."""
        return Channel(self.name, self.files, self.local_records, self.label_histogram, self.sha256)


def distribute_channel(cluster: Cluster, channel: Channel, folder: Path | None) -> DistributedChannel:
    """Return the channel over all hosts; raises DataError where the hosts' parts do not make one channel."""
    hosts = cluster.all_gather(_description(channel, folder))
    files = [tuple(map(tuple, host["files"])) for host in hosts]
    replicated = len(set(files)) == 1
    merged = dict(file for own in files for file in own)
    if not merged:
        raise no_channel(channel.name)
    if not replicated:
        _require_disjoint(channel.name, cluster.hosts, files)
    have = {Path(name).name for name in merged}
    if missing := {name for host in hosts for name in host["not_here"]} - have:
        raise files_missing(channel.name, missing)
    texts = dict.fromkeys(text for host in hosts for text in host["manifests"])
    manifests = tuple(Manifest.from_json(text, "a manifest") for text in texts)
    require_listed(channel.name, merged, manifests)
    counted = hosts[:1] if replicated else hosts
    records = [host["records"] for host in counted]
    if not sum(records):
        raise DataError(f"Channel {channel.name!r} holds no record on any host: its *.tfrecord files are empty.")
    if not replicated:
        _warn_of_uneven(channel.name, cluster.hosts, records)
    return DistributedChannel(
        name=channel.name,
        files=channel.files,
        records=sum(records),
        label_histogram=tuple(map(sum, zip(*(host["labels"] for host in counted), strict=True))),
        # As one host would see them, which goes by their paths.
        sha256=combined_digest(merged[name] for name in sorted(merged)),
        digests=channel.digests,
        manifests=manifests,
        texts=channel.texts,
        tokens=channel.tokens,
        of_all=tuple(merged.values()),
        local_records=channel.records,
        shards=None if replicated else tuple(records),
        rank=cluster.rank,
        size=cluster.size,
    )


def _description(channel: Channel, folder: Path | None) -> Mapping[str, Any]:
    names = [str(path.relative_to(folder)) for path in channel.files] if folder is not None else []
    return {
        "files": list(zip(names, channel.digests, strict=True)),
        "records": channel.records,
        "labels": channel.label_histogram,
        "not_here": channel.not_here,
        "manifests": [manifest.to_json() for manifest in channel.manifests],
    }


def _require_disjoint(name: str, hosts: Sequence[str], files: Sequence[Sequence[tuple[str, str]]]) -> None:
    """Raise DataError for a file that two hosts have, of hosts that do not have the same files."""
    owners: dict[str, str] = {}
    for host, own in zip(hosts, files, strict=True):
        for file, _ in own:
            if file in owners:
                raise DataError(
                    f"Channel {name!r}: {owners[file]} and {host} both have {file}, but not the same files in all. "
                    "Bring the channel as FullyReplicated (all files on all hosts) or ShardedByS3Key (each on one)."
                )
            owners[file] = host


def _warn_of_uneven(name: str, hosts: Sequence[str], records: Sequence[int]) -> None:
    most = max(records)
    if most * len(records) > UNEVEN * sum(records):
        log.warning(
            "channel %s: %s holds %d of %d records, and the others wait for it in each step: write more and smaller "
            "files, or use FullyReplicated",
            name,
            hosts[records.index(most)],
            most,
            sum(records),
        )
