"""Print what differs between two images: size, platform, labels and settings, packages, files.

    python -m scripts.image.diff [--times] [--all] [--exit-code] IMAGE IMAGE

Files are compared as a container sees them: kind, owner, mode, content; with --times also the time of change. With
--exit-code a difference ends with 1.
"""

from __future__ import annotations

import argparse
import email
import hashlib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

from scripts.image.engine import inspect, platform_of
from scripts.image.errors import command
from scripts.image.layers import File, final_files, layers_of

_DPKG_STATUS = "var/lib/dpkg/status"
_METADATA = re.compile(r"(^|/)[^/]+\.dist-info/METADATA$")
_SHOWN = 40
"""Lines of a section, without --all."""


@dataclass(frozen=True)
class Content:
    """A file's sha256, and its text where packages are read from it."""

    digest: str
    text: str = ""


@dataclass(frozen=True)
class Image:
    """What of an image is compared."""

    record: Mapping[str, Any]
    files: Mapping[str, File]

    @property
    def packages(self) -> dict[str, str]:
        """Versions by name: `python numpy`, `debian bash`."""
        found: dict[str, str] = {}
        for path, file in self.files.items():
            if file.content is None or not file.content.text:
                continue
            if path == _DPKG_STATUS:
                found |= {f"debian {name}": version for name, version in _debian(file.content.text)}
            else:
                metadata = email.message_from_string(file.content.text)
                found[f"python {metadata['Name']}"] = metadata["Version"]
        return found

    @property
    def settings(self) -> dict[str, str]:
        """What the image's configuration says: platform, labels, environment, entry point, user."""
        configuration = self.record["Config"]
        labels = {f"label {name}": text for name, text in (configuration.get("Labels") or {}).items()}
        variables = (entry.partition("=") for entry in configuration.get("Env") or ())
        environment = {f"variable {name}": text for name, _, text in variables}
        others = ("Cmd", "Entrypoint", "StopSignal", "User", "WorkingDir")
        settings = {"platform": platform_of(self.record)}
        return settings | labels | environment | {name: str(configuration.get(name)) for name in others}


def read_image(name: str) -> Image:
    """Read an image of the engine."""
    record = inspect(name)
    return Image(record, final_files(layers_of(record["Id"], _content)))


def differences(first: Image, second: Image, *, times: bool) -> dict[str, list[str]]:
    """Return the lines of each section of what differs; a section without a difference is empty."""
    return {
        "settings": list(_changes(first.settings, second.settings)),
        "packages": list(_changes(first.packages, second.packages)),
        "files": list(_changes(_visible(first.files, times=times), _visible(second.files, times=times))),
    }


def _content(path: str, stream: IO[bytes]) -> Content:
    if path == _DPKG_STATUS or _METADATA.search(path):
        content = stream.read()
        return Content(hashlib.sha256(content).hexdigest(), content.decode("utf-8", "replace"))
    digest = hashlib.sha256()
    while piece := stream.read(1 << 20):
        digest.update(piece)
    return Content(digest.hexdigest())


def _debian(status: str) -> Iterator[tuple[str, str]]:
    for paragraph in status.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Version|Status): (.*)$", paragraph, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            yield fields["Package"], fields["Version"]


def _visible(files: Mapping[str, File], *, times: bool) -> dict[str, str]:
    return {f"/{path}": _seen(file, times=times) for path, file in files.items()}


def _seen(file: File, *, times: bool) -> str:
    said = [file.kind, f"{file.mode & 0o7777:o}", file.owner]
    if file.target:
        said.append(f"-> {file.target}")
    if file.content:
        said += [f"{file.size} bytes", file.content.digest[:12]]
    if times:
        said.append(f"changed at {file.modified}")
    return " ".join(said)


def _changes(first: Mapping[str, str], second: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(first.keys() | second.keys()):
        before, after = first.get(name), second.get(name)
        if before is None:
            yield f"+ {name} {after}"
        elif after is None:
            yield f"- {name} {before}"
        elif before != after:
            yield f"! {name}: {before} => {after}"


def _section(title: str, lines: list[str], *, everything: bool) -> Iterable[str]:
    yield f"{title}: {len(lines) or 'no'} difference{'' if len(lines) == 1 else 's'}"
    shown = lines if everything else lines[:_SHOWN]
    yield from (f"  {line}" for line in shown)
    if len(shown) < len(lines):
        yield f"  ... and {len(lines) - len(shown)} more (--all)"


def main() -> None:
    """Compare the images that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", action="store_true", help="times of change count")
    parser.add_argument("--all", action="store_true", help="every line of each section")
    parser.add_argument("--exit-code", action="store_true", help="1 if the images differ")
    parser.add_argument("images", nargs=2, metavar="IMAGE")
    options = parser.parse_args()
    first, second = map(read_image, options.images)
    sizes = [image.record["Size"] for image in (first, second)]
    layers = [image.record["RootFS"]["Layers"] for image in (first, second)]
    same = sum(mine == other for mine, other in zip(*layers, strict=False))
    lines = [
        f"size: {sizes[0] / 1e6:,.1f} MB => {sizes[1] / 1e6:,.1f} MB ({(sizes[1] - sizes[0]) / 1e6:+,.1f} MB)",
        f"layers: {same} of {max(map(len, layers))} are the same, byte by byte",
    ]
    found = differences(first, second, times=options.times)
    for title, section in found.items():
        lines += _section(title, section, everything=options.all)
    sys.stdout.write("\n".join(lines) + "\n")
    if options.exit_code and any(found.values()):
        sys.exit(1)


if __name__ == "__main__":
    command(main)
