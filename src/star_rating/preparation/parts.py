"""The second pass over the reviews: tokenise, serialise, and write each split's TFRecord files.

    tallies = write_parts(sources, surveyed, assignment, tokenizer, folders=folders, prefix="part")

A source file becomes one part file a split. The tokenizer works on the next batches, outside the interpreter lock,
while this thread reads, serialises and writes: on two cores the rest then costs little beside it.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from star_rating.data.files import printable
from star_rating.data.fingerprint import TextHashes
from star_rating.data.manifest import PartFile
from star_rating.data.schema import NUMBER_OF_CLASSES
from star_rating.failures import DataError
from star_rating.preparation.reporting import Throughput
from star_rating.preparation.reviews import ReviewFile
from star_rating.preparation.sources import InputFile
from star_rating.preparation.split import LEFT_OUT, Assignment
from star_rating.preparation.survey import Survey
from star_rating.preparation.tfrecord import ExampleSerializer, frame
from star_rating.preparation.tokenization import ReviewTokenizer, TokenizedBatch

BATCH_REVIEWS = 2048
"""Large enough for all cores (256 is a fifth slower), small enough for some ten megabytes of encodings."""
BATCHES_AHEAD = 2


@dataclass
class SplitTally:
    """What was written of one split."""

    files: list[PartFile] = field(default_factory=list)
    histogram: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(NUMBER_OF_CLASSES, dtype=np.int64))
    truncated: int = 0
    texts: TextHashes = field(default_factory=TextHashes)


@dataclass(frozen=True)
class _Batch:
    source: InputFile
    texts: list[str]
    labels: npt.NDArray[np.uint8]
    splits: Assignment


def write_parts(
    sources: Sequence[tuple[InputFile, ReviewFile, slice]],
    surveyed: Survey,
    assignment: Assignment,
    tokenizer: ReviewTokenizer,
    *,
    folders: Mapping[int, Path],
    prefix: str,
) -> dict[int, SplitTally]:
    """Write `<prefix>-<source>.tfrecord` into each split's folder and return what was written, by split.

    `sources` come with where their reviews stand in the survey. A split without a review of a source gets no file.
    """
    serializer = ExampleSerializer(tokenizer.max_seq_length, tokenizer.vocabulary_size, tokenizer.pad_id)
    tallies = {split: SplitTally() for split in folders}
    reviews = sum(int((assignment[where] != LEFT_OUT).sum()) for *_, where in sources)
    throughput = Throughput("Reviews tokenised:", reviews)
    parts: dict[int, _Part] = {}
    current: InputFile | None = None
    try:
        for batch, tokenized in _tokenised_ahead(_batches(sources, surveyed, assignment), tokenizer):
            if batch.source is not current:
                _close(parts, tallies)
                current = batch.source
            records: dict[int, list[bytes]] = {}
            texts: dict[int, list[str]] = {}
            for text, ids, label, split in zip(
                batch.texts, tokenized.ids, batch.labels.tolist(), batch.splits.tolist(), strict=True
            ):
                records.setdefault(split, []).append(frame(serializer.serialize(ids, label)))
                texts.setdefault(split, []).append(text)
            for split, framed in records.items():
                if split not in parts:
                    parts[split] = _Part(folders[split] / f"{prefix}-{batch.source.part_stem}.tfrecord")
                parts[split].write(framed)
                tallies[split].texts.add(texts[split])
                in_split = batch.splits == split
                tallies[split].histogram += np.bincount(batch.labels[in_split], minlength=NUMBER_OF_CLASSES)
                tallies[split].truncated += int(np.asarray(tokenized.truncated)[in_split].sum())
            throughput.add(len(batch.texts))
    finally:
        _close(parts, tallies)
    return tallies


def _batches(
    sources: Sequence[tuple[InputFile, ReviewFile, slice]], surveyed: Survey, assignment: Assignment
) -> Iterator[_Batch]:
    """Read the sources again, and yield the reviews that are kept in batches that never span two sources."""
    for source, file, where in sources:
        usable = (row.body for row in file if not row.problem)
        for start in range(where.start, where.stop, BATCH_REVIEWS):
            rows = slice(start, min(start + BATCH_REVIEWS, where.stop))
            texts = list(islice(usable, rows.stop - rows.start))
            if len(texts) < rows.stop - rows.start:
                raise _changed(source)
            kept = assignment[rows] != LEFT_OUT
            if kept.any():
                chosen = [text for text, keep in zip(texts, kept.tolist(), strict=True) if keep]
                yield _Batch(source, chosen, surveyed.labels[rows][kept], assignment[rows][kept])
        if next(usable, None) is not None:
            raise _changed(source)


def _changed(source: InputFile) -> DataError:
    return DataError(
        f"{printable(source.path)} changed while it was being read. Run `prepare` when nothing writes to it."
    )


def _tokenised_ahead(batches: Iterator[_Batch], tokenizer: ReviewTokenizer) -> Iterator[tuple[_Batch, TokenizedBatch]]:
    """Yield each batch with its token ids, in order, while one thread tokenises the batches behind it."""
    pending: deque[tuple[_Batch, Future[TokenizedBatch]]] = deque()
    # One thread: the tokenizer spreads a batch over all cores by itself.
    with ThreadPoolExecutor(max_workers=1) as pool:
        for batch in batches:
            pending.append((batch, pool.submit(tokenizer.encode, batch.texts)))
            if len(pending) > BATCHES_AHEAD:
                done, future = pending.popleft()
                yield done, future.result()
        for done, future in pending:
            yield done, future.result()


class _Part:
    """A TFRecord file while it is being written."""

    def __init__(self, path: Path) -> None:
        self._name = path.name
        self._file = path.open("wb")
        self._hash = hashlib.sha256()
        self._records = 0
        self._bytes = 0

    def write(self, framed_records: Sequence[bytes]) -> None:
        data = b"".join(framed_records)
        self._file.write(data)
        self._hash.update(data)
        self._records += len(framed_records)
        self._bytes += len(data)

    def close(self) -> PartFile:
        self._file.close()
        return PartFile(self._name, self._records, self._bytes, self._hash.hexdigest())


def _close(parts: dict[int, _Part], tallies: Mapping[int, SplitTally]) -> None:
    while parts:
        split, part = parts.popitem()
        tallies[split].files.append(part.close())
