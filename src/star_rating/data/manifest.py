"""The manifest beside a channel's TFRecords: what `prepare` wrote there, for training to read and check.

    for manifest in read_manifests(Path("/opt/ml/input/data/train")):
        print(manifest.host, manifest.records, manifest.label_histogram)

One file per channel folder and host, `manifest-<host>.json`, so that hosts which share a folder never overwrite one
another. It holds counts, hashes and settings; never a word of a review. Its `texts` (None in manifests of earlier
images) names a file beside it with the hashes of the channel's texts, by which channels are compared: fingerprint.py.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from star_rating.data.files import visible_files
from star_rating.data.fingerprint import MOST_SAMPLED_BITS, SUFFIX, TextsFile
from star_rating.data.schema import STARS
from star_rating.data.text_processing import TextProcessing
from star_rating.failures import DataError

FORMAT_VERSION = 1
PATTERN = "manifest-*.json"
GIVEN = "given"
"""The setting `split` of a run whose splits were the user's own."""
LINES = ("kept_lines", "empty_lines", "broken_lines", "other_lines")
_TEXTS_NAME = re.compile(rf"texts-[!-.0-~]{{1,200}}{re.escape(SUFFIX)}")
"""A name beside the manifest, which is opened."""
LARGEST_NUMBER = 2**63 - 1
"""Of records, bytes, or a seed; what an int64 holds."""

Scalar = str | int | float | bool | None

_T = TypeVar("_T")


@dataclass(frozen=True)
class TokenizerIdentity:
    """Which tokenizer made the ids."""

    name: str
    sha256: str
    """Of tokenizer.json's bytes."""


class KnownTokenizer(NamedTuple):
    """What the channels' records are held against."""

    sha256: str
    """Of tokenizer.json."""
    cls_id: int | None = None
    """What every encoded text begins with; None where texts begin with words."""
    pad_id: int | None = None
    """[PAD]'s; None where there is no such token."""


@dataclass(frozen=True)
class PartFile:
    """One TFRecord file."""

    name: str
    records: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class SourceCounts:
    """One input file, over all splits. rows = kept + empty + broken.

    In text files, lines = kept_lines + empty_lines + broken_lines + other_lines; elsewhere all are 0.
    """

    name: str
    rows: int
    kept: int
    empty: int
    """Rows whose text or rating is missing or blank."""
    broken: int
    """Rows that could not be read, or whose rating is not 1 to 5."""
    kept_lines: int = 0
    empty_lines: int = 0
    broken_lines: int = 0
    other_lines: int = 0
    """The header, and blank lines."""

    @property
    def lines(self) -> int:
        """Return how many lines the file has."""
        return self.kept_lines + self.empty_lines + self.broken_lines + self.other_lines


@dataclass(frozen=True)
class Manifest:
    """What one host wrote into one channel folder."""

    split: str
    host: str
    records: int
    label_histogram: Mapping[str, int]
    """Records per star rating, "1" to "5"."""
    truncated: int
    """Records whose review was longer than max_seq_length."""
    dropped_by_balancing: int
    """Reviews of this split that --balance left out."""
    max_seq_length: int
    tokenizer: TokenizerIdentity
    seed: int
    files: tuple[PartFile, ...]
    sources: tuple[SourceCounts, ...]
    settings: Mapping[str, Scalar]
    """The options that `prepare` ran with, as on its command line."""
    dropped_as_leaks: int = 0
    """Reviews of this split that --drop-leaks left out."""
    texts: TextsFile | None = None
    """The hashes of the channel's texts; None where the manifest is of an image that wrote none."""

    @property
    def processing(self) -> TextProcessing:
        """Return how the texts became token ids."""
        return TextProcessing.from_settings(self.settings)

    @property
    def file_name(self) -> str:
        """Return the name of the manifest file itself."""
        return f"manifest-{self.host}.json"

    def to_json(self) -> str:
        """Return the manifest as indented JSON."""
        return json.dumps({"format_version": FORMAT_VERSION, **asdict(self)}, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> Manifest:
        """Read what `to_json` wrote; raise DataError that names `where` and the key when it is damaged."""
        document = _Section.parse(text, where)
        version = document.take("format_version", int)
        if version != FORMAT_VERSION:
            raise DataError(
                f"{where} has format_version {version}, this image reads {FORMAT_VERSION}. "
                "Run `prepare` with the image that trains."
            )
        histogram = document.section("label_histogram")
        tokenizer = document.section("tokenizer")
        manifest = cls(
            split=document.take("split", str),
            host=document.take("host", str),
            records=document.take("records", int),
            label_histogram={stars: histogram.take(stars, int) for stars in STARS},
            truncated=document.take("truncated", int),
            dropped_by_balancing=document.take("dropped_by_balancing", int),
            max_seq_length=document.take("max_seq_length", int),
            tokenizer=TokenizerIdentity(tokenizer.take("name", str), tokenizer.take("sha256", str)),
            seed=document.take("seed", int),
            files=tuple(
                PartFile(
                    part.take("name", str), part.take("records", int), part.take("bytes", int), part.take("sha256", str)
                )
                for part in document.sections("files")
            ),
            sources=tuple(
                SourceCounts(
                    source.take("name", str),
                    source.take("rows", int),
                    source.take("kept", int),
                    source.take("empty", int),
                    source.take("broken", int),
                    # Manifests of earlier images have no lines.
                    *(source.take(key, int) if key in source.values else 0 for key in LINES),
                )
                for source in document.sections("sources")
            ),
            settings=document.section("settings").values,
            dropped_as_leaks=document.take("dropped_as_leaks", int) if "dropped_as_leaks" in document.values else 0,
            texts=_texts(document) if document.values.get("texts") is not None else None,
        )
        manifest._check_sums(where)
        return manifest

    def _check_sums(self, where: str) -> None:
        in_histogram = sum(self.label_histogram.values())
        in_files = sum(part.records for part in self.files)
        if not self.records == in_histogram == in_files:
            raise DataError(
                f"{where} contradicts itself: records is {self.records}, label_histogram adds up to {in_histogram}, "
                f"files to {in_files}. Run `prepare` again."
            )


def _texts(document: _Section) -> TextsFile:
    texts = document.section("texts")
    bits = texts.take("sampled_bits", int)
    if bits > MOST_SAMPLED_BITS:
        raise DataError(f"{texts.where} sampled_bits is {bits}, more than {MOST_SAMPLED_BITS}. Run `prepare` again.")
    entry = TextsFile(texts.take("name", str), texts.take("hashes", int), bits, texts.take("sha256", str))
    if not _TEXTS_NAME.fullmatch(entry.name):
        shown = json.dumps(entry.name)[:60]
        raise DataError(f"{texts.where} name is {shown}, not texts-<host>{SUFFIX}. Run `prepare` again.")
    return entry


def is_manifest(path: Path) -> bool:
    """Tell whether a file is a manifest by its name and its first bytes, as `to_json` writes them."""
    if not fnmatch.fnmatchcase(path.name, PATTERN):
        return False
    with path.open("rb") as file:
        return file.read(64).split()[:2] == [b"{", b'"format_version":']


def read_manifests(folder: Path) -> list[Manifest]:
    """Return the manifests of all hosts below a channel folder, sorted by path; none if `prepare` did not make it."""
    manifests = []
    for path in visible_files(folder, PATTERN):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} cannot be read ({error}). Copy it again, or run `prepare` again.") from error
        manifests.append(Manifest.from_json(text, where=str(path)))
    return manifests


@dataclass(frozen=True)
class _Section:
    """A JSON object, and where it stands, so that a message can name the key."""

    values: Mapping[str, Any]
    where: str

    @classmethod
    def parse(cls, text: str, where: str) -> _Section:
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where} is not JSON: {error}. Copy it again, or run `prepare` again.") from error
        return cls._of(values, where)

    @classmethod
    def _of(cls, values: object, where: str) -> _Section:
        if not isinstance(values, dict):
            raise DataError(f"{where} is not a JSON object. Copy it again, or run `prepare` again.")
        return cls(values, where)

    def take(self, key: str, kind: type[_T]) -> _T:
        value = self.values.get(key)
        # bool is an int in Python, not in JSON.
        in_range = not isinstance(value, int) or 0 <= value <= LARGEST_NUMBER
        if not isinstance(value, kind) or isinstance(value, bool) or not in_range:
            wanted = f"a whole number from 0 to {LARGEST_NUMBER}" if kind is int else "a text"
            raise DataError(f"{self.where}: {key} is {json.dumps(value)[:60]}, not {wanted}. Run `prepare` again.")
        return value

    def section(self, key: str) -> _Section:
        return self._of(self.values.get(key), f"{self.where}, {key},")

    def sections(self, key: str) -> list[_Section]:
        items = self.values.get(key)
        if not isinstance(items, list):
            raise DataError(f"{self.where}: {key} is not a list. Run `prepare` again.")
        return [self._of(item, f"{self.where}, {key}[{index}],") for index, item in enumerate(items)]
