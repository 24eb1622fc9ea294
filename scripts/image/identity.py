"""Print the tag that an image is to be pushed under: the version and the short commit that its labels tell.

    python -m scripts.image.identity [--dirty refuse|mark] IMAGE

An image that SageMaker would not run, or that nobody could trace to a commit, is refused with a sentence.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from typing import Any

from scripts.image.engine import inspect, platform_of
from scripts.image.errors import ExitCode, ImageError, command
from scripts.image.registry import MANIFEST
from scripts.image.weights_table import DEFAULT, SHA256_LABEL, read_table

LABELS = "org.opencontainers.image."

_REVISION = re.compile(r"(?P<commit>[0-9a-f]{40})(?P<dirty>-dirty)?")
_SHORT = 12
"""Digits of the commit: the same in a shallow clone and in a full one, which git's own choice is not."""


def tag_of(image: Mapping[str, Any], dirty: str) -> str:
    """Return VERSION-COMMIT[-weights-SHA], or that and -dirty-ID for marked uncommitted changes; else an ImageError."""
    _check_kind(image)
    labels = image["Config"].get("Labels") or {}
    version, revision = labels.get(f"{LABELS}version", ""), labels.get(f"{LABELS}revision", "")
    match = _REVISION.fullmatch(revision)
    if not match or not re.fullmatch(r"\w[\w.]*", version):
        raise ImageError(
            ExitCode.UNTRACEABLE,
            f"the image's labels say version {version!r} and revision {revision!r}: no tag can be made of them. Build "
            "it by scripts/build_image.sh in a git checkout.",
        )
    tag = f"{version}-{match['commit'][:_SHORT]}{_other_weights(labels)}"
    if not match["dirty"]:
        return tag
    if dirty == "refuse":
        raise ImageError(
            ExitCode.UNTRACEABLE,
            "the image was built with uncommitted changes; commit them and build again, or mark it by --dirty mark.",
        )
    return f"{tag}-dirty-{image['Id'].removeprefix('sha256:')[:8]}"


def _other_weights(labels: Mapping[str, str]) -> str:
    """Return what a tag has of weights that are not the default's: one commit gives an image for each."""
    sha256 = labels.get(SHA256_LABEL, "")
    return f"-weights-{sha256[:8]}" if sha256 not in ("", read_table()[DEFAULT].sha256) else ""


def _check_kind(image: Mapping[str, Any]) -> None:
    platform = platform_of(image)
    if platform != "linux/amd64":
        raise ImageError(
            ExitCode.BUILD,
            f"the image is for {platform}; SageMaker's training instances are linux/amd64: build it by make image "
            "PLATFORM=linux/amd64.",
        )
    # Docker's classic image store pushes every image as Docker's media types; containerd's pushes what was built.
    media_type = (image.get("Descriptor") or {}).get("mediaType", MANIFEST)
    if media_type != MANIFEST:
        raise ImageError(
            ExitCode.BUILD,
            f"the image's manifest is {media_type}, which SageMaker does not take everywhere; it has to be {MANIFEST}: "
            "build it by scripts/build_image.sh.",
        )


def main() -> None:
    """Print the tag of the image that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dirty", choices=("refuse", "mark"), default="refuse")
    parser.add_argument("image")
    options = parser.parse_args()
    print(tag_of(inspect(options.image), options.dirty))  # noqa: T201 - this command's output


if __name__ == "__main__":
    command(main)
