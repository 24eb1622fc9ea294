"""What hosts leave in /opt/ml/model and /opt/ml/output/data, merged: one archive of each, or the files as they are.

results = merged([("algo-1", folder_1), ("algo-2", folder_2)])      # raises ClashError
write_archive(results, Path("model.tar.gz"))
"""

from __future__ import annotations

import stat
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from local_sagemaker.volumes import safe_files

_LEVEL = 1
"""Of gzip: weights hardly get smaller, and the job waits."""

SelectionOf = Callable[[str], safe_files.Selection]
"""Host -> which of its files are sent, and who is told of the others."""

_TYPES = {"file": tarfile.REGTYPE, "folder": tarfile.DIRTYPE, "link": tarfile.SYMTYPE}


class ClashError(Exception):
    """Two hosts have written the same name."""


def everything(_: str) -> safe_files.Selection:
    """Return the selection that leaves nothing out without need."""
    return safe_files.EVERYTHING


@dataclass(frozen=True)
class Results:
    """The folders of all hosts as one."""

    folders: tuple[tuple[str, Path], ...]
    files: int
    selection_of: SelectionOf = everything


def merged(folders: Sequence[tuple[str, Path]], selection_of: SelectionOf = everything) -> Results:
    """Look through the hosts' folders; raise ClashError where two have the same file."""
    owners: dict[str, tuple[str, str]] = {}
    for host, folder in folders:
        # Who is told is told once, when the files are sent.
        for entry in safe_files.entries(folder, safe_files.Selection(selection_of(host).largest)):
            if entry.kind == "folder":
                continue
            owner, target = owners.setdefault(entry.path, (host, entry.target))
            if owner != host and not (entry.kind == "link" and entry.target == target):
                raise ClashError(
                    f"{owner} and {host} have both written {safe_files.shown(entry.path)}; "
                    "the hosts of a job share one archive, so each needs names of its own"
                )
    return Results(tuple(folders), len(owners), selection_of)


def write_archive(results: Results, path: Path) -> None:
    """Write the hosts' files into one tar.gz, links as links, owned by nobody in particular."""
    written = set()
    with tarfile.open(path, "w:gz", compresslevel=_LEVEL) as tar:
        for host, folder in results.folders:
            selection = results.selection_of(host)
            for entry in safe_files.entries(folder, selection):
                if entry.path in written:
                    continue  # a folder of several hosts
                try:
                    content = entry.open() if entry.kind == "file" else None
                except OSError as error:
                    selection.left_out(entry.path, f"cannot be read: {error.strerror or error}")
                    continue
                written.add(entry.path)
                _add(tar, entry, content)


def _add(tar: tarfile.TarFile, entry: safe_files.Entry, content: BinaryIO | None) -> None:
    member = tarfile.TarInfo(entry.path)
    member.type = _TYPES[entry.kind]
    member.mode = stat.S_IMODE(entry.status.st_mode)
    member.mtime = int(entry.status.st_mtime)
    member.linkname = entry.target
    if content is None:
        tar.addfile(member)
        return
    with content:
        member.size = entry.size
        tar.addfile(member, _Padded(content))


class _Padded:
    """A file with zeros behind its end: one that has got shorter still fills the place that its header promises."""

    def __init__(self, content: BinaryIO) -> None:
        self._content = content

    def read(self, size: int = -1, /) -> bytes:
        return self._content.read(size).ljust(size, b"\0")
