"""What the Docker engine tells of an image, by the Docker client: it knows contexts, TLS and sockets.

inspect("distilbert-trainer:local")["Config"]["Labels"]
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from typing import Any

from scripts.image.errors import ExitCode, ImageError


def inspect(image: str) -> dict[str, Any]:
    """Return the engine's record of an image; raise ImageError if it has none."""
    found: list[dict[str, Any]] = json.loads(docker("image", "inspect", image))
    return found[0]


def platform_of(image: Mapping[str, Any]) -> str:
    """Return what an image runs on, in Docker's words: linux/amd64."""
    return f"{image['Os']}/{image['Architecture']}"


def docker(*arguments: str, given: str = "") -> str:
    """Run the Docker client with something on its stdin; return its stdout, raise ImageError with its stderr."""
    # An engine that hangs is not waited for; nothing here moves more than an inventory.
    try:
        result = subprocess.run(  # noqa: S603 - the arguments are this project's
            ["docker", *arguments],  # noqa: S607 - the client of PATH
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
    except subprocess.TimeoutExpired:
        raise ImageError(ExitCode.BUILD, f"docker {arguments[0]}: no answer within 5 minutes") from None
    if result.returncode:
        raise ImageError(ExitCode.BUILD, f"docker {arguments[0]}: {result.stderr.strip()}")
    return result.stdout
