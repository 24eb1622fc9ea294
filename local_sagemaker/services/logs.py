"""Log lines: written to the job's folder, and to moto's CloudWatch Logs, from which everybody reads them.

    stream = LogStream(GROUPS["training"], "us-east-1", "star-rating-1/algo-1-1732274634", folder / "log")
    stream.write([LogLine(time.time_ns(), "epoch 1")])
    stream.kept()                   # Kept(lines=1, digest=...): what need not be read again

Straight into moto's memory, not through its API: lines come by the thousand, and those of a job that is older than two
weeks, which the API would refuse, have to come back when the server is started anew.
"""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from moto.logs.models import LogStream as MotoStream
from moto.logs.models import logs_backends

from local_sagemaker.docker_client.container_log import LogLine
from local_sagemaker.job_state import Kind
from local_sagemaker.state import ACCOUNT
from local_sagemaker.state_files import append, write

GROUPS: dict[Kind, str] = {"training": "/aws/sagemaker/TrainingJobs", "processing": "/aws/sagemaker/ProcessingJobs"}


@dataclass
class Kept:
    """The beginning of a container's log: how many lines, and which."""

    lines: int = 0
    digest: int = 0
    """Of this process: good for comparing, not for keeping."""

    def add(self, line: LogLine) -> None:
        """Count one more line."""
        self.lines += 1
        self.digest = hash((self.digest, line.time, line.text))


class LogStream:
    """One host's stream of an attempt; for one thread at a time."""

    def __init__(self, group: str, region: str, name: str, folder: Path) -> None:
        self._path = folder / f"{name.rpartition('/')[2]}.jsonl"
        self._stream = _moto_stream(group, region, name)
        folder.mkdir(parents=True, exist_ok=True)

    def kept(self) -> Kept:
        """Return what is here of the container's log: a reader goes on behind it."""
        kept = Kept()
        for line in read(self._path):
            if not line.is_note:
                kept.add(line)
        return kept

    def write(self, lines: Sequence[LogLine]) -> None:
        """Append lines; raise StorageError."""
        append(self._path, "".join(map(_row, lines)).encode())
        self._stream.put_log_events(_events(lines))

    def clear(self) -> None:
        """Take every line of the container's back: they are written anew; the platform's own stay."""
        notes = [line for line in read(self._path) if line.is_note]
        write(self._path, "".join(map(_row, notes)).encode())
        self._stream.events = []
        self._stream.stored_bytes = 0
        if notes:
            self._stream.put_log_events(_events(notes))


def load(kind: Kind, region: str, job_name: str, folder: Path) -> None:
    """Bring a job's log back into moto."""
    load_group(GROUPS[kind], region, folder, job_name)


def load_group(group: str, region: str, folder: Path, prefix: str = "") -> None:
    """Bring a folder's streams back into a group; without a prefix, the folder's own name is that of the streams."""
    for path in sorted(folder.glob("*.jsonl")):
        stream = _moto_stream(group, region, f"{prefix or folder.name}/{path.stem}")
        lines = list(read(path))
        if lines:
            stream.put_log_events(_events(lines))
            stream.creation_time = dt.datetime.fromtimestamp(lines[0].time / 1e9, dt.UTC).replace(tzinfo=None)


def forget(kind: Kind, region: str, job_name: str) -> None:
    """Take a job's log out of moto."""
    group = logs_backends[ACCOUNT][region].groups.get(GROUPS[kind])
    if group is not None:
        for name in [name for name in group.streams if name.startswith(f"{job_name}/")]:
            del group.streams[name]


def read(path: Path) -> Iterator[LogLine]:
    """Yield the lines of a stream's file; the last one may have been cut by the end of the server."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for text in file:
            try:
                line = json.loads(text)
                yield LogLine(int(line["t"]), str(line["m"]), bool(line.get("note")))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue


def _row(line: LogLine) -> str:
    row = {"t": line.time, "m": line.text} | ({"note": True} if line.is_note else {})
    return json.dumps(row, ensure_ascii=False) + "\n"


_making = threading.Lock()


def _moto_stream(group: str, region: str, name: str) -> MotoStream:
    backend = logs_backends[ACCOUNT][region]
    with _making:
        if group not in backend.groups:
            backend.create_log_group(group, tags={})
        if name not in backend.groups[group].streams:
            backend.create_log_stream(group, name)
        return backend.groups[group].streams[name]


def _events(lines: Sequence[LogLine]) -> list[dict[str, object]]:
    # AWS takes no empty message.
    return [{"timestamp": line.time // 1_000_000, "message": line.text or " "} for line in lines]
