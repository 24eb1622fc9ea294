"""Which files a channel is made of: those below its folder that are not hidden, in nested and in linked folders too.

visible_files(Path("/opt/ml/input/data/train"), "*.tfrecord")
"""

from __future__ import annotations

import fnmatch
import os
from pathlib import Path
from typing import NoReturn

from star_rating.failures import DataError


def visible_files(folder: Path, pattern: str) -> tuple[Path, ...]:
    """Return the files whose names match, sorted by path, so that their order never depends on the file system.

    A folder that links lead to several times, or in a circle, counts once. Raises DataError for what cannot be read:
    leaving it out would be training on other data than was asked for.
    """
    found: list[Path] = []
    visited: set[str] = set()
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=_cannot_be_listed):
        if os.path.realpath(parent) in visited:
            folders.clear()
            continue
        visited.add(os.path.realpath(parent))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found.extend(
            _checked(Path(parent, name))
            for name in names
            if fnmatch.fnmatchcase(name, pattern) and not name.startswith(".")
        )
    return tuple(sorted(found))


def _checked(path: Path) -> Path:
    if path.is_symlink() and not path.exists():
        raise DataError(
            f"{path} is a link to {path.readlink()}, which is not there inside the container. Mount the file itself, "
            "or what the link leads to as well."
        )
    if not path.is_file():
        raise DataError(f"{path} is neither a file nor a folder. Put the file itself there.")
    if not os.access(path, os.R_OK):
        raise DataError(f"User {os.getuid()} may not read {path}. Make it readable (chmod a+r).")
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise DataError(f"{os.fsencode(path)!r} is a name that is not UTF-8. Give the file another name.") from None
    return path


def _cannot_be_listed(error: OSError) -> NoReturn:
    raise DataError(
        f"User {os.getuid()} cannot list {error.filename}: {error.strerror}. Make the folder readable (chmod a+rx)."
    )
