"""A job's channels on its hosts' volumes: copied, mounted or fed through pipes.

channels = Channels(request, hosts, objects, throttle)
channels.fill(host, layout)         # raises ChannelError, DownloadFailedError, CancelledError
feeders = channels.pipes(host, layout, failed)
"""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from local_sagemaker.container_contract.channels import (
    LONGEST_RECORD,
    ChannelError,
    Item,
    augmented_records,
    framed,
    is_sharded,
    manifest_beside,
    objects_of,
    share,
)
from local_sagemaker.container_contract.hosts import Host
from local_sagemaker.container_contract.paths import ROOT, Layout
from local_sagemaker.container_contract.startup import group_names, input_mode
from local_sagemaker.services.s3_store import NoSuchObjectError, ObjectStore
from local_sagemaker.volumes.download import Throttle, Transfer
from local_sagemaker.volumes.pipes import PipeFeeder, chunks

Channel = dict[str, Any]


class Channels:
    """The channels of one attempt; each channel's objects are listed once, for all hosts."""

    def __init__(
        self, request: dict[str, Any], hosts: tuple[Host, ...], objects: ObjectStore, throttle: Throttle
    ) -> None:
        self._channels: list[Channel] = request.get("InputDataConfig", [])
        for channel in self._channels:
            if channel["ChannelName"] in (".", ".."):  # SageMaker's pattern allows them
                raise ChannelError(f"a channel is called {channel['ChannelName']!r}, and no folder can be")
        names = [channel["ChannelName"] for channel in self._channels]
        for name in names:
            if f"{name}-manifest" in names:
                raise ChannelError(
                    f"the channel {name}-manifest is called as the file that says what the channel {name} has"
                )
        self._default_mode = request["AlgorithmSpecification"]["TrainingInputMode"]
        self._hosts = hosts
        self._store = BucketReader(objects)
        self._transfer = Transfer(objects, throttle)
        self._listed: dict[str, Sequence[Any]] = {}

    def fill(self, host: Host, layout: Layout) -> None:
        """Bring a host its File and FastFile channels; raise ChannelError."""
        data = layout.inside("input", "data")
        data.mkdir(parents=True, exist_ok=True)
        for channel in self._of(host):
            name, mode = channel["ChannelName"], input_mode(channel, self._default_mode)
            entries = self._entries(channel, host)
            if mode == "Pipe":
                continue
            if mode == "File":
                self._transfer.copy(entries, data / name)
                (data / f"{name}-manifest").write_text(manifest_beside(entries), encoding="utf-8")
            else:
                folder = layout.folder / "fast" / name
                self._transfer.link(entries, folder)
                (data / name).mkdir()
                layout.mounts[f"{ROOT}/input/data/{name}"] = folder
                layout.read_only.add(f"{ROOT}/input/data/{name}")

    def pipes(self, host: Host, layout: Layout, failed: Callable[[Exception], None]) -> list[PipeFeeder]:
        """Return what feeds a host's Pipe channels; the first FIFOs are there. Raise ChannelError."""
        return [
            PipeFeeder(layout.inside("input", "data"), channel["ChannelName"], self._epochs(channel, host), failed)
            for channel in self._of(host)
            if input_mode(channel, self._default_mode) == "Pipe"
        ]

    def _of(self, host: Host) -> Iterator[Channel]:
        return (channel for channel in self._channels if host.group in group_names(channel, self._hosts))

    def _entries(self, channel: Channel, host: Host) -> Sequence[Any]:
        """Return a host's objects, or, of an augmented manifest, its records."""
        name = channel["ChannelName"]
        if name not in self._listed:
            self._listed[name] = self._all_entries(channel, input_mode(channel, self._default_mode))
        receivers = [other for other in self._hosts if other.group in group_names(channel, self._hosts)]
        return share(self._listed[name], host, receivers) if is_sharded(channel) else self._listed[name]

    def _all_entries(self, channel: Channel, mode: str) -> Sequence[Any]:
        name = channel["ChannelName"]
        source = channel["DataSource"].get("S3DataSource")
        if source is None:
            raise ChannelError(f"the channel {name} is on a file system, and there is none here: copy it to S3")
        if source["S3DataType"] == "AugmentedManifestFile":
            if mode != "Pipe":
                raise ChannelError(f"the channel {name} is an AugmentedManifestFile, which is read in Pipe mode only")
            return augmented_records(channel, self._store)
        if mode == "FastFile" and source["S3DataType"] != "S3Prefix":
            raise ChannelError(f"the channel {name} is a {source['S3DataType']}; FastFile mode reads an S3Prefix only")
        return objects_of(channel, self._store)

    def _epochs(self, channel: Channel, host: Host) -> Callable[[int], Iterable[bytes]]:
        entries = self._entries(channel, host)
        records = [entry if isinstance(entry, list) else [entry] for entry in entries]
        for part in (part for record in records for part in record if isinstance(part, Item)):
            self._transfer.source(part)  # that one is not there is said before anything runs
        return partial(self._epoch, channel, records)

    def _epoch(self, channel: Channel, records: list[list[Item | str]], number: int) -> Iterator[bytes]:
        """Yield what one epoch's pipe carries."""
        order = list(records)
        if "ShuffleConfig" in channel:
            random.Random(channel["ShuffleConfig"]["Seed"] + number).shuffle(order)  # noqa: S311 - no secret
        is_gzip = channel.get("CompressionType") == "Gzip"
        for part in (part for record in order for part in record):
            is_record = channel.get("RecordWrapperType") == "RecordIO"
            content = [part.encode()] if isinstance(part, str) else self._content(part, is_gzip=is_gzip)
            yield from [_record(part, content)] if is_record else content

    def _content(self, item: Item, *, is_gzip: bool) -> Iterator[bytes]:
        """Yield an object's content; raise ChannelError for one that has gone, or is no gzip file but should be."""
        path = self._transfer.source(item)
        try:
            yield from _read(path, is_gzip=is_gzip)
        except (OSError, EOFError, zlib.error) as error:
            what = "is no whole gzip file, as CompressionType says" if is_gzip else "cannot be read"
            raise ChannelError(f"{item.uri} {what}: {error}") from None


def _record(part: Item | str, content: Iterable[bytes]) -> bytes:
    """Return a part's content as a record; raise ChannelError for what is too long to be one."""
    record = bytearray()
    for chunk in content:
        record += chunk
        if len(record) > LONGEST_RECORD:
            what = part.uri if isinstance(part, Item) else "an attribute"
            raise ChannelError(f"{what} is longer than a RecordIO record may be, {LONGEST_RECORD} bytes")
    return framed(bytes(record))


class BucketReader:
    """S3 as container_contract/channels.py asks for it."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def keys(self, bucket: str, prefix: str) -> list[str]:
        """Return the keys that begin with a prefix, sorted."""
        try:
            return [entry.key for entry in self._objects.list(bucket, prefix)]
        except NoSuchObjectError:
            return []

    def text(self, bucket: str, key: str) -> str:
        """Return an object's text; raise ChannelError."""
        try:
            return self._objects.path(bucket, key).read_text(encoding="utf-8")
        except (NoSuchObjectError, UnicodeDecodeError) as error:
            raise ChannelError(f"s3://{bucket}/{key} cannot be read: {error}") from None


def _read(path: Path, *, is_gzip: bool) -> Iterator[bytes]:
    if not is_gzip:
        yield from chunks(path)
        return
    with gzip.open(path) as file:
        while chunk := file.read(1 << 16):
            yield chunk
