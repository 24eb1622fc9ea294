"""The hashes of a channel's texts, in a file beside its manifest: what two channels share is found without the texts.

    hashes = TextHashes()
    hashes.add(["Great", "Broke after a week"])
    entry = hashes.write(Path("channels/train"), "algo-1")        # stands in the manifest, as `texts`
    train, test = read_fingerprint(train_folder, entry), read_fingerprint(test_folder, other)
    train.shared_with(test)                                       # how many texts are in both

The file, `texts-<host>.u64`, holds the hash of each text once, sorted, as little-endian unsigned 64-bit numbers: 8
bytes a text. Two texts are the same when they are so to the letter, as in the split; no seed is in the hash. Beyond
LARGEST texts only those are kept whose hash begins with `sampled_bits` zero bits, so that the same texts are kept
everywhere: what two channels share is then counted in that sample.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from star_rating.failures import DataError

LARGEST = 1 << 25
"""Of hashes in a file: 256 MiB."""
MOST_SAMPLED_BITS = 32
MARGIN = 1.25
"""How many times as many hashes are held in memory before copies are removed, or fewer are sampled."""
SUFFIX = ".u64"

_STORED = np.dtype("<u8")
_HASH_BYTES = 8


@dataclass(frozen=True)
class TextsFile:
    """What a manifest says of the file of hashes beside it."""

    name: str
    hashes: int
    sampled_bits: int
    """0: every text's hash is there."""
    sha256: str


@dataclass(frozen=True)
class Fingerprint:
    """The hashes of a file, sorted, each once."""

    hashes: npt.NDArray[np.uint64]
    sampled_bits: int

    @classmethod
    def union(cls, parts: Sequence[Fingerprint]) -> Fingerprint:
        """Return the hashes that any of the parts has."""
        bits = max(part.sampled_bits for part in parts)
        return cls(np.unique(np.concatenate([_sample(part.hashes, bits) for part in parts])), bits)

    def sampled(self, bits: int) -> Fingerprint:
        """Return those that are in every sample of at least `bits` bits."""
        return Fingerprint(_sample(self.hashes, bits), max(bits, self.sampled_bits))

    def can_be_compared_with(self, other: Fingerprint) -> bool:
        """Tell whether both have a hash in the sample that both have; of few texts a sparse sample may have none."""
        bits = max(self.sampled_bits, other.sampled_bits)
        return bool(_sample(self.hashes, bits).size and _sample(other.hashes, bits).size)

    def shared_with(self, other: Fingerprint) -> int:
        """Return how many texts are in both, of those that both have sampled."""
        bits = max(self.sampled_bits, other.sampled_bits)
        few, many = sorted((_sample(self.hashes, bits), _sample(other.hashes, bits)), key=len)
        if not few.size:
            return 0
        places = np.minimum(np.searchsorted(many, few), many.size - 1)
        return int((many[places] == few).sum())


class TextHashes:
    """Collects the hashes of texts; memory is bounded by some times `largest` hashes."""

    def __init__(self, largest: int = LARGEST) -> None:
        self._largest = largest
        self._sampled_bits = 0
        self._packed = bytearray()

    def add(self, texts: Iterable[str]) -> None:
        """Add the texts of a batch."""
        hashes = b"".join([hashlib.blake2b(text.encode(), digest_size=_HASH_BYTES).digest() for text in texts])
        self._packed += hashes
        if len(self._packed) > MARGIN * self._largest * _HASH_BYTES:
            self._packed = bytearray(self._kept().tobytes())

    def write(self, folder: Path, host: str) -> TextsFile:
        """Write `texts-<host>.u64` and return its entry for the manifest."""
        content = self._kept().tobytes()
        name = f"texts-{host}{SUFFIX}"
        (folder / name).write_bytes(content)
        return TextsFile(name, len(content) // _HASH_BYTES, self._sampled_bits, hashlib.sha256(content).hexdigest())

    def _kept(self) -> npt.NDArray[np.uint64]:
        """Return the hashes, sorted, each once, and sample until they are few enough."""
        hashes = np.unique(_sample(np.frombuffer(self._packed, _STORED), self._sampled_bits))
        while hashes.size > self._largest:
            self._sampled_bits += 1
            hashes = _sample(hashes, self._sampled_bits)
        return hashes


def read_fingerprint(folder: Path, entry: TextsFile) -> Fingerprint:
    """Read the file of hashes beside a manifest; raise DataError when it is missing or not what the manifest says."""
    path = folder / Path(entry.name).name
    try:
        # Its size first: what is not the manifest's may be too large to be read.
        content = path.read_bytes() if path.stat().st_size == entry.hashes * _HASH_BYTES else b""
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}. It belongs to the manifest beside it: copy the folder again."
        ) from error
    if len(content) != entry.hashes * _HASH_BYTES or hashlib.sha256(content).hexdigest() != entry.sha256:
        raise DataError(f"{path} is not the file that its manifest describes. Copy it again, or run `prepare` again.")
    return Fingerprint(np.frombuffer(content, _STORED), entry.sampled_bits)


def _sample(hashes: npt.NDArray[np.uint64], bits: int) -> npt.NDArray[np.uint64]:
    return hashes[hashes < np.uint64(1 << (64 - bits))] if bits else hashes
