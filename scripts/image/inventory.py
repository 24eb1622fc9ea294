"""Print as JSON what is installed in an image. Runs inside the image, with its Python, so it imports nothing of ours.

docker run --rm --interactive --network none --entrypoint python3 IMAGE - < scripts/image/inventory.py
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

LOCK = Path("/opt/distilbert-trainer/container/requirements.txt")
WEIGHTS = Path("/opt/distilbert-trainer/weights/weights.json")
DOCUMENTATION = Path("/usr/share/doc")
BUNDLED = {"hdf5": rb"HDF5 library version: ([0-9.]+[0-9])", "openblas": rb"OpenBLAS ([0-9.]+[0-9]) "}
"""Libraries inside of wheels that tell their version, of which no package manager knows."""


def python_packages() -> list[dict[str, Any]]:
    """Return the distributions that this Python finds, with what their metadata says of licences."""
    packages = []
    for distribution in importlib.metadata.distributions():
        metadata = distribution.metadata
        packages.append(
            {
                "name": metadata["Name"],
                "version": distribution.version,
                "summary": _field(metadata, "Summary"),
                "license_expression": _field(metadata, "License-Expression"),
                "license": _field(metadata, "License"),
                "classifiers": [text for text in metadata.get_all("Classifier", []) if text.startswith("License :: ")],
                "license_files": sorted(
                    str(distribution.locate_file(file))
                    for file in distribution.files or ()
                    if re.match(r"(?i)(licen[cs]e|copying|notice)", file.name) and ".dist-info" in str(file)
                ),
            }
        )
    return packages


def bundled_libraries() -> list[dict[str, str]]:
    """Return the known libraries that wheels bring along, in the folders where auditwheel puts them."""
    folders = {str(distribution.locate_file("")) for distribution in importlib.metadata.distributions()}
    found = []
    for file in sorted(file for folder in folders for file in Path(folder).glob("*.libs/*.so*")):
        for name, pattern in BUNDLED.items():
            if name in file.name and (match := re.search(pattern, file.read_bytes())):
                found.append({"name": name, "version": match[1].decode(), "path": str(file)})
    return found


def _field(metadata: importlib.metadata.PackageMetadata, name: str) -> str:
    return metadata[name] if name in metadata else ""  # noqa: SIM401 - it has no get() for mypy


def debian_packages() -> list[dict[str, Any]]:
    """Return what dpkg has installed, with the licences that each package's copyright file names."""
    fields = ("Package", "Version", "Architecture", "source:Package", "source:Version", "Essential", "Depends")
    form = "\\t".join(f"${{{field}}}" for field in ("db:Status-Abbrev", *fields)) + "\\n"
    query = ["dpkg-query", "--show", f"--showformat={form}"]
    listing = subprocess.run(query, capture_output=True, text=True, check=True).stdout  # noqa: S603
    rows = [line.split("\t") for line in listing.splitlines()]
    packages = [dict(zip(fields, row[1:], strict=True)) for row in rows if row[0].startswith("ii")]
    return [package | {"licenses": _copyright(package["Package"])} for package in packages]


def _copyright(package: str) -> list[str]:
    try:
        text = (DOCUMENTATION / package / "copyright").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    # Debian's machine-readable form, else the licences that the text refers to.
    named = re.findall(r"^License:[ \t]*(\S[^\n]*)", text, re.MULTILINE) if text.startswith("Format:") else []
    return sorted(set(named or re.findall(r"/usr/share/common-licenses/([A-Za-z0-9.+-]*[A-Za-z0-9+])", text)))


def operating_system() -> dict[str, str]:
    """Return /etc/os-release's entries."""
    lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    return {name: text.strip('"') for name, _, text in (line.partition("=") for line in lines) if name}


json.dump(
    {
        "python": python_packages(),
        "debian": debian_packages(),
        "bundled": bundled_libraries(),
        "weights": json.loads(WEIGHTS.read_text(encoding="utf-8")) if WEIGHTS.exists() else None,
        "os_release": operating_system(),
        "lock": LOCK.read_text(encoding="utf-8") if LOCK.exists() else "",
    },
    sys.stdout,
)
