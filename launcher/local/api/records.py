"""What the API itself keeps: experiments, trials, trial components of the user's own, tags.

    records = Records(state / "api" / "records.json")
    records.put("experiment", "e", {...}); records.get("experiment", "e"); records.all("experiment")

All of it in one small file, which is replaced whole. Safe to use from any thread.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

Record = dict[str, Any]


class Records:
    """Records by kind and name, in the order in which they were made."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._kinds: dict[str, dict[str, Record]] = {}
        if path.exists():
            self._kinds = json.loads(path.read_text(encoding="utf-8"))

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

    def delete(self, kind: str, name: str) -> None:
        """Forget a record."""
        with self._lock:
            others = {other: record for other, record in self._kinds.get(kind, {}).items() if other != name}
            self._write(self._kinds | {kind: others})

    def _write(self, kinds: dict[str, dict[str, Record]]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        aside = self._path.with_suffix(".new")
        aside.write_text(json.dumps(kinds, indent=1), encoding="utf-8")
        aside.replace(self._path)
        self._kinds = kinds
