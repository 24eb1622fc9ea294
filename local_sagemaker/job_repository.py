"""Job states on disk: <state>/jobs/<kind>/<key>/job.json, replaced whole, so that no crash leaves half of one.

    store = JobRepository(Path("state"))
    store.add(job); store.change("training", "star-rating-1", lambda job: job.changed(attempt=1))

Beside a document lie the job's log and metrics (log/, metrics.jsonl) and, while it runs, its hosts' volumes (hosts/).
A new job that the disk does not take is refused. A change of one that is there holds in any case: what the disk does
not take now is written as soon as it does.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from local_sagemaker.job_state import Job, Kind
from local_sagemaker.state import REGION, job_key
from local_sagemaker.state_files import DAMAGED, StateFiles, StorageError, refuse_full_disk, write

Key = tuple[Kind, str, str]
"""Kind, name and region: a name is unique in its region alone."""

_DOCUMENT = "job.json"
_RETRY_SECONDS = 1.0

_log = logging.getLogger(__name__)


class JobRepository:
    """All documents of a state folder, in memory and on disk; safe to use from any thread of one process."""

    def __init__(self, state: Path, files: StateFiles | None = None) -> None:
        self._root = state / "jobs"
        self._files = files or StateFiles()
        self._lock = threading.RLock()
        self._unwritten: dict[Key, Job] = {}
        self._retrying: threading.Thread | None = None
        self._closed = threading.Event()
        self._folders: dict[Key, Path] = {}
        self._jobs: dict[Key, Job] = {}
        for folder, job in self._read():
            self._folders[_key(job)], self._jobs[_key(job)] = folder, job

    @property
    def has_lost_jobs(self) -> bool:
        """Whether there were jobs whose documents are damaged: what they have left is nobody's."""
        return any(self._root.glob(f"*/*/{_DOCUMENT}{DAMAGED}*"))

    def folder(self, kind: Kind, name: str, region: str = REGION) -> Path:
        """Return where a job's files are."""
        return self._folders.get((kind, name, region)) or self._root / kind / job_key(name, region)

    def _new_folder(self, job: Job) -> Path:
        """Return a folder of its own: an older version gave jobs of any region their bare names."""
        folder = self.folder(*_key(job))
        return folder.with_name(f"{job.name}.{job.region}") if folder in self._folders.values() else folder

    def get(self, kind: Kind, name: str, region: str = REGION) -> Job | None:
        """Return a job, or None."""
        return self._jobs.get((kind, name, region))

    def all(self, kind: Kind) -> list[Job]:
        """Return every job of a kind, in no order."""
        with self._lock:
            return [job for job in self._jobs.values() if job.kind == kind]

    def add(self, job: Job) -> bool:
        """Keep a new job; False, and nothing done, if its name is taken. Raise StorageError."""
        with self._lock:
            if _key(job) in self._jobs:
                return False
            refuse_full_disk(self._root)
            self._folders[_key(job)] = folder = self._new_folder(job)
            _clear(folder)
            try:
                self._write(job)
            except StorageError:
                _clear(folder)
                del self._folders[_key(job)]
                raise
            self._jobs[_key(job)] = job
            return True

    def change(self, kind: Kind, name: str, change: Callable[[Job], Job], region: str = REGION) -> Job | None:
        """Replace a job by what `change` makes of it; None if there is none."""
        with self._lock:
            job = self._jobs.get((kind, name, region))
            if job is None:
                return None
            self._keep(changed := change(job))
            return changed

    def close(self) -> None:
        """Write once more what the disk has not taken so far."""
        self._closed.set()
        if self._retrying is not None:
            self._retrying.join()
        with self._lock:
            self._write_again()
            for kind, name, region in self._unwritten:
                _log.error("the last changes of the %s job %s in %s are lost: the disk is full", kind, name, region)

    def delete(self, kind: Kind, name: str, region: str = REGION) -> None:
        """Forget a job and its files."""
        with self._lock:
            folder = self.folder(kind, name, region)
            (folder / _DOCUMENT).unlink(missing_ok=True)
            del self._jobs[kind, name, region]
            self._folders.pop((kind, name, region), None)
            self._unwritten.pop((kind, name, region), None)
            shutil.rmtree(folder, ignore_errors=True)

    def _keep(self, job: Job) -> None:
        """Write a job, then show it: what a client has seen outlives a server that is killed at that moment."""
        self._unwritten[_key(job)] = job
        self._write_again()
        self._jobs[_key(job)] = job
        if self._unwritten and self._retrying is None and not self._closed.is_set():
            self._retrying = threading.Thread(target=self._retry, name="unwritten jobs", daemon=True)
            self._retrying.start()

    def _write(self, job: Job) -> None:
        write(self.folder(*_key(job)) / _DOCUMENT, job.model_dump_json(indent=1).encode())

    def _write_again(self) -> None:
        """Write every job whose newest document is in memory alone, as far as the disk takes it."""
        for key, job in list(self._unwritten.items()):
            try:
                self._write(job)
            except StorageError as error:
                if self._retrying is None:
                    _log.error("%s; the job %s goes on, and is written as soon as there is room", error, job.name)
                return
            del self._unwritten[key]

    def _retry(self) -> None:
        while not self._closed.wait(_RETRY_SECONDS):
            with self._lock:
                self._write_again()
                if not self._unwritten:
                    self._retrying = None
                    return

    def _read(self) -> list[tuple[Path, Job]]:
        found = []
        for path in sorted(self._root.glob(f"*/*/{_DOCUMENT}")):
            kind, key = path.parent.parent.name, path.parent.name
            job = self._files.read(path, _parsed, f"the {kind} job {key}")
            if job is None:
                continue
            if (job.kind, job.name) != (kind, key.partition(".")[0]):
                self._files.put_aside(path, f"it is of the {job.kind} job {job.name}", f"the {kind} job {key}")
                continue
            found.append((path.parent, job))
        return found


def _parsed(content: bytes) -> Job:
    try:
        return Job.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))) from None


def _clear(folder: Path) -> None:
    """Delete what a job has left, whose deletion or creation was cut short; what was damaged stays."""
    if any(folder.glob(f"*{DAMAGED}*")):
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif DAMAGED not in path.name:
                path.unlink(missing_ok=True)
    else:
        shutil.rmtree(folder, ignore_errors=True)


def _key(job: Job) -> Key:
    return job.kind, job.name, job.region
