"""Merge the locks of an image's platforms into one, in which what only some of them install has a marker.

    python -m scripts.image.lock x86_64=LOCK aarch64=LOCK     # prints the merged lock

pip reads the marker and installs on each platform what was resolved for it. platform_machine is Python's name of the
processor: amd64 is x86_64 to it, arm64 is aarch64.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from packaging.requirements import Requirement

MACHINES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
"""Docker's names of the platforms that an image is built for, and Python's of their processors."""

_ENTRY = re.compile(r"^[a-z0-9].*?(?=^[a-z0-9]|\Z)", re.MULTILINE | re.DOTALL)


def entries(lock: str) -> dict[str, str]:
    """Return the entries of a lock by their first line without its backslash: `name==version`, and a marker if any."""
    texts = (match[0] for match in _ENTRY.finditer(lock))
    return {text.partition("\n")[0].removesuffix("\\").rstrip(): text for text in texts}


def pins(lock: str, machine: str) -> dict[str, str]:
    """Return the versions by name that are installed on machines of this kind."""
    requirements = (Requirement(entry) for entry in entries(lock))
    return {
        requirement.name: str(requirement.specifier).removeprefix("==")
        for requirement in requirements
        if requirement.marker is None or requirement.marker.evaluate({"platform_machine": machine})
    }


def merge(locks: Mapping[str, str]) -> str:
    """Return one lock of several, by machine; comments and order are the first one's, and so are an entry's hashes."""
    of_machine = {machine: entries(lock) for machine, lock in locks.items()}
    merged: dict[str, str] = {}
    for entry in sorted(
        {entry for found in of_machine.values() for entry in found}, key=lambda entry: entry.split("==")
    ):
        texts = {machine: found[entry] for machine, found in of_machine.items() if entry in found}
        text = next(iter(texts.values()))
        if len(texts) < len(locks):
            marker = " or ".join(f"platform_machine == '{machine}'" for machine in texts)
            text = text.replace(entry, f"{entry} ; {marker}", 1)
        merged[entry] = text
    header = next(iter(locks.values())).partition(next(iter(next(iter(of_machine.values())))))[0]
    return header + "".join(merged.values())


def main() -> None:
    """Merge the locks that the command line names."""
    named = dict(argument.split("=", 1) for argument in sys.argv[1:])
    sys.stdout.write(merge({machine: Path(file).read_text(encoding="utf-8") for machine, file in named.items()}))


if __name__ == "__main__":
    main()
