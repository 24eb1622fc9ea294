"""Images of this machine's engine, as ECR would tell of them.

A job here runs an image that the engine has under the name of its request, be it a name in ECR: `launcher check` asks
ECR for it, and is to find what the job will find. What was put into ECR itself, moto tells.
"""

from __future__ import annotations

import base64
import json
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from moto.ecr.models import ecr_backends

from local_sagemaker.api.paging import page_of
from local_sagemaker.api.protocol import read_call, write
from local_sagemaker.api.request_context import RequestContext
from local_sagemaker.auth import Access
from local_sagemaker.docker_client.engine import Engine, EngineError
from local_sagemaker.errors import ApiError
from local_sagemaker.state import ACCOUNT

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

CONFIG_PATH = "/_local/image-config/"

Document = dict[str, Any]

_TOKEN_SECONDS = 12 * 3600

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"


class EcrImages:
    """Operations of ECR on repositories that only the engine has; None leaves an answer to ECR."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def batch_get_image(self, context: RequestContext, request: Document) -> Document | None:
        """BatchGetImage: with a manifest that names the image's configuration."""
        repository, registry = request["repositoryName"], request.get("registryId", ACCOUNT)
        if _is_in_ecr(context.region, repository):
            return None
        images, failures = [], []
        for identifier in request["imageIds"]:
            digest, tag = identifier.get("imageDigest"), identifier.get("imageTag")
            place = f"{registry}.dkr.ecr.{context.region}.amazonaws.com/{repository}"
            description = _inspect(self._engine, place + (f"@{digest}" if digest else f":{tag or 'latest'}"))
            if description is None:
                failures.append(
                    {
                        "imageId": identifier,
                        "failureCode": "ImageNotFound",
                        "failureReason": "Requested image not found",
                    }
                )
                continue
            identity = {"imageDigest": digest or _digest(description)} | ({"imageTag": tag} if tag else {})
            images.append(
                {
                    "registryId": registry,
                    "repositoryName": repository,
                    "imageId": identity,
                    "imageManifest": json.dumps(_manifest(description["Id"])),
                    "imageManifestMediaType": _MANIFEST,
                }
            )
        return {"images": images, "failures": failures} if images else None

    def get_authorization_token(self, context: RequestContext, request: Document) -> Document:
        """GetAuthorizationToken: as long as ECR's is good for; of moto's, clients think that it has run out."""
        expires = time.time() + _TOKEN_SECONDS
        return {
            "authorizationData": [
                {
                    "authorizationToken": base64.b64encode(f"AWS:{registry}-auth-token".encode()).decode(),
                    "expiresAt": expires,
                    "proxyEndpoint": f"https://{registry}.dkr.ecr.{context.region}.amazonaws.com",
                }
                for registry in request.get("registryIds", [ACCOUNT])
            ]
        }

    def describe_images(self, context: RequestContext, request: Document) -> Document | None:
        """DescribeImages."""
        repository = request["repositoryName"]
        images = self._repositories(context.region).get(repository)
        if images is None:
            return None
        wanted = request.get("imageIds", [])
        found = [image for image in images.values() if not wanted or any(_fits(image, entry) for entry in wanted)]
        for entry in wanted:
            if not any(_fits(image, entry) for image in found):
                shown = ", ".join(f"{name}:'{entry.get(name, 'null')}'" for name in ("imageDigest", "imageTag"))
                raise ApiError(
                    "ImageNotFoundException",
                    f"The image with imageId {{{shown}}} does not exist within the repository with name "
                    f"'{repository}' in the registry with id '{ACCOUNT}'",
                )
        return _page("imageDetails", found, request, "imageDigest")

    def list_images(self, context: RequestContext, request: Document) -> Document | None:
        """ListImages: an entry a tag."""
        images = self._repositories(context.region).get(request["repositoryName"])
        if images is None:
            return None
        status = request.get("filter", {}).get("tagStatus")
        rows = [
            {"imageDigest": image["imageDigest"], "imageTag": tag}
            for image in images.values()
            for tag in image["imageTags"]
            if status != "UNTAGGED"
        ]
        return _page("imageIds", rows, request, "imageTag")

    def describe_repositories(self, context: RequestContext, request: Document) -> Document | None:
        """DescribeRepositories: ECR's own and the engine's."""
        own = ecr_backends[ACCOUNT][context.region].repositories
        known = own | {name: None for name in self._repositories(context.region) if name not in own}
        wanted = request.get("repositoryNames") or sorted(known)
        if all(name in own for name in wanted) or not all(name in known for name in wanted):
            return None
        rows = [_repository(context.region, name, known[name]) for name in wanted]
        return _page("repositories", rows, request, "repositoryName")

    def _repositories(self, region: str) -> dict[str, dict[str, Document]]:
        """Return repository -> the engine's Id of an image -> the image, of those that are not in ECR."""
        registry, found = (
            f"{ACCOUNT}.dkr.ecr.{region}.amazonaws.com/",
            defaultdict[str, dict[str, Document]](dict),
        )
        for name, image in self._engine.tagged():
            repository, _, tag = name.removeprefix(registry).rpartition(":")
            if not name.startswith(registry) or _is_in_ecr(region, repository):
                continue
            described = found[repository].setdefault(
                image["Id"],
                {
                    "registryId": ACCOUNT,
                    "repositoryName": repository,
                    "imageDigest": _digest(image),
                    "imageTags": [],
                    "imageSizeInBytes": image["Size"],
                    "imagePushedAt": image["Created"],
                    "imageManifestMediaType": _MANIFEST,
                    "artifactMediaType": _CONFIG,
                },
            )
            described["imageTags"].append(tag)
        return found


def image_downloads(behind: WSGIApplication, engine: Engine, access: Access) -> WSGIApplication:
    """Return `behind`, with GetDownloadUrlForLayer and the address that it names in front: an image's configuration."""

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith(CONFIG_PATH):
            return write(start_response, 200, _configuration(engine, environ["PATH_INFO"].removeprefix(CONFIG_PATH)))
        if environ.get("HTTP_X_AMZ_TARGET", "").endswith("ContainerRegistry_V20150921.GetDownloadUrlForLayer"):
            try:
                digest = str(read_call(environ).request.get("layerDigest", ""))
            except ApiError as error:
                return write(start_response, error.status, error.document())
            url = f"http://{environ['HTTP_HOST']}{access.signed(CONFIG_PATH + digest)}"
            return write(start_response, 200, {"downloadUrl": url, "layerDigest": digest})
        return behind(environ, start_response)

    return application


def _configuration(engine: Engine, digest: str) -> Document:
    """Return what the engine knows of the image with a configuration's digest: its system and architecture."""
    description = _inspect(engine, digest)
    if description is None:
        return {}
    return {"os": description["Os"], "architecture": description["Architecture"]}


def _inspect(engine: Engine, name: str) -> dict[str, Any] | None:
    try:
        return engine.inspect(name)
    except EngineError:
        return None  # no engine, no images


def _is_in_ecr(region: str, repository: str) -> bool:
    return repository in ecr_backends[ACCOUNT][region].repositories


def _digest(image: Document) -> str:
    """Return the digest of a manifest that was pushed; else that of the configuration, which is an image's Id."""
    return next((name.partition("@")[2] for name in image.get("RepoDigests") or ()), str(image["Id"]))


def _manifest(identifier: str) -> Document:
    config = {"mediaType": _CONFIG, "digest": identifier, "size": 0}
    return {"schemaVersion": 2, "mediaType": _MANIFEST, "config": config, "layers": []}


def _fits(image: Document, wanted: Document) -> bool:
    digest, tag = wanted.get("imageDigest"), wanted.get("imageTag")
    return digest in (None, image["imageDigest"]) and (tag is None or tag in image["imageTags"])


def _repository(region: str, name: str, own: Any | None) -> Document:  # noqa: ANN401 - moto's
    """Return a repository, ECR's own or one that only the engine has."""
    return {
        "repositoryArn": f"arn:aws:ecr:{region}:{ACCOUNT}:repository/{name}",
        "registryId": ACCOUNT,
        "repositoryName": name,
        "repositoryUri": own.uri if own else f"{ACCOUNT}.dkr.ecr.{region}.amazonaws.com/{name}",
        "createdAt": own.created_at if own else 0,
        "imageTagMutability": own.image_tag_mutability if own else "MUTABLE",
        "imageScanningConfiguration": own.image_scanning_configuration if own else {"scanOnPush": False},
        "encryptionConfiguration": own.encryption_configuration if own else {"encryptionType": "AES256"},
    }


def _page(field: str, rows: list[Document], request: Document, name: str) -> Document:
    """Return a page as ECR has it: its names begin with a small letter."""
    asked = {"NextToken": request.get("nextToken"), "MaxResults": request.get("maxResults", 100)}
    page = page_of(rows, asked, key=lambda row: row[name], name=lambda row: row[name])
    return {field: page.rows} | ({"nextToken": page.next_token} if page.next_token else {})
