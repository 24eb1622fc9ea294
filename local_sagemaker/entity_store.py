"""What the API itself keeps: experiments, trials, trial components of the user's own, tags.

    records = EntityStore(state / "api" / "records.json")
    records.put("experiment", "e", {...}); records.get("experiment", "e"); records.all("experiment")

    records.append(arn, [{"MetricName": "loss", ...}]); records.appended(arn)

Records are in one small file, which is replaced whole; values that come by the thousand are in a file for each
resource, a line each. Safe to use from any thread.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from local_sagemaker.state_files import StateFiles, append, make_folder, write

Record = dict[str, Any]


class EntityStore:
    """Records by kind and name, in the order in which they were made."""

    def __init__(self, path: Path, files: StateFiles | None = None) -> None:
        self._path = path
        self._lock = threading.RLock()
        found = (files or StateFiles()).read(path, _parsed, "experiments, trials, components and tags")
        self._kinds: dict[str, dict[str, Record]] = found or {}
        self._values: dict[str, list[Record]] = {}

    def get(self, kind: str, name: str) -> Record | None:
        """Return a record, or None."""
        return self._kinds.get(kind, {}).get(name)

    def all(self, kind: str) -> list[Record]:
        """Return the records of a kind."""
        with self._lock:
            return list(self._kinds.get(kind, {}).values())

    def put(self, kind: str, name: str, record: Record) -> None:
        """Keep a record, in place of the one that has its name."""
        with self._lock:
            self._write(self._kinds | {kind: self._kinds.get(kind, {}) | {name: record}})

    def add(self, kind: str, name: str, record: Record) -> bool:
        """Keep a new record; False, and nothing done, if its name is taken."""
        with self._lock:
            if self.get(kind, name) is not None:
                return False
            self.put(kind, name, record)
            return True

    def change(self, kind: str, name: str, change: Callable[[Record], Record]) -> Record | None:
        """Replace a record by what `change` makes of it, and return that; None if there is none."""
        with self._lock:
            record = self.get(kind, name)
            if record is None:
                return None
            changed = change(record)
            if changed != record:
                self.put(kind, name, changed)
            return changed

    def delete(self, kind: str, name: str) -> None:
        """Forget a record."""
        with self._lock:
            others = {other: record for other, record in self._kinds.get(kind, {}).items() if other != name}
            self._write(self._kinds | {kind: others})

    def append(self, arn: str, rows: list[Record]) -> None:
        """Keep values of a resource behind those that it has."""
        with self._lock:
            known = self.appended(arn)
            path = self._values_path(arn)
            make_folder(path.parent)
            append(path, "".join(f"{json.dumps(row)}\n" for row in rows).encode())
            self._values[arn] = [*known, *rows]

    def appended(self, arn: str) -> list[Record]:
        """Return the values of a resource in their order; a line that a crash has cut is passed over."""
        with self._lock:
            if arn not in self._values:
                path = self._values_path(arn)
                lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
                self._values[arn] = list(_readable(lines))
            return self._values[arn]

    def forget_appended(self, arn: str) -> None:
        """Forget the values of a resource."""
        with self._lock:
            self._values.pop(arn, None)
            self._values_path(arn).unlink(missing_ok=True)

    def _values_path(self, arn: str) -> Path:
        return self._path.parent / "values" / f"{hashlib.sha256(arn.encode()).hexdigest()}.jsonl"

    def _write(self, kinds: dict[str, dict[str, Record]]) -> None:
        write(self._path, json.dumps(kinds, indent=1).encode())
        self._kinds = kinds


def _parsed(content: bytes) -> dict[str, dict[str, Record]]:
    kinds: dict[str, dict[str, Record]] = json.loads(content)
    if not all(isinstance(record, dict) for records in kinds.values() for record in records.values()):
        raise ValueError("it does not hold records by kind and name")
    return kinds


def _readable(lines: Iterable[str]) -> Iterator[Record]:
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:
            continue
