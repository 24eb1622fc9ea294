"""Which files a folder holds, for `prepare` and for training alike: in nested and in linked folders too.

    tree = walk(Path("/opt/ml/processing/input"), hidden="._")
    tree.files, tree.hidden
    visible_files(Path("/opt/ml/input/data/train"), "*.tfrecord")

A folder that links lead to several times, or in a circle, counts once. What cannot be read raises DataError: leaving
it out would be training on other data than was asked for.
"""

from __future__ import annotations

import errno
import fnmatch
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from star_rating.failures import DataError


@dataclass(frozen=True)
class Tree:
    """What a folder holds, sorted by path, so that the order never depends on the file system."""

    files: tuple[Path, ...]
    """All but the hidden ones; `readable` says whether one can be read."""
    hidden: tuple[Path, ...]
    """Files and folders that were left out for the first character of their name."""


def walk(folder: Path, hidden: str = ".") -> Tree:
    """Return what a folder and those below it hold; a name that starts with a character of `hidden` is left out.

    Raise DataError for a folder that cannot be listed and for a link that leads nowhere.
    """
    files: list[Path] = []
    left_out: list[Path] = []
    visited: set[str] = set()
    waiting = [folder]
    while waiting:
        parent = waiting.pop()
        place = os.path.realpath(parent)
        if place in visited:
            continue
        visited.add(place)
        folders: list[Path] = []
        for entry in _listed(parent):
            path = parent / entry.name
            if entry.name[0] in hidden:
                left_out.append(path)
            elif entry.is_symlink():
                (folders if _is_folder(path) else files).append(path)
            else:
                (folders if entry.is_dir() else files).append(path)
        waiting.extend(sorted(folders, reverse=True))
    return Tree(tuple(sorted(files)), tuple(sorted(left_out)))


def visible_files(folder: Path, pattern: str) -> tuple[Path, ...]:
    """Return the files that are not hidden and whose names match; all can be read, and have names in UTF-8."""
    found = [path for path in walk(folder).files if fnmatch.fnmatchcase(path.name, pattern)]
    return tuple(_named_in_utf8(readable(path)) for path in found)


def readable(path: Path) -> Path:
    """Return the path of a file that can be read; raise DataError that names what is wrong with any other."""
    status(path)
    if not path.is_file():
        raise DataError(f"{printable(path)} is neither a file nor a folder. Put the file itself there.")
    if not os.access(path, os.R_OK):
        raise DataError(f"User {os.getuid()} may not read {printable(path)}. Make it readable (chmod a+r).")
    return path


def status(path: Path) -> os.stat_result:
    """Return what the system says of what is at a path; raise DataError that says why it says nothing."""
    try:
        return path.stat()
    except OSError as error:
        shown = printable(path)
        match error.errno:
            case errno.ENOENT | errno.ENOTDIR if path.is_symlink():
                raise DataError(
                    f"{shown} is a link to {printable(path.readlink())}, which is not there inside the container. "
                    "Mount the file itself, or what the link leads to as well."
                ) from None
            case errno.ENOENT | errno.ENOTDIR:
                raise DataError(f"{shown} does not exist. Check the path, and what the container mounts.") from None
            case errno.ELOOP:
                raise DataError(f"{shown} is a link that leads in a circle. Put the file itself there.") from None
            case errno.EACCES:
                raise DataError(
                    f"User {os.getuid()} may not reach {shown}: {error.strerror}. Make the folders on the way to it "
                    "readable (chmod a+rx)."
                ) from None
            case _:
                raise DataError(f"{shown} cannot be looked at: {error.strerror}. Copy it again.") from None


def file_sha256(path: Path) -> str:
    """Return a file's SHA-256, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def printable(path: Path | str) -> str:
    """Return a path for people and for JSON: bytes that are not UTF-8, and line breaks, as escapes."""
    try:
        text = os.fsencode(path).decode(errors="backslashreplace")
    except UnicodeEncodeError:  # no path of a file: half a pair of UTF-16
        text = str(path).encode(errors="backslashreplace").decode()
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise DataError(
            f"User {os.getuid()} cannot list {printable(folder)}: {error.strerror}. Make the folder readable "
            "(chmod a+rx)."
        ) from None


def _is_folder(link: Path) -> bool:
    status(link)
    return link.is_dir()


def _named_in_utf8(path: Path) -> Path:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise DataError(f"{os.fsencode(path)!r} is a name that is not UTF-8. Give the file another name.") from None
    return path
