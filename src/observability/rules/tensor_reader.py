"""A folder of saved tensors as steps for rules; smdebug's readers read it.

    reader = TensorReader(folder)
    for step in reader.new_steps():     # those that are complete since the last call
        step.value("loss")

Not smdebug's Trial, which combines its readers: that one polls for ever if a file is missing, sleeps at the end of
training, and reads nothing after one damaged index. Here each step's files are looked at before they are read.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from observability.rule import Array
from star_rating.failures import DataError

END_MARKER = "training_job_end.ts"
"""smdebug writes it at the end of a run; on SageMaker the platform does."""

WORKER = "worker_0"
"""Rules look at one worker's tensors, as AWS's do by default; this image's hook has one."""

REDUCTIONS = "smdebug/reductions/"
"""How the name of a reduced tensor begins."""

EXPORTED_TOO_EARLY = {"losses": {"val_loss"}}
"""smdebug exports its collections after the first batch, and has not seen these by then."""


class TensorReader:
    """A tensor folder, maybe of a run that is still writing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._yielded: set[str] = set()
        """Names of index files."""

    @property
    def has_ended(self) -> bool:
        """Whether the run has said that it writes no more."""
        return (self.folder / END_MARKER).exists()

    @property
    def has_steps(self) -> bool:
        """Whether there is anything to read, now or before."""
        return bool(self._yielded) or any(self._indexes())

    def new_steps(self, *, final: bool = False) -> Iterator[SavedStep]:
        """Yield the steps that are whole and were not yielded before, in their order.

        A step that is not whole yet holds up those after it; in the `final` call it raises DataError.
        """
        for index in sorted(self._indexes()):
            if index.name in self._yielded:
                continue
            step = self._step(index, final=final)
            if step is None:
                return
            self._yielded.add(index.name)
            yield step

    def _indexes(self) -> Iterator[Path]:
        return self.folder.glob(f"index/*/*_{WORKER}.json")

    def _step(self, index: Path, *, final: bool) -> SavedStep | None:
        try:
            self.smdebug_reader  # noqa: B018 - a step is of no use before its collections are there
            step = SavedStep.from_index(self, index)
            size = step.event_file.stat().st_size
        except (OSError, ValueError, KeyError, TypeError) as error:
            if final:
                raise DataError(
                    f"{index} is damaged, or a file that belongs to it is missing: {line(error)}."
                ) from None
            return None
        if size < step.size:
            if final:
                raise DataError(f"{step.event_file} has {size} bytes, and {step.size} by its index: it was cut off.")
            return None
        return step

    @cached_property
    def smdebug_reader(self) -> SmdebugReader:
        """Return what reads the folder; raise OSError or ValueError if its file of collections is not there yet."""
        return SmdebugReader(self.folder)


class SmdebugReader:
    """smdebug's readers of a tensor folder; imported here, because that takes half a second."""

    def __init__(self, folder: Path) -> None:
        path = folder / "collections" / "000000000" / f"{WORKER}_collections.json"
        text = path.read_text(encoding="utf-8")
        os.environ.setdefault("SMDEBUG_LOG_LEVEL", "error")  # it logs while it is imported
        from observability.debugger import smdebug_messages

        # smdebug still uses distutils; for a warning at compile time, `module` is the file's path.
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r".*\bsmdebug\b")
        smdebug_messages.install()
        from smdebug.core.collection_manager import CollectionManager
        from smdebug.core.index_reader import LocalIndexReader
        from smdebug.core.locations import TensorLocation

        try:
            self._collections = CollectionManager.load_from_string(text).get_collections()
        except Exception as error:  # noqa: BLE001 - it has no error of its own for this
            raise DataError(f"{path} is damaged: {line(error)}.") from None
        self._location = TensorLocation
        self._reader = LocalIndexReader(str(folder))

    def members(self, collection: str) -> tuple[set[str], list[str]]:
        """Return the names and the expressions by which a collection holds tensors."""
        found = self._collections.get(collection)
        if found is None:
            return set(), []
        return {*found.tensor_names, *EXPORTED_TOO_EARLY.get(collection, ())}, list(found.include_regex)

    def tensor(self, name: str, step: SavedStep) -> Array:
        """Read a tensor; raises whatever smdebug's reader does."""
        start, length = step.places[name]
        location = self._location(name, step.mode, step.mode_step, str(step.event_file), start, length, WORKER)
        value: Array = self._reader.fetch_tensor_value(location)
        return value


@dataclass
class SavedStep:
    """One step's index, and its tensors on demand."""

    reader: TensorReader
    number: int
    mode: str
    mode_step: int
    event_file: Path
    written_at: float
    places: dict[str, tuple[int, int]]
    """Tensor name -> first byte and length of its record. A name that was saved twice counts the second time."""
    _values: dict[str, Array] = field(default_factory=dict)

    @classmethod
    def from_index(cls, reader: TensorReader, index: Path) -> SavedStep:
        """Read an index file; raise OSError, ValueError, KeyError or TypeError if it is damaged."""
        document: dict[str, Any] = json.loads(index.read_text(encoding="utf-8"))
        meta = document["meta"]
        return cls(
            reader=reader,
            number=int(index.name.partition("_")[0]),
            mode=str(meta["mode"]).strip(),
            mode_step=int(meta["mode_step"]),
            event_file=reader.folder / meta["event_file_name"],
            written_at=index.stat().st_mtime,
            places={
                str(entry["tensorname"]): (int(entry["start_idx"]), int(entry["length"]))
                for entry in document.get("tensor_payload") or []
            },
        )

    @property
    def size(self) -> int:
        """Return how many bytes the event file must have."""
        return max((start + length for start, length in self.places.values()), default=0)

    def names(self, collections: Sequence[str] = (), patterns: Sequence[str] = ()) -> list[str]:
        """Return the saved tensors of the collections and patterns; all without both."""
        return self._chosen([name for name in self.places if REDUCTIONS not in name], collections, patterns)

    def reduced(self, collections: Sequence[str] = (), patterns: Sequence[str] = ()) -> list[str]:
        """Return the tensors that were saved as reductions alone, chosen likewise."""
        of = {place.split(REDUCTIONS)[1].partition("/")[2] for place in self.places if REDUCTIONS in place}
        return self._chosen([name for name in sorted(of) if name not in self.places], collections, patterns)

    def reduction(self, name: str, kind: str) -> float | None:
        """Return a reduction, None if it is not saved; raise DataError if its record is damaged."""
        place = f"{REDUCTIONS}{kind}/{name}"
        return float(self.value(place).reshape(-1)[0]) if place in self.places else None

    def _chosen(self, saved: list[str], collections: Sequence[str], patterns: Sequence[str]) -> list[str]:
        if not collections and not patterns:
            return saved
        wanted, expressions = set[str](), list(patterns)
        for collection in collections:
            names, more = self.reader.smdebug_reader.members(collection)
            wanted |= names
            expressions += more
        return [name for name in saved if name in wanted or any(re.match(each, name) for each in expressions)]

    def value(self, name: str) -> Array:
        """Return a saved tensor; raise DataError if its record is damaged."""
        if name not in self._values:
            try:
                self._values[name] = self.reader.smdebug_reader.tensor(name, self)
            except Exception as error:  # noqa: BLE001 - anything from a NameError on
                raise DataError(f"{self.event_file}: the record of {name} is damaged: {line(error)}.") from None
        return self._values[name]


def line(error: BaseException) -> str:
    """Return an exception as one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
