"""A reader of saved tensors written for the tests alone: JSON, struct, and the few parts of protobuf's wire format.

for step in read_folder(folder):
    step.mode, step.mode_step, step.global_step, step.tensors["loss"]

What it checks on the way is what AWS's rule containers rely on: framing, the index, and its agreement with the events.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt

FOOTER = bytes.fromhex("b3c02d06")
"""What smdebug writes where TensorBoard has the payload's checksum."""
DTYPES: dict[int, str] = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8"}
"""TensorFlow's numbers."""
MODES = {b"1": "TRAIN", b"2": "EVAL"}

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Step:
    """What one index file and one event file say."""

    global_step: int
    mode: str
    mode_step: int
    tensors: dict[str, Array]


def read_folder(folder: Path) -> list[Step]:
    """Read and check every step, in order."""
    return [_step(folder, path) for path in sorted(folder.glob("index/*/*.json"))]


def read_collections(folder: Path) -> dict[str, Any]:
    """Return the collections of the one worker."""
    (path,) = folder.glob("collections/*/worker_0_collections.json")
    document = json.loads(path.read_text())
    assert document["_meta"]["num_workers"] == 1
    collections: dict[str, Any] = document["collections"]
    return collections


def _step(folder: Path, path: Path) -> Step:
    global_step = int(path.name.split("_")[0])
    assert path.name == f"{global_step:012}_worker_0.json"
    assert path.parent.name == f"{global_step // 1000:09}"
    index = json.loads(path.read_text())
    meta = index["meta"]
    events = folder / meta["event_file_name"]
    assert events == folder / "events" / f"{global_step:012}" / f"{global_step:012}_worker_0.tfevents"
    content = events.read_bytes()
    tensors: dict[str, Array] = {}
    found: list[tuple[str, int, int]] = []
    for start, payload in _records(content):
        event = dict(_fields(payload))
        assert event.get(2, 0) == global_step
        summary = _bytes(event[5])
        ((number, value),) = list(_fields(summary))
        assert number == 1
        name, tensor, mode, mode_step = _value(_bytes(value))
        assert (mode, mode_step) == (meta["mode"], meta["mode_step"])
        tensors[name] = tensor
        found.append((name, start, len(payload) + 16))
    assert found == [(entry["tensorname"], entry["start_idx"], entry["length"]) for entry in index["tensor_payload"]]
    assert sum(length for *_, length in found) == len(content)
    return Step(global_step, meta["mode"], meta["mode_step"], tensors)


def _records(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield where each record starts, and what it holds: u64 length, u32 checksum of it, payload, footer."""
    at = 0
    while at < len(content):
        (length,) = struct.unpack_from("<Q", content, at)
        (checksum,) = struct.unpack_from("<I", content, at + 8)
        assert checksum == _masked(google_crc32c.value(content[at : at + 8]))
        payload = content[at + 12 : at + 12 + length]
        assert len(payload) == length
        assert content[at + 12 + length : at + 16 + length] == FOOTER
        yield at, payload
        at += length + 16


def _masked(checksum: int) -> int:
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield a message's fields: varints as numbers (doubles as their bits), the rest as bytes."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            number, at = _varint(message, at)
            yield key >> 3, number
        elif kind == 1:
            yield key >> 3, message[at : at + 8]
            at += 8
        elif kind == 5:
            yield key >> 3, message[at : at + 4]
            at += 4
        else:
            assert kind == 2
            length, at = _varint(message, at)
            yield key >> 3, message[at : at + length]
            at += length


def _varint(message: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = message[at]
        number |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return number, at


def _bytes(value: int | bytes) -> bytes:
    assert isinstance(value, bytes)
    return value


def _value(message: bytes) -> tuple[str, Array, str, int]:
    """Return a Summary.Value's tag, tensor, mode and mode step; the last two are in its metadata, as plugins."""
    value = dict(_fields(message))
    plugins: dict[int | bytes, bytes] = {}
    for number, plugin in _fields(_bytes(value[9])):
        if number == 1:
            named = dict(_fields(_bytes(plugin)))
            plugins[named[1]] = _bytes(named[2])
    mode, mode_step = MODES[plugins[b"mode"]], int(plugins[b"mode_step"])
    return _bytes(value[1]).decode(), _tensor(_bytes(value[8])), mode, mode_step


def _tensor(message: bytes) -> Array:
    """Return a TensorProto: dtype 1, shape 2 (of dimensions 2, of size 1), content 4."""
    fields = dict(_fields(message))
    dtype = fields[1]
    assert isinstance(dtype, int)
    shape = []
    for number, dimension in _fields(_bytes(fields.get(2, b""))):
        if number == 2:
            size = dict(_fields(_bytes(dimension))).get(1, 0)
            assert isinstance(size, int)
            shape.append(size)
    return np.frombuffer(_bytes(fields[4]), DTYPES[dtype]).reshape(shape)
