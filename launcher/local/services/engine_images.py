"""Images of this machine's engine, as ECR would tell of them.

A job here runs an image that the engine has under the name of its request, be it a name in ECR: `launcher check` asks
ECR for it, and is to find what the job will find. What was put into ECR itself, moto tells.
"""

from __future__ import annotations

import json
from typing import Any

from moto.ecr.models import ecr_backends

from launcher.local.engine.engine import Engine, EngineError
from launcher.local.state import ACCOUNT

CONFIG_PATH = "/_local/image-config/"

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"


def batch_get_image(engine: Engine, region: str, request: dict[str, Any]) -> dict[str, Any] | None:
    """Return BatchGetImage's answer for an image that only the engine has; None leaves it to ECR."""
    repository, identifiers = request.get("repositoryName", ""), request.get("imageIds", [])
    if repository in ecr_backends[ACCOUNT][region].repositories or len(identifiers) != 1:
        return None
    digest, tag = identifiers[0].get("imageDigest"), identifiers[0].get("imageTag")
    registry = f"{request.get('registryId', ACCOUNT)}.dkr.ecr.{region}.amazonaws.com"
    description = _inspect(engine, f"{registry}/{repository}" + (f"@{digest}" if digest else f":{tag or 'latest'}"))
    if description is None:
        return None
    pushed = (name.partition("@")[2] for name in description.get("RepoDigests") or [])
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": {"mediaType": _CONFIG, "digest": description["Id"], "size": 0},
        "layers": [],
    }
    image = {
        "registryId": request.get("registryId", ACCOUNT),
        "repositoryName": repository,
        # An image that was never pushed has no digest of a manifest; its Id is that of its configuration.
        "imageId": {"imageDigest": digest or next(pushed, description["Id"]), **({"imageTag": tag} if tag else {})},
        "imageManifest": json.dumps(manifest),
        "imageManifestMediaType": _MANIFEST,
    }
    return {"images": [image], "failures": []}


def download_url(host: str, request: dict[str, Any]) -> dict[str, Any]:
    """Return GetDownloadUrlForLayer's answer: where an image's configuration is to be had."""
    digest = str(request.get("layerDigest", ""))
    return {"downloadUrl": f"http://{host}{CONFIG_PATH}{digest}", "layerDigest": digest}


def configuration(engine: Engine, path: str) -> dict[str, Any]:
    """Return what the engine knows of the image with a configuration's digest: its system and architecture."""
    description = _inspect(engine, path.removeprefix(CONFIG_PATH))
    if description is None:
        return {}
    return {"os": description["Os"], "architecture": description["Architecture"]}


def _inspect(engine: Engine, name: str) -> dict[str, Any] | None:
    try:
        return engine.inspect(name)
    except EngineError:
        return None  # no engine, no images
