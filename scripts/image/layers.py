"""The files of an image, layer by layer, those that a later layer deletes or replaces too.

for layer in layers_of("distilbert-trainer:local"):
    layer.command, layer.files["usr/bin/env"].mode
final_files(layers)["usr/bin/env"]      # as a container sees it
"""

from __future__ import annotations

import json
import subprocess
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any, cast

from scripts.image.errors import ExitCode, ImageError

_KINDS = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.DIRTYPE: "folder",
    tarfile.SYMTYPE: "link",
    tarfile.LNKTYPE: "hard link",
    tarfile.CHRTYPE: "device",
    tarfile.BLKTYPE: "device",
    tarfile.FIFOTYPE: "pipe",
}
_DELETED, _EMPTIED = ".wh.", ".wh..wh..opq"

Read = Callable[[str, IO[bytes]], Any]
"""Given a regular file's path and content, returns what is to be known of it."""


@dataclass(frozen=True)
class File:
    """What a layer's archive says of a path."""

    kind: str
    mode: int
    owner: str
    """Numbers: 0:0."""
    size: int
    modified: int
    """Seconds since 1970."""
    target: str
    """Of a link."""
    content: Any = None
    """What the reader has returned."""


@dataclass(frozen=True)
class Layer:
    """One layer: what made it, and its files by path, without a leading slash."""

    command: str
    files: dict[str, File]


def layers_of(image: str, read: Read = lambda _path, _content: None) -> list[Layer]:
    """Return an image's layers, the lowest first, from one pass over `docker save`."""
    contents: dict[str, dict[str, File]] = {}
    documents: dict[str, bytes] = {}
    command = ["docker", "save", image]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as save:  # noqa: S603
        try:
            with tarfile.open(fileobj=cast("IO[bytes]", save.stdout), mode="r|") as archive:
                for member in archive:
                    content = archive.extractfile(member) if member.isreg() else None
                    if content is None:
                        continue
                    # Old engines write ID/layer.tar and ID.json; new ones blobs/sha256/DIGEST for both.
                    start = content.read(512)
                    if start[257:262] == b"ustar":
                        contents[member.name] = dict(_files(_Continued(start, content), read))
                    else:
                        documents[member.name] = start + content.read()
        except tarfile.TarError as error:
            said = save.stderr.read().decode(errors="replace").strip() if save.stderr else ""
            raise ImageError(ExitCode.BUILD, f"docker save {image}: {said or error}") from None
    (manifest,) = json.loads(documents["manifest.json"])
    history = json.loads(documents[manifest["Config"]])["history"]
    commands = [entry.get("created_by", "") for entry in history if not entry.get("empty_layer")]
    return [Layer(made_by, contents.get(name, {})) for made_by, name in zip(commands, manifest["Layers"], strict=True)]


def final_files(layers: Iterable[Layer]) -> dict[str, File]:
    """Return the files that a container sees: later layers replace and delete those of earlier ones."""
    files: dict[str, File] = {}
    for layer in layers:
        deleted = {path.replace(_DELETED, "") for path in layer.files if _is_whiteout(path)}
        emptied = {path.rpartition("/")[0] for path in layer.files if path.endswith(_EMPTIED)}
        for path in list(files):
            above = _folders_of(path)
            if path in deleted or above & deleted or above & emptied:
                del files[path]
        files |= {path: file for path, file in layer.files.items() if not path.rpartition("/")[2].startswith(_DELETED)}
    return files


def _is_whiteout(path: str) -> bool:
    return path.rpartition("/")[2].startswith(_DELETED) and not path.endswith(_EMPTIED)


def _folders_of(path: str) -> set[str]:
    parts = path.split("/")
    return {"/".join(parts[:length]) for length in range(1, len(parts))}


class _Continued:
    """A stream of which the start has been read already."""

    def __init__(self, start: bytes, rest: IO[bytes]) -> None:
        self._start, self._rest = start, rest

    def read(self, size: int) -> bytes:
        start, self._start = self._start[:size], self._start[size:]
        return start + self._rest.read(size - len(start))


def _files(layer: _Continued, read: Read) -> Iterator[tuple[str, File]]:
    with tarfile.open(fileobj=cast("IO[bytes]", layer), mode="r|*") as archive:
        for member in archive:
            path = member.name.removeprefix("./").rstrip("/")
            if not path or path == ".":
                continue
            content = archive.extractfile(member) if member.isreg() else None
            yield (
                path,
                File(
                    _KINDS.get(member.type, "unknown"),
                    member.mode,
                    f"{member.uid}:{member.gid}",
                    member.size,
                    int(member.mtime),
                    member.linkname,
                    read(path, content) if content else None,
                ),
            )
