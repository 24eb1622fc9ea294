"""The engine's log of a container: its frames, and the lines that they make. Pure.

    for line in lines(frames(pieces), is_complete=True): ...

A frame is a header, `>BxxxL`: 1 for stdout, 2 for stderr, and the length; then `2026-11-24T22:18:24.182934323Z text`.
The engine cuts a line into frames of 16 kB; the last one is shorter, and its line break is not always told (by the
driver `local` of engine 20.10). What goes to stderr meanwhile comes in between.
"""

from __future__ import annotations

import datetime as dt
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

LONGEST_MESSAGE = (1 << 20) - 26
"""Bytes of an event's message: CloudWatch Logs takes 1 MB, and counts 26 bytes for the event itself."""

_HEADER = struct.Struct(">BxxxL")

_PART = 16_384
"""Bytes of a frame whose line goes on in the next one: the engine's buffer, full."""

Frame = tuple[int, bytes]


@dataclass(frozen=True)
class LogLine:
    """One line and the time at which it was written, in nanoseconds since 1970."""

    time: int
    text: str
    is_note: bool = False
    """Whether the platform has written it, and not the container."""


def frames(pieces: Iterable[bytes]) -> Iterator[Frame]:
    """Yield the frames of an answer that comes in pieces; what the end cuts is none."""
    rest = b""
    for piece in pieces:
        rest, at = rest + piece if rest else piece, 0
        while len(rest) - at >= _HEADER.size:
            kind, size = _HEADER.unpack_from(rest, at)
            end = at + _HEADER.size + size
            if end > len(rest):
                break
            yield kind, rest[at + _HEADER.size : end]
            at = end
        rest = rest[at:]


def lines(found: Iterable[Frame], *, is_complete: bool) -> Iterator[LogLine]:
    """Yield whole lines, in the order of their ends, and at the end of a complete log what no line break ends.

    A line that is longer than CloudWatch takes goes on in the next one.
    """
    begun: dict[int, tuple[int, bytearray]] = {}
    for kind, content in found:
        stamp, _, part = content.partition(b" ")
        ends = part.endswith(b"\n") or len(part) != _PART
        part = part.removesuffix(b"\n")
        if ends and kind not in begun:
            yield _line(_nanoseconds(stamp), part)
            continue
        time, text = begun.setdefault(kind, (_nanoseconds(stamp), bytearray()))
        text += part
        while len(text) > LONGEST_MESSAGE:
            cut = _cut(text)
            yield LogLine(time, text[:cut].decode("utf-8", "replace"))
            del text[:cut]
        if ends:
            yield _line(time, bytes(text))
            del begun[kind]
    if is_complete:
        for _, (time, text) in sorted(begun.items()):
            yield _line(time, bytes(text))


def _cut(text: bytearray) -> int:
    """Return where to cut: not within a character."""
    cut = LONGEST_MESSAGE
    while cut > LONGEST_MESSAGE - 4 and text[cut] & 0xC0 == 0x80:
        cut -= 1
    return cut


def _line(time: int, text: bytes) -> LogLine:
    return LogLine(time, text.decode("utf-8", "replace").rstrip("\r"))


def _nanoseconds(stamp: bytes) -> int:
    seconds, _, fraction = stamp.rstrip(b"Z").partition(b".")
    return _seconds(seconds) * 1_000_000_000 + int(fraction.ljust(9, b"0")[:9] or 0)


@lru_cache(maxsize=1024)
def _seconds(text: bytes) -> int:
    return int(dt.datetime.fromisoformat(text.decode()).replace(tzinfo=dt.UTC).timestamp())
