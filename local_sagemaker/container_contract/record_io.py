r"""RecordIO as SageMaker wraps it round the records of a pipe: magic, length, payload, padding to four bytes.

framed(b"abc")      # b"\x0a\x23\xd7\xce\x03\x00\x00\x00abc\x00"
"""

from __future__ import annotations

import struct

LONGEST_RECORD = (1 << 29) - 1
"""Bytes: the length has 29 bits."""

_MAGIC = 0xCED7230A


def framed(payload: bytes) -> bytes:
    """Return one record."""
    return struct.pack("<II", _MAGIC, len(payload)) + payload + bytes(-len(payload) % 4)
