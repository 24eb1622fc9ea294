"""Print the tag that an image is to be pushed under: the version and the short commit that its labels tell.

    python -m scripts.image.identity [--dirty refuse|mark] IMAGE

An image that SageMaker would not run, or that nobody could trace to a commit, is refused with a sentence.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scripts.image.engine import inspect, platform_of
from scripts.image.errors import ExitCode, ImageError, command
from scripts.image.registry import INDEXES, MANIFEST, Repository, digest_of
from scripts.image.weights_table import DEFAULT, SHA256_LABEL, read_table

LABELS = "org.opencontainers.image."

SOCI = "application/vnd.amazon.soci.index.v2+json"
"""Artifact type of what `soci convert` puts beside an image, in an index of the two."""

_WITHOUT_ATTESTATIONS = (
    "build it without attestations: docker build --provenance=false --sbom=false, as scripts/build_image.sh does it."
)

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


@dataclass(frozen=True)
class Published:
    """An image as a registry has it."""

    digest: str
    """Of what was asked for: the manifest, or the index around it."""
    record: Mapping[str, Any]
    """What the engine's record would have of it: Id, Os, Architecture, Config."""
    is_soci: bool
    """Whether the digest is an index's that has the image and its SOCI index."""


def published_image(repository: Repository, reference: str) -> Published:
    """Return the image under a tag or digest, be it in an index with its SOCI index; raise ImageError for others."""
    found = repository.manifest(reference)
    if found is None:
        raise ImageError(ExitCode.REGISTRY, f"{reference} is not in the registry.")
    digest, manifest = digest_of(found.content), json.loads(found.content)
    is_index = found.headers.get_content_type() in INDEXES
    if is_index:
        entries = manifest["manifests"]
        if any((entry.get("annotations") or {}).get("vnd.docker.reference.type") for entry in entries):
            raise ImageError(ExitCode.BUILD, f"{digest} is an index with attestations; {_WITHOUT_ATTESTATIONS}")
        images = [entry for entry in entries if entry.get("artifactType") != SOCI]
        inside = repository.manifest(images[0]["digest"]) if len(images) == 1 and len(entries) == 2 else None
        if inside is None:
            raise ImageError(ExitCode.BUILD, f"{digest} is an index, and not of one image and its SOCI index.")
        manifest = json.loads(inside.content)
    try:
        identifier = manifest["config"]["digest"]
        config = json.loads(repository.blob(identifier))
        platform = {"Os": config["os"], "Architecture": config["architecture"]}
    except (ValueError, LookupError, TypeError):
        raise ImageError(ExitCode.BUILD, f"{digest} is no image that a container can be made of.") from None
    return Published(digest, {"Id": identifier, **platform, "Config": config.get("config") or {}}, is_index)


def tag_of_published(image: Published) -> str:
    """Return the tag that build_and_push.sh has given a published image; raise ImageError for one with no commit."""
    return tag_of(image.record, "refuse") + ("-soci" if image.is_soci else "")


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
            f"{_WITHOUT_ATTESTATIONS}",
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
