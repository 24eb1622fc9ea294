"""Predictions for files of reviews, a row for each row that `prepare` would read; a run that was killed goes on.

    predict_files(Job(inputs=(Path("reviews.csv.gz"),), output=Path("predictions.parquet")), engine, max_batch=32)

Rows are read one by one, and predicted a part (PART_ROWS rows) at a time, while the next part is read and tokenized. A
part that is done is a file of its own, in .OUTPUT.parts; at the end they become the output. A run that finds parts of
the same inputs, model and options does not predict their rows again.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import os
import shutil
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from star_rating.data.files import printable
from star_rating.failures import DataError, UsageError
from star_rating.preparation.reviews import Columns, ReviewFile, Row, open_reviews
from star_rating.preparation.sources import InputFile, find_sources, no_sources
from star_rating.serving.batching import CONCURRENT_BATCHES, Batcher, Probabilities

if TYPE_CHECKING:
    from star_rating.results.inference import Encoding
    from star_rating.serving.engine import Engine

log = logging.getLogger(__name__)

PART_ROWS = 512
"""Some seconds of work: what a kill costs at most, and how often progress can be told."""
PARTS_AHEAD = 2
PARTS_IN_A_ROW_GROUP = 64
SECONDS_BETWEEN_LINES = 10.0
BAR_CHARACTERS = 30
_KEY = "made-of"

Record = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """What to predict and where to."""

    inputs: tuple[Path, ...]
    output: Path
    """Its ending says its format: one of WRITERS."""
    review_format: str | None = None
    columns: Columns = field(default_factory=lambda: Columns(star_rating=None))
    overwrite: bool = False
    part_rows: int = PART_ROWS


@dataclass
class Outcome:
    """What a run did."""

    rows: int = 0
    """Of the output."""
    resumed: int = 0
    """Of these, predicted by an earlier run."""
    without_prediction: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Return this run's rows a second."""
        return (self.rows - self.resumed) / max(self.seconds, 1e-9)


def check_output(output: Path, *, overwrite: bool) -> None:
    """Raise UsageError, before anything is read, for an output that cannot be written as it is wanted."""
    if output.suffix.lower() not in WRITERS:
        raise UsageError(
            f"--output {printable(output)} ends in none of {', '.join(WRITERS)}. Its ending says its format."
        )
    if output.exists() and not overwrite:
        raise UsageError(f"{printable(output)} is there already. Name another --output, or add --overwrite.")
    if output.is_dir():
        raise UsageError(f"--output {printable(output)} is a folder. Name a file in it.")


def predict_files(
    job: Job, engine: Engine, *, max_batch: int, on_batch: Callable[[int], None] = lambda _: None
) -> Outcome:
    """Write the output; DataError where an input is no file of reviews, or holds no row."""
    check_output(job.output, overwrite=job.overwrite)
    found = find_sources(job.inputs, job.review_format)
    if not found.sources:
        raise no_sources(job.inputs, found)
    files = [(source, open_reviews(source.path, source.review_format, job.columns)) for source in found.sources]
    for source, file in files:
        if file.dialect:
            log.info("Reading %s as %s: %s", source.name, source.review_format, file.dialect)
    names = engine.folder.stars()
    writer = WRITERS[job.output.suffix.lower()](names)
    parts = job.output.with_name(f".{job.output.name}.parts")
    done = _resumable(parts, _fingerprint(job, found.sources, engine))
    outcome = Outcome()
    progress = Progress(sum(file.lines for _, file in files))
    if done:
        log.info("Going on after %d part(s) that an earlier run has left in %s", done, printable(parts))
    started = time.monotonic()
    with Batcher(
        engine.probabilities, max_batch=max_batch, concurrent_batches=CONCURRENT_BATCHES, on_batch=on_batch
    ) as batcher:
        waiting: list[tuple[int, _Part]] = []
        for number, rows in enumerate(_parts(files, job.part_rows)):
            if number < done:
                outcome.resumed += len(rows)
                _count(outcome, rows)
            else:
                waiting.append((number, _Part.submit(rows, engine, batcher)))
                if len(waiting) >= PARTS_AHEAD:
                    _finish(*waiting.pop(0), engine, writer, parts, outcome)
            progress.show(outcome.rows, outcome.resumed)
        for entry in waiting:
            _finish(*entry, engine, writer, parts, outcome)
    progress.end()
    outcome.seconds = time.monotonic() - started
    if not outcome.rows:
        raise DataError(f"{', '.join(map(printable, job.inputs))} holds no row.")
    _publish(writer, parts, job.output)
    return outcome


@dataclass
class _Part:
    rows: list[tuple[str, Row]]
    encodings: list[Encoding]
    """Of the rows without a problem."""
    future: Future[Probabilities] | None

    @classmethod
    def submit(cls, rows: list[tuple[str, Row]], engine: Engine, batcher: Batcher) -> _Part:
        encodings = engine.encode([row.body for _, row in rows if not row.problem])
        future = batcher.submit([encoding.ids for encoding in encodings]) if encodings else None
        return cls(rows, encodings, future)

    def records(self, engine: Engine) -> Iterator[Record]:
        """Wait for the model; yield what the output says of each row, in order."""
        found = iter(engine.describe(self.encodings, self.future.result()) if self.future is not None else ())
        for name, row in self.rows:
            record: Record = {"source": name, "row": row.line, "review_id": row.review_id or None}
            prediction = None if row.problem else next(found)
            yield record | {
                "stars": prediction.stars if prediction else None,
                "probabilities": prediction.probabilities if prediction else None,
                "truncated": prediction.truncated if prediction else None,
                "problem": row.problem or None,
            }


def _parts(files: Sequence[tuple[InputFile, ReviewFile]], rows: int) -> Iterator[list[tuple[str, Row]]]:
    every = ((source.name, row) for source, file in files for row in file)
    while part := list(islice(every, rows)):
        yield part


def _finish(number: int, part: _Part, engine: Engine, writer: Writer, parts: Path, outcome: Outcome) -> None:
    """Write a part under a name that says it is whole."""
    records = list(part.records(engine))
    path = parts / f"{number:07d}"
    unfinished = path.with_suffix(".unfinished")
    writer.write_part(records, unfinished)
    with unfinished.open("rb") as file:
        os.fsync(file.fileno())
    unfinished.rename(path)
    _count(outcome, part.rows)


def _count(outcome: Outcome, rows: Sequence[tuple[str, Row]]) -> None:
    outcome.rows += len(rows)
    outcome.without_prediction += sum(bool(row.problem) for _, row in rows)


def _fingerprint(job: Job, sources: Sequence[InputFile], engine: Engine) -> str:
    """Return what the parts of an earlier run must have been made of to be of use."""
    stats = [(source.name, source.review_format, source.path.stat()) for source in sources]
    weights = engine.folder.saved_model / "variables" / "variables.data-00000-of-00001"
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    made_of = {
        "inputs": [(name, kind, stat.st_size, stat.st_mtime_ns) for name, kind, stat in stats],
        "columns": [job.columns.review_body, job.columns.review_id],
        "model": digest,
        "settings": engine.folder.settings(),
        "part_rows": job.part_rows,
        "format": job.output.suffix.lower(),
    }
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()


def _resumable(parts: Path, fingerprint: str) -> int:
    """Return how many parts, from the first one on, are there and of use; make the folder for the others."""
    try:
        kept = json.loads((parts / _KEY).read_bytes())
    except (OSError, ValueError):
        kept = None
    if kept != fingerprint:
        if parts.exists():
            log.warning("%s is of other inputs, another model or other options: beginning again", printable(parts))
            shutil.rmtree(parts)
        try:
            parts.mkdir(parents=True)
        except OSError as error:
            raise UsageError(f"--output cannot be written: {error.strerror}: {printable(parts)}.") from error
        (parts / _KEY).write_text(json.dumps(fingerprint))
        return 0
    done = 0
    while (parts / f"{done:07d}").is_file():
        done += 1
    return done


def _publish(writer: Writer, parts: Path, output: Path) -> None:
    unfinished = parts / "output.unfinished"
    writer.join([path for path in sorted(parts.iterdir()) if path.name.isdecimal()], unfinished)
    unfinished.rename(output)
    shutil.rmtree(parts)


class Writer(ABC):
    """A format of the output: parts that can be put together."""

    def __init__(self, stars: Sequence[str]) -> None:
        self.stars = stars

    @abstractmethod
    def write_part(self, records: list[Record], path: Path) -> None:
        """Write a part."""

    @abstractmethod
    def join(self, parts: Sequence[Path], path: Path) -> None:
        """Put the parts together, one in memory at a time."""


class Text(Writer):
    """A format whose parts follow one another."""

    def head(self) -> bytes:
        """Return what stands before the first part."""
        return b""

    @abstractmethod
    def encode(self, records: Iterable[Record]) -> bytes:
        """Return a part's bytes."""

    def write_part(self, records: list[Record], path: Path) -> None:
        """Write a part."""
        path.write_bytes(self.encode(records))

    def join(self, parts: Sequence[Path], path: Path) -> None:
        """Put the parts together, one in memory at a time."""
        with path.open("wb") as file:
            file.write(self.head())
            for part in parts:
                with part.open("rb") as content:
                    shutil.copyfileobj(content, file)


class JsonLines(Text):
    """An object a row; what a row does not have is left out."""

    def encode(self, records: Iterable[Record]) -> bytes:
        """Return lines."""
        kept = ({name: value for name, value in record.items() if value is not None} for record in records)
        return "".join(f"{json.dumps(record)}\n" for record in kept).encode()


class Csv(Text):
    """RFC 4180 with a header; the probabilities are columns p1, p2, ..."""

    def head(self) -> bytes:
        """Return the header."""
        return self._lines([_columns(self.stars)])

    def encode(self, records: Iterable[Record]) -> bytes:
        """Return lines."""
        return self._lines(_flat(record, self.stars).values() for record in records)

    @staticmethod
    def _lines(rows: Iterable[Iterable[Any]]) -> bytes:
        text = io.StringIO(newline="")
        shown = ((str(cell).lower() if isinstance(cell, bool) else cell for cell in row) for row in rows)
        csv.writer(text, lineterminator="\n").writerows(shown)
        return text.getvalue().encode()


class Parquet(Writer):
    """The columns of CSV, typed."""

    def write_part(self, records: list[Record], path: Path) -> None:
        """Write a Parquet file."""
        import pyarrow as pa  # 0.2 s that only Parquet should cost
        import pyarrow.parquet as pq

        rows = [_flat(record, self.stars) for record in records]
        pq.write_table(pa.Table.from_pylist(rows, schema=self._schema()), path)

    def join(self, parts: Sequence[Path], path: Path) -> None:
        """Put several parts into a row group."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        with pq.ParquetWriter(path, self._schema()) as file:
            for start in range(0, len(parts), PARTS_IN_A_ROW_GROUP):
                group = parts[start : start + PARTS_IN_A_ROW_GROUP]
                file.write_table(pa.concat_tables(pq.read_table(part, schema=self._schema()) for part in group))

    def _schema(self) -> Any:  # noqa: ANN401 - Arrow is untyped
        import pyarrow as pa

        types = {"row": pa.int64(), "stars": pa.int8(), "truncated": pa.bool_()}
        types |= {_column(star): pa.float64() for star in self.stars}
        return pa.schema([(name, types.get(name, pa.string())) for name in _columns(self.stars)])


WRITERS: dict[str, Callable[[Sequence[str]], Writer]] = {".jsonl": JsonLines, ".csv": Csv, ".parquet": Parquet}


def _column(star: str) -> str:
    return f"p{star}"


def _columns(stars: Sequence[str]) -> list[str]:
    return ["source", "row", "review_id", "stars", *map(_column, stars), "truncated", "problem"]


def _flat(record: Record, stars: Sequence[str]) -> dict[str, Any]:
    probabilities: Mapping[str, float] = record["probabilities"] or {}
    flat = record | {_column(star): probabilities.get(star) for star in stars}
    return {name: flat[name] for name in _columns(stars)}


class Progress:
    """A bar on a terminal, a log line every ten seconds elsewhere."""

    def __init__(self, lines: int) -> None:
        self._total = lines
        """Lines of the text files, headers included: 0 where only Parquet files are read."""
        self._is_terminal = sys.stderr.isatty()
        self._started = self._last = time.monotonic()

    def show(self, rows: int, resumed: int) -> None:
        """Tell how far the run is, if the last time is long enough ago."""
        now = time.monotonic()
        if now - self._last < (0.2 if self._is_terminal else SECONDS_BETWEEN_LINES):
            return
        self._last = now
        rate = (rows - resumed) / (now - self._started)
        share = min(rows / self._total, 1.0) if self._total else None
        if not self._is_terminal:
            of_all = f" ({share:.0%})" if share is not None else ""
            log.info("Rows predicted: %s%s, %s a second", f"{rows:,}", of_all, f"{rate:,.0f}")
            return
        filled = round((share or 0) * BAR_CHARACTERS)
        bar = f"[{'#' * filled}{'.' * (BAR_CHARACTERS - filled)}] " if share is not None else ""
        sys.stderr.write(f"\r{bar}{rows:,} rows, {rate:,.0f} a second\x1b[K")
        sys.stderr.flush()

    def end(self) -> None:
        """Leave the terminal's line."""
        if self._is_terminal:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
