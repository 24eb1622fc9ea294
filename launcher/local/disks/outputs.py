"""What hosts leave in /opt/ml/model and /opt/ml/output/data, merged: one archive of each, or the files as they are.

results = merged([("algo-1", folder_1), ("algo-2", folder_2)])      # raises ClashError
write_archive(results, Path("model.tar.gz"))
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.local.disks import tree

_LEVEL = 1
"""Of gzip: weights hardly get smaller, and the job waits."""


class ClashError(Exception):
    """Two hosts have written the same name."""


@dataclass(frozen=True)
class Results:
    """The folders of all hosts as one."""

    folders: tuple[Path, ...]
    files: int


def merged(folders: Sequence[tuple[str, Path]]) -> Results:
    """Look through the hosts' folders; raise ClashError where two have the same file."""
    owners: dict[str, str] = {}
    for host, folder in folders:
        for file in tree.files(folder):
            if file.path in owners:
                raise ClashError(
                    f"{owners[file.path]} and {host} have both written {file.path}; "
                    "the hosts of a job share one archive, so each needs names of its own"
                )
            owners[file.path] = host
    return Results(tuple(folder for _, folder in folders), len(owners))


def write_archive(results: Results, path: Path) -> None:
    """Write the hosts' files into one tar.gz, links as links, owned by nobody in particular."""
    written = set()
    with tarfile.open(path, "w:gz", compresslevel=_LEVEL) as tar:
        for folder in results.folders:
            for name in sorted(_everything(folder)):
                tar.inodes.clear()  # type: ignore[attr-defined]  # or the second name of one file would be a link
                member = tar.gettarinfo(folder / name, arcname=name)
                if name in written or not (member.isfile() or member.isdir() or member.issym()):
                    continue  # a folder of several hosts; a socket, a device, a FIFO
                written.add(name)
                member.uid = member.gid = 0
                member.uname = member.gname = ""
                if member.isfile():
                    with (folder / name).open("rb") as content:
                        tar.addfile(member, content)
                else:
                    tar.addfile(member)


def _everything(folder: Path) -> list[str]:
    """Return what is below a folder, seen from it; nothing below a link."""
    if folder.is_symlink():
        return []
    return [
        os.path.relpath(os.path.join(path, name), folder)  # noqa: PTH118
        for path, folders, names in os.walk(folder)
        for name in (*folders, *names)
    ]
