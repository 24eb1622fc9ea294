"""Job documents on disk: <state>/jobs/<kind>/<name>/job.json, replaced whole, so that no crash leaves half of one.

    store = JobStore(Path("state"))
    store.add(job); store.change("training", "star-rating-1", lambda job: job.changed(attempt=1))

Beside a document lie the job's log and metrics (log/, metrics.jsonl) and, while it runs, its hosts' disks (hosts/).
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from launcher.errors import LauncherError
from launcher.local.document import Job, Kind
from launcher.local.state import REGION, job_key

Key = tuple[Kind, str, str]
"""Kind, name and region: a name is unique in its region alone."""

_DOCUMENT = "job.json"


class DamagedStateError(LauncherError):
    """The state folder holds what this version cannot read."""


class JobStore:
    """All documents of a state folder, in memory and on disk; safe to use from any thread of one process."""

    def __init__(self, state: Path) -> None:
        self._root = state / "jobs"
        self._lock = threading.RLock()
        self._folders: dict[Key, Path] = {}
        self._jobs: dict[Key, Job] = {}
        for folder, job in self._read():
            self._folders[_key(job)], self._jobs[_key(job)] = folder, job

    def folder(self, kind: Kind, name: str, region: str = REGION) -> Path:
        """Return where a job's files are."""
        return self._folders.get((kind, name, region)) or self._root / kind / job_key(name, region)

    def get(self, kind: Kind, name: str, region: str = REGION) -> Job | None:
        """Return a job, or None."""
        return self._jobs.get((kind, name, region))

    def all(self, kind: Kind) -> list[Job]:
        """Return every job of a kind, in no order."""
        with self._lock:
            return [job for job in self._jobs.values() if job.kind == kind]

    def add(self, job: Job) -> bool:
        """Keep a new job; False, and nothing done, if its name is taken."""
        with self._lock:
            if _key(job) in self._jobs:
                return False
            shutil.rmtree(self.folder(*_key(job)), ignore_errors=True)  # of a deletion that was cut short
            self._keep(job)
            return True

    def change(self, kind: Kind, name: str, change: Callable[[Job], Job], region: str = REGION) -> Job | None:
        """Replace a job by what `change` makes of it; None if there is none."""
        with self._lock:
            job = self._jobs.get((kind, name, region))
            if job is None:
                return None
            self._keep(changed := change(job))
            return changed

    def delete(self, kind: Kind, name: str, region: str = REGION) -> None:
        """Forget a job and its files."""
        with self._lock:
            del self._jobs[kind, name, region]
            folder = self.folder(kind, name, region)
            self._folders.pop((kind, name, region), None)
            (folder / _DOCUMENT).unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)

    def _keep(self, job: Job) -> None:
        path = self.folder(*_key(job)) / _DOCUMENT
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(".new")
        aside.write_text(job.model_dump_json(indent=1), encoding="utf-8")
        aside.replace(path)
        self._jobs[_key(job)] = job

    def _read(self) -> list[tuple[Path, Job]]:
        jobs = []
        for path in sorted(self._root.glob(f"*/*/{_DOCUMENT}")):
            try:
                jobs.append((path.parent, Job.model_validate_json(path.read_text(encoding="utf-8"))))
            except ValidationError as error:
                first = error.errors()[0]
                raise DamagedStateError(
                    f"{path} is not a job of this version ({'.'.join(map(str, first['loc']))}: {first['msg']}); "
                    "delete its folder, or name another state folder with --state"
                ) from None
        return jobs


def _key(job: Job) -> Key:
    return job.kind, job.name, job.region
