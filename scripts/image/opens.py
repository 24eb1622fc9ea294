"""Find out which files of the image's packages jobs open, and which none does.

    python -m scripts.image.opens start IMAGE FOLDER
    python -m scripts.image.opens run FOLDER COMMAND...
    python -m scripts.image.opens report FOLDER

`start` copies the image's packages to FOLDER (2 GB). `run` runs a command, whose `docker run IMAGE` uses FOLDER's
packages. `report` lists what was opened, and what was not, in MB.

The file system says what was read: a file's time of last access is set before its time of change, and Linux renews it
with the first read or mapping (`relatime`, the default), whichever process reads. So nothing is slower, and child
processes, the dynamic linker and memory maps count too. `run` may be repeated: accesses add up. Reading FOLDER by other
means counts, too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from scripts.image.errors import command

PACKAGES = "/opt/venv"
NEVER = 0
"""Seconds since 1970: before all times of change in the image."""
LISTED = 0.5
"""MB of a folder or file that the report lists."""

_CLIENT = """\
#!/usr/bin/env python3
import os, sys
arguments = sys.argv[1:]
if {image!r} in arguments and arguments[0] in ("run", "create"):
    arguments.insert(1, "--volume={packages}:{inside}")
os.execv({docker!r}, [{docker!r}, *arguments])
"""


@dataclass
class Tree:
    """A folder or file: its bytes, and how many of them are in files that were opened."""

    size: int = 0
    opened: int = 0
    children: dict[str, Tree] = field(default_factory=dict)

    def add(self, path: tuple[str, ...], size: int, *, opened: bool) -> None:
        """Count a file below this folder."""
        self.size += size
        self.opened += size if opened else 0
        if path:
            self.children.setdefault(path[0], Tree()).add(path[1:], size, opened=opened)

    def unopened(self, path: str = "") -> Iterator[tuple[int, str]]:
        """Yield the largest folders and files of which nothing was opened."""
        if not self.opened:
            yield self.size, path
        else:
            for name, child in self.children.items():
                yield from child.unopened(f"{path}/{name}".lstrip("/"))


def start(image: str, folder: Path) -> None:
    """Copy an image's packages, forget when they were read, and write the Docker client that mounts them."""
    folder.mkdir(parents=True)
    packages = folder / "packages"
    docker = shutil.which("docker")
    assert docker is not None
    created = subprocess.run([docker, "create", image], stdout=subprocess.PIPE, check=True, text=True)  # noqa: S603
    container = created.stdout.strip()
    subprocess.run([docker, "cp", f"{container}:{PACKAGES}", str(packages)], check=True)  # noqa: S603
    subprocess.run([docker, "rm", container], check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    for file in _files(packages):
        os.utime(file, (NEVER, file.stat().st_mtime))
    client = folder / "bin" / "docker"
    client.parent.mkdir()
    client.write_text(_CLIENT.format(image=image, packages=packages.resolve(), inside=PACKAGES, docker=docker))
    client.chmod(0o755)
    (folder / "image").write_text(image)


def run(folder: Path, arguments: list[str]) -> int:
    """Run a command whose containers' accesses are seen; return its exit code."""
    seen = os.environ | {
        "PATH": f"{folder.resolve() / 'bin'}:{os.environ['PATH']}",
        "IMAGE": (folder / "image").read_text(),
    }
    return subprocess.run(arguments, env=seen, check=False).returncode  # noqa: S603


def report(folder: Path) -> None:
    """Print per package what was opened, then what was not."""
    tree = Tree()
    packages = next((folder / "packages" / "lib").glob("python*/site-packages"))
    for file in _files(packages):
        status = file.stat()
        tree.add(file.relative_to(packages).parts, status.st_size, opened=status.st_atime > NEVER)
    sys.stdout.write(f"{_mb(tree.opened)} MB of {_mb(tree.size)} MB were opened\n\nopened  of  package (MB)\n")
    for name, package in sorted(tree.children.items(), key=lambda item: -item[1].size):
        if package.size >= LISTED * 1e6:
            sys.stdout.write(f"{_mb(package.opened)} {_mb(package.size)} {name}\n")
    sys.stdout.write("\nnever opened (MB)\n")
    for size, path in sorted(tree.unopened(), reverse=True):
        if size >= LISTED * 1e6:
            sys.stdout.write(f"{_mb(size)} {path}\n")


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _mb(size: int) -> str:
    return f"{size / 1e6:7.1f}"


def main() -> None:
    """Do what the command line says."""
    match sys.argv[1:]:
        case ["start", image, folder]:
            start(image, Path(folder))
        case ["run", folder, *arguments] if arguments:
            sys.exit(run(Path(folder), arguments))
        case ["report", folder]:
            report(Path(folder))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    command(main)
