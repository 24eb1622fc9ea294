"""launcher/data/image.json says what the image says."""

from __future__ import annotations

import subprocess
import sys

from tests.helpers.job_files import REPOSITORY

SCRIPT = REPOSITORY / "scripts" / "image_contract.py"
FILE = REPOSITORY / "launcher" / "data" / "image.json"


def test_the_launchers_copy_of_the_images_contract_is_up_to_date() -> None:
    printed = subprocess.run([sys.executable, SCRIPT], check=True, capture_output=True, text=True).stdout
    assert FILE.read_text(encoding="utf-8") == printed, f"the image has changed: {SCRIPT.name} > {FILE.name}"
