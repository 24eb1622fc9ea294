"""What ECR knows of an image: its digest, its kind, its platform, its weights.

image_digest("123456789012.dkr.ecr.us-east-1.amazonaws.com/star-rating:v1", session)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

from launcher.aws.errors import translating_aws_errors
from launcher.aws.session import Session
from launcher.checks.image import ECR
from launcher.errors import AwsError

_MANIFESTS = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
)
_INDEXES = (
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
)
_SOCI = ("application/vnd.amazon.soci.index.v1+json", "application/vnd.amazon.soci.index.v2+json")
"""What `soci convert` puts beside an image in an index of its own, so that hosts load the layers lazily."""

WEIGHTS_LABEL = "distilbert-trainer.weights"
"""The Dockerfile's label with the name of the pretrained weights."""

DIGEST_TIMEOUT_SECONDS = 5.0
"""Seconds for a look that nothing depends on."""


@dataclass(frozen=True)
class Image:
    """An image as ECR has it."""

    digest: str
    media_type: str
    platforms: tuple[str, ...]
    """Like linux/amd64; empty if ECR does not tell."""
    weights: str = ""
    """What a job with model=auto starts from, as the image's label says; empty if it does not, or ECR does not tell."""
    has_soci: bool = False
    """An index of one image and its SOCI index: the image is what runs."""
    has_attestations: bool = False
    """An index in which BuildKit has put how the image was built."""

    @property
    def is_index(self) -> bool:
        """Whether the name stands for several images, which SageMaker may refuse."""
        return self.media_type in _INDEXES and not self.has_soci


def find_image(name: str, session: Session, *, seconds: float | None = None) -> Image | None:
    """Return what ECR has under a name, None for a name outside ECR; raise AwsError if it is not there.

    With `seconds` an ECR that takes longer is not waited for.
    """
    match = ECR.fullmatch(name)
    if match is None:
        return None
    identifier = {"imageDigest": match["digest"]} if match["digest"] else {"imageTag": match["tag"] or "latest"}
    where = {"registryId": match["account"], "repositoryName": match["repository"]}
    with translating_aws_errors(f"find the image {name}"):
        found = session.client("ecr", seconds=seconds).batch_get_image(
            **where, imageIds=[identifier], acceptedMediaTypes=[*_MANIFESTS, *_INDEXES]
        )
    if not found.get("images"):
        raise AwsError(f"{name} is not in ECR: push it, or name another training_image")
    image = found["images"][0]
    manifest = _manifest(image["imageManifest"], name)
    media_type = image.get("imageManifestMediaType") or manifest.get("mediaType", _MANIFESTS[0])
    entries = _entries(manifest)
    soci = [entry for entry in entries if entry.get("artifactType") in _SOCI]
    attested = any(
        (entry.get("annotations") or {}).get("vnd.docker.reference.type") == "attestation-manifest" for entry in entries
    )
    is_soci = bool(soci) and len(entries) == len(soci) + 1 and not attested
    if is_soci:
        inside = next(entry for entry in entries if entry.get("artifactType") not in _SOCI)
        _, weights = _configuration(_image_manifest(inside.get("digest"), where, session), where, session)
        platforms, _ = _configuration(manifest, where, session)
    else:
        platforms, weights = _configuration(manifest, where, session)
    return Image(image["imageId"]["imageDigest"], media_type, platforms, weights, is_soci, attested)


def image_digest(name: str, session: Session) -> str:
    """Return the name with its digest if ECR knows it, else only the name."""
    if "@" in name:
        return name
    try:
        image = find_image(name, session, seconds=DIGEST_TIMEOUT_SECONDS)
    except AwsError:
        return name  # the record is worth less, the job is not
    return f"{name}@{image.digest}" if image else name


def _manifest(text: str, name: str) -> dict[str, Any]:
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError):
        manifest = None
    if not isinstance(manifest, dict):
        raise AwsError(f"the manifest that ECR has of {name} is no JSON object; push the image again")
    return manifest


def _image_manifest(digest: object, where: dict[str, str], session: Session) -> dict[str, Any]:
    """Return the manifest of the image in an index, nothing if it cannot be read with these rights."""
    try:
        with translating_aws_errors("read the image in the index"):
            found = session.client("ecr").batch_get_image(
                **where, imageIds=[{"imageDigest": str(digest)}], acceptedMediaTypes=[*_MANIFESTS]
            )
        return _manifest(found["images"][0]["imageManifest"], str(digest))
    except (AwsError, LookupError):
        return {}  # its platform is the index's to say; what it starts from stays unknown


def _entries(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what an index lists; nothing of an image's own manifest."""
    return [entry for entry in manifest.get("manifests") or () if isinstance(entry, dict)]


def _configuration(manifest: dict[str, Any], where: dict[str, str], session: Session) -> tuple[tuple[str, ...], str]:
    """Return the platforms and the weights of an image, each empty if it cannot be read with these rights."""
    if "manifests" in manifest:
        images = [entry for entry in _entries(manifest) if entry.get("artifactType") not in _SOCI]
        platforms = (entry.get("platform") or {} for entry in images)
        return tuple(f"{platform.get('os')}/{platform.get('architecture')}" for platform in platforms), ""
    config = (manifest.get("config") or {}).get("digest")
    if config is None:
        return (), ""
    try:
        with translating_aws_errors("read the image's configuration"):
            layer = session.client("ecr").get_download_url_for_layer(**where, layerDigest=config)
        with session.open_url(layer["downloadUrl"]) as answer:
            content = json.load(answer)
        platform = content["os"], content["architecture"]
    except (AwsError, HTTPException, OSError, ValueError, LookupError, TypeError):
        return (), ""  # the caller says that it is unknown
    return ("/".join(map(str, platform)),), _weights(content)


def _weights(config: dict[str, Any]) -> str:
    settings = config.get("config")
    labels = settings.get("Labels") if isinstance(settings, dict) else None
    weights = labels.get(WEIGHTS_LABEL) if isinstance(labels, dict) else None
    return weights if isinstance(weights, str) and weights.isprintable() else ""
