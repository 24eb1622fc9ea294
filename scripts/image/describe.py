"""Write beside an image what it is: sbom.cdx.json, licences.tsv, image.json.

    python -m scripts.image.describe IMAGE FOLDER

image.json has the platform, the size, the layers, the labels and the hash of the lock that the Python packages come
from.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from scripts.image.engine import docker, inspect, platform_of
from scripts.image.errors import command
from scripts.image.sbom import bill_of_materials, license_table

INVENTORY = Path(__file__).with_name("inventory.py")


def describe(image_name: str, folder: Path) -> None:
    """Ask the image what is in it, and write the files."""
    image = inspect(image_name)
    options = ["--rm", "--interactive", "--network", "none", "--label", "distilbert-trainer=run"]
    inventory = json.loads(
        docker(
            "run", *options, "--entrypoint", "python3", image["Id"], "-", given=INVENTORY.read_text(encoding="utf-8")
        )
    )
    record = {
        "image_id": image["Id"],
        "platform": platform_of(image),
        "created": image["Created"],
        "bytes_unpacked": image["Size"],
        "layers": image["RootFS"]["Layers"],
        "labels": image["Config"].get("Labels") or {},
        "lock_sha256": hashlib.sha256(inventory["lock"].encode()).hexdigest() if inventory["lock"] else None,
        "packages": {"python": len(inventory["python"]), "debian": len(inventory["debian"])},
    }
    folder.mkdir(parents=True, exist_ok=True)
    # Of an image before: it would be taken for this one's.
    for stale in ("digest", "vulnerabilities.json", "vex.cdx.json", "provenance.intoto.json"):
        (folder / stale).unlink(missing_ok=True)
    (folder / "sbom.cdx.json").write_text(bill_of_materials(inventory, image), encoding="utf-8")
    (folder / "licences.tsv").write_text(license_table(inventory), encoding="utf-8")
    (folder / "image.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Describe the image that the command line names."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    describe(sys.argv[1], Path(sys.argv[2]))


if __name__ == "__main__":
    command(main)
