"""Which objects of a channel each host gets, and under which names. Pure: the listing comes in.

    chosen = objects_of(channel, store)             # (Item("s3://b/train/a.tfrecord", "a.tfrecord"), ...)
    share(chosen, hosts[0], hosts)                  # what the first host gets under ShardedByS3Key

A manifest's own text has to be read to know them, so what lists and reads is a small protocol.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from local_sagemaker.container_contract.hosts import Host
from local_sagemaker.container_contract.paths import relative_path, safe, split

Channel = dict[str, Any]
Entry = TypeVar("Entry")


class ChannelError(ValueError):
    """A channel that cannot be downloaded as it is; the text is for FailureReason."""


class NoObjectsError(ChannelError):
    """A channel without a single object."""

    def __init__(self, uri: str) -> None:
        super().__init__(f"no objects under {uri}")
        self.uri = uri


class Bucket(Protocol):
    """What channels need of S3."""

    def keys(self, bucket: str, prefix: str) -> list[str]:
        """Return the keys that begin with a prefix, sorted; none for a bucket that is not there."""

    def text(self, bucket: str, key: str) -> str:
        """Return an object's text; raise ChannelError where there is none."""


@dataclass(frozen=True)
class Item:
    """One object of a channel, and where it goes."""

    bucket: str
    key: str
    path: str

    @property
    def uri(self) -> str:
        """Its S3 URI."""
        return f"s3://{self.bucket}/{self.key}"


def is_sharded(channel: Channel) -> bool:
    """Tell whether each host gets its own objects."""
    return bool(channel["DataSource"]["S3DataSource"].get("S3DataDistributionType") == "ShardedByS3Key")


def share(entries: Sequence[Entry], host: Host, hosts: Sequence[Host]) -> Sequence[Entry]:
    """Deal entries out to hosts in turn, and return those of one host."""
    return entries[list(hosts).index(host) :: len(hosts)]


def objects_of(channel: Channel, store: Bucket) -> list[Item]:
    """Return the objects of an S3Prefix or ManifestFile channel; raise ChannelError, UnsafeKeyError."""
    source = channel["DataSource"]["S3DataSource"]
    items = list((_manifest if source["S3DataType"] == "ManifestFile" else _prefix)(source["S3Uri"], store))
    if not items:
        raise NoObjectsError(source["S3Uri"])
    _refuse_clashes(items)
    return items


def manifest_beside(items: Sequence[Item]) -> str:
    """Return the text of `<channel>-manifest`: what a host was given, in a manifest's own form."""
    prefixes = dict.fromkeys(item.uri.removesuffix(item.path) for item in items)
    if len(prefixes) == 1:
        return json.dumps([{"prefix": next(iter(prefixes))}, *(item.path for item in items)])
    return json.dumps([item.uri for item in items])


def _prefix(uri: str, store: Bucket) -> Iterator[Item]:
    bucket, prefix = split(uri)
    for key in store.keys(bucket, prefix):
        if not key.endswith("/"):  # what consoles make for an empty folder
            yield Item(bucket, key, relative_path(key, prefix))


def _manifest(uri: str, store: Bucket) -> Iterator[Item]:
    """Read `[{"prefix": "s3://bucket/folder/"}, "a", "b/c"]`."""
    try:
        head, *paths = json.loads(store.text(*split(uri)))
        prefix = head["prefix"]
        split(prefix)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise ChannelError(
            f'{uri} is no manifest: [{{"prefix": "s3://bucket/folder/"}}, "object", ...] is needed'
        ) from None
    listed: dict[str, set[str]] = {}
    for path in paths:
        if not isinstance(path, str):
            raise ChannelError(f"{uri} is no manifest: its entry {path!r} is no text")
        bucket, key = split(prefix + path)
        if bucket not in listed:  # once, not an entry
            listed[bucket] = set(store.keys(bucket, prefix.removeprefix(f"s3://{bucket}").removeprefix("/")))
        if key not in listed[bucket]:
            raise ChannelError(f"{uri} names s3://{bucket}/{key}, which does not exist")
        yield Item(bucket, key, safe(path.removeprefix("/")))


def augmented_records(channel: Channel, store: Bucket) -> list[list[Item | str]]:
    """Return what each line of an AugmentedManifestFile comes to: an object for an attribute that is a -ref, else text.

    An attribute that names an object holds an S3 URI; anything else is passed on as JSON has it.
    """
    source = channel["DataSource"]["S3DataSource"]
    names = source.get("AttributeNames") or []
    if not names:
        raise ChannelError("an AugmentedManifestFile needs AttributeNames")
    records = []
    for number, line in enumerate(store.text(*split(source["S3Uri"])).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
            records.append([_attribute(name, values[name]) for name in names])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ChannelError(f"{source['S3Uri']}, line {number}: {type(error).__name__}: {error}") from None
    if not records:
        raise NoObjectsError(source["S3Uri"])
    return records


def _attribute(name: str, value: object) -> Item | str:
    if name.endswith("-ref") and isinstance(value, str):
        bucket, key = split(value)
        return Item(bucket, key, key.rpartition("/")[2])
    return value if isinstance(value, str) else json.dumps(value)


def _refuse_clashes(items: Sequence[Item]) -> None:
    """Refuse keys that cannot both be files: `a` and `a/b`, or the same name twice."""
    seen: dict[str, str] = {}
    for item in items:
        if item.path in seen:
            raise ChannelError(f"{item.uri} and {seen[item.path]} would both be the file {item.path}")
        seen[item.path] = item.uri
    for item in items:
        parts = item.path.split("/")
        for depth in range(1, len(parts)):
            parent = "/".join(parts[:depth])
            if parent in seen:
                raise ChannelError(f"{seen[parent]} is a file, and {item.uri} needs a folder of that name")


LONGEST_RECORD = (1 << 29) - 1
"""Bytes: the length has 29 bits."""

_MAGIC = 0xCED7230A


def framed(payload: bytes) -> bytes:
    """Return one record."""
    return struct.pack("<II", _MAGIC, len(payload)) + payload + bytes(-len(payload) % 4)
