"""Folders that a container writes into: read, written and deleted without ever following a link out of them.

    for entry in entries(folder, selection): entry.path, entry.kind, entry.open()
    for file in files(folder, selection): file.path, file.size, file.open()
    read(folder, "failure", 1 << 16); replace(folder, "resourceconfig.json", content); wipe(folder)

A container may replace anything below its volumes by a link or a device, at any moment. So paths are walked from the
root folder on by descriptors, one name after the other, and no link is entered; a name is looked at and opened by one
descriptor, so that nothing comes in between. The paths that are given have no links of their own: State resolves them.
What is not sent is said to the selection: a path, and why.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

LeftOut = Callable[[str, str], None]

_LOOK = getattr(os, "O_PATH", os.O_RDONLY | os.O_NONBLOCK)
"""Opens anything, and does nothing to it: a device stays alone, a FIFO does not wait."""

_HAS_PATHS = hasattr(os, "O_PATH")

_DEEPEST = 64
"""Folders within each other that are walked: each takes a descriptor."""

_LONGEST_KEY = 1024
"""Bytes of a key in S3."""

_KINDS = {stat.S_IFSOCK: "a socket", stat.S_IFIFO: "a FIFO", stat.S_IFBLK: "a device", stat.S_IFCHR: "a device"}


def _ignore(path: str, reason: str) -> None:
    """Say nothing of what is left out."""


@dataclass(frozen=True)
class Selection:
    """Which of a host's files are sent, and who is told of the others."""

    largest: int | None = None
    """Bytes of a file, at most: a sparse one may have more than any disk."""
    left_out: LeftOut = _ignore


EVERYTHING = Selection()
"""Nothing is left out without need, and nobody is told."""


@dataclass(frozen=True)
class Entry:
    """A file, a folder or a link, valid until the next one is yielded."""

    path: str
    """Seen from the folder, with slashes; bytes that are not UTF-8 as os.fsdecode has them."""
    kind: Literal["file", "folder", "link"]
    status: os.stat_result
    folder_descriptor: int
    target: str = ""
    """Of a link."""

    @property
    def size(self) -> int:
        """Bytes of a file when it was looked at; no more are ever read."""
        return self.status.st_size

    @property
    def signature(self) -> tuple[int, int, int]:
        """What changes when the file does."""
        return self.status.st_ino, self.status.st_size, self.status.st_mtime_ns

    def open(self) -> BinaryIO:
        """Open a file for reading; raise OSError if it has gone or has become anything else."""
        name = self.path.rpartition("/")[2]
        return io.BufferedReader(_Bounded(_open_file(name, self.folder_descriptor), self.size), 1 << 20)


def entries(folder: Path, selection: Selection = EVERYTHING) -> Iterator[Entry]:
    """Yield what is below a folder, by name, a folder before what is in it; nothing where there is no folder."""
    with ExitStack() as stack:
        try:
            top = stack.enter_context(_folder(folder))
        except OSError as error:
            if error.errno != errno.ENOENT:
                selection.left_out("", _reason(error))
            return
        yield from _entries(top, "", 0, selection)


def files(folder: Path, selection: Selection = EVERYTHING) -> Iterator[Entry]:
    """Yield the regular files below a folder that S3 can have under their names."""
    left_out = selection.left_out
    for entry in entries(folder, selection):
        if entry.kind == "link":
            left_out(entry.path, "is a link, and S3 has none")
        elif entry.kind == "file" and (reason := _no_key(entry.path)):
            left_out(entry.path, reason)
        elif entry.kind == "file":
            yield entry


def read(folder: Path, name: str, most: int) -> bytes | None:
    """Return how a file begins, at most so many bytes; None if there is no such regular file."""
    try:
        with _folder(folder) as inside, os.fdopen(_open_file(name, inside), "rb") as file:
            return file.read(most)
    except OSError:
        return None


def exists(folder: Path) -> bool:
    """Tell whether there is such a folder, and no link in its place."""
    try:
        with _folder(folder):
            return True
    except OSError:
        return False


def create(folder: Path, path: str) -> BinaryIO:
    """Make a file below a folder, with the folders that its path names; raise OSError if it is there."""
    parts = path.split("/")
    with _folder(folder.joinpath(*parts[:-1]), make=True) as inside:
        descriptor = os.open(parts[-1], os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644, dir_fd=inside)
        return os.fdopen(descriptor, "wb")


def replace(folder: Path, path: str, content: bytes | BinaryIO) -> None:
    """Write a file below a folder, whole or not at all, over what is there; raise OSError."""
    parts = path.split("/")
    with _folder(folder.joinpath(*parts[:-1]), make=True) as inside:
        aside = f".{parts[-1][:200]}.part"
        with suppress(FileNotFoundError):
            os.unlink(aside, dir_fd=inside)
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644, dir_fd=inside)
        with os.fdopen(descriptor, "wb") as file:
            for chunk in [content] if isinstance(content, bytes) else iter(lambda: content.read(1 << 20), b""):
                file.write(chunk)
        os.rename(aside, parts[-1], src_dir_fd=inside, dst_dir_fd=inside)


def link(source: Path, folder: Path, path: str) -> None:
    """Make a second name for a file of the server's, below a folder; raise OSError."""
    parts = path.split("/")
    with _folder(folder.joinpath(*parts[:-1]), make=True) as inside:
        os.link(source, parts[-1], dst_dir_fd=inside, follow_symlinks=False)


def make_fifo(folder: Path, name: str) -> None:
    """Make a FIFO, unless the name is taken; raise OSError."""
    with _folder(folder, make=True) as inside, suppress(FileExistsError):
        os.mkfifo(name, dir_fd=inside)


def open_fifo(folder: Path, name: str) -> int:
    """Open a FIFO for writing without waiting; raise OSError, ENXIO while nobody reads."""
    with _folder(folder) as inside:
        descriptor = os.open(name, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW, dir_fd=inside)
    if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is no FIFO any more")


def wipe(folder: Path) -> None:
    """Delete a folder with all that a container has left in it: unreadable, deep, whatever it is."""
    with suppress(OSError):
        with _folder(folder) as top:
            # Folders that are too deep come up to the top, where they are the next ones.
            while _empty(top, top, 0):
                pass
        folder.rmdir()


def shown(path: str) -> str:
    """Return a path for a log: bytes that are no text are escaped, and so are line breaks."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in os.fsencode(path).decode("utf-8", "backslashreplace")
    )


def _entries(descriptor: int, prefix: str, depth: int, selection: Selection) -> Iterator[Entry]:
    left_out, largest = selection.left_out, selection.largest
    for name in sorted(os.listdir(descriptor)):
        path = prefix + name
        try:
            status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                yield Entry(path, "link", status, descriptor, os.readlink(name, dir_fd=descriptor))
            elif stat.S_ISDIR(status.st_mode):
                yield Entry(path, "folder", status, descriptor)
                if depth >= _DEEPEST:
                    left_out(path, f"is a folder within {_DEEPEST} others")
                    continue
                with _opened(name, descriptor) as inner:
                    yield from _entries(inner, f"{path}/", depth + 1, selection)
            elif not stat.S_ISREG(status.st_mode):
                left_out(path, f"is {_KINDS.get(stat.S_IFMT(status.st_mode), 'no file')}")
            elif largest is not None and status.st_size > largest:
                left_out(path, f"has {status.st_size} bytes, more than the job's volume")
            else:
                yield Entry(path, "file", status, descriptor)
        except OSError as error:
            if error.errno != errno.ENOENT:  # gone meanwhile
                left_out(path, _reason(error))


def _no_key(path: str) -> str | None:
    """Return why a path cannot be a key in S3."""
    try:
        length = len(path.encode())
    except UnicodeEncodeError:
        return "has a name that is not UTF-8"
    return f"has a path of more than {_LONGEST_KEY} bytes" if length > _LONGEST_KEY else None


def _reason(error: OSError) -> str:
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return "is a link, or on the way to it is one"
    return f"cannot be read: {error.strerror or error}"


@contextmanager
def _folder(path: Path, *, make: bool = False) -> Iterator[int]:
    """Open a folder, each part of its path by its name in the one before; raise OSError where one is a link."""
    parts = Path(os.path.abspath(path)).parts  # noqa: PTH100 - `..` are gone without a look at the disk
    descriptor = os.open(parts[0], _LOOK | os.O_DIRECTORY)
    try:
        for part in parts[1:]:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(part, 0o755, dir_fd=descriptor)
            outer, descriptor = descriptor, _enter(part, descriptor)
            os.close(outer)
        with _readable(descriptor) as readable:
            yield readable
    finally:
        os.close(descriptor)


def _enter(name: str, folder: int) -> int:
    """Open a folder in a folder, without reading it; raise OSError."""
    try:
        return os.open(name, _LOOK | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
    except PermissionError:
        os.chmod(f"/proc/self/fd/{folder}", stat.S_IMODE(os.fstat(folder).st_mode) | 0o700)  # noqa: PTH101
        return os.open(name, _LOOK | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)


@contextmanager
def _opened(name: str, folder: int) -> Iterator[int]:
    """Open a folder in a folder for reading, also one that its owner may not read at the moment."""
    descriptor = os.open(name, _LOOK | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
    try:
        with _readable(descriptor) as readable:
            yield readable
    finally:
        os.close(descriptor)


@contextmanager
def _readable(descriptor: int) -> Iterator[int]:
    """Reopen a folder for reading; its mode is what it was in the end. SageMaker reads as root, this as the owner."""
    if not _HAS_PATHS:
        yield descriptor
        return
    name = f"/proc/self/fd/{descriptor}"
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    is_closed = mode & 0o700 != 0o700 and os.geteuid() != 0
    if is_closed:
        os.chmod(name, mode | 0o700)  # noqa: PTH101
    try:
        readable = os.open(name, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield readable
        finally:
            os.close(readable)
    finally:
        if is_closed:
            with suppress(OSError):
                os.chmod(name, mode)  # noqa: PTH101


def _open_file(name: str, folder: int) -> int:
    """Open a regular file for reading; raise OSError for anything else, without having touched it."""
    looked = os.open(name, _LOOK | os.O_NOFOLLOW, dir_fd=folder)
    try:
        status = os.fstat(looked)
        if stat.S_ISLNK(status.st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is no file", name)
        if not _HAS_PATHS:
            return os.dup(looked)
        path = f"/proc/self/fd/{looked}"
        try:
            return os.open(path, os.O_RDONLY)
        except PermissionError:
            mode = stat.S_IMODE(status.st_mode)
            os.chmod(path, mode | 0o400)  # noqa: PTH101
            try:
                return os.open(path, os.O_RDONLY)
            finally:
                os.chmod(path, mode)  # noqa: PTH101
    finally:
        os.close(looked)


def _empty(folder: int, top: int, depth: int) -> bool:
    """Delete what is in a folder; tell whether something has been moved to the top, which is to be emptied again."""
    moved = False
    for name in os.listdir(folder):
        try:
            os.unlink(name, dir_fd=folder)
            continue
        except OSError as error:
            if error.errno not in (errno.EISDIR, errno.EPERM, errno.EACCES):
                continue
        with suppress(OSError):
            if depth >= _DEEPEST:
                os.rename(name, f".deep-{os.urandom(8).hex()}", src_dir_fd=folder, dst_dir_fd=top)
                moved = True
                continue
            with _opened(name, folder) as inner:
                moved = _empty(inner, top, depth + 1) or moved
            os.rmdir(name, dir_fd=folder)
    return moved


class _Bounded(io.RawIOBase):
    """A file's first bytes: one that grows while it is read has an end all the same."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        begin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, begin + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer
        wanted = max(0, min(len(buffer), self._size - self._position))
        content = os.pread(self._descriptor, wanted, self._position)
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()
