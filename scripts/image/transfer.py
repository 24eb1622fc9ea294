"""Whole images between registries and folders, by digest: a published image for `soci convert`, and a promotion.

    python -m scripts.image.transfer --docker-config FOLDER REPOSITORY tag DIGEST
    python -m scripts.image.transfer --docker-config FOLDER REPOSITORY fetch DIGEST LAYOUT
    python -m scripts.image.transfer --docker-config FOLDER REPOSITORY soci TAG DIGEST
    python -m scripts.image.transfer --docker-config FOLDER REPOSITORY push TAG LAYOUT
    python -m scripts.image.transfer --docker-config FOLDER REPOSITORY copy DIGEST TARGET

`tag` prints the tag that a published image says it has. `fetch` writes an image as an OCI image layout (a folder with
index.json and blobs/). `soci` prints the digest of the index under TAG if it is the SOCI index of the image DIGEST,
nothing if the tag is free. `push` uploads a layout's image under TAG and prints its digest. `copy` gives the repository
TARGET an image under its own tag, byte by byte, with all that refers to it, and prints its digest.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scripts.image.errors import ExitCode, ImageError, command
from scripts.image.identity import published_image, tag_of_published
from scripts.image.registry import INDEXES, Repository, descriptor, digest_of

_COSIGN_TAGS = (".sig", ".att", ".sbom")
"""What cosign writes under a tag made of the image's digest, unless it is told to attach referrers."""


def fetch(repository: Repository, digest: str, layout: Path) -> None:
    """Write the image with a digest as an OCI image layout."""
    published = repository.manifest(digest)
    if published is None:
        raise ImageError(ExitCode.REGISTRY, f"{digest} is not in the registry.")
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    top = descriptor(published.headers.get_content_type(), published.content)
    _blob(layout, digest).write_bytes(published.content)
    for blob in _blobs_of(json.loads(published.content)):
        repository.save_blob(blob["digest"], _blob(layout, blob["digest"]))
    index = {"schemaVersion": 2, "mediaType": INDEXES[0], "manifests": [top]}
    (layout / "index.json").write_text(json.dumps(index), encoding="utf-8")
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}', encoding="utf-8")


def soci_index(repository: Repository, tag: str, digest: str) -> str:
    """Return the digest of the index under a tag if it is a SOCI index of the image, "" if the tag is free.

    Raise ImageError for anything else: a tag is for good.
    """
    if repository.manifest(tag) is None:
        return ""
    indexed, image = published_image(repository, tag), published_image(repository, digest)
    if not indexed.is_soci or indexed.record["Id"] != image.record["Id"]:
        raise ImageError(ExitCode.CONFLICT, f"{tag} is in the registry with another content, {indexed.digest}.")
    return indexed.digest


def push(repository: Repository, tag: str, layout: Path) -> str:
    """Upload the one image of a layout, be it an index, under a tag; return its digest."""
    try:
        entries = json.loads((layout / "index.json").read_text(encoding="utf-8"))["manifests"]
        (top,) = entries
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ImageError(ExitCode.BUILD, f"{layout} is no OCI image layout of one image: {error}") from None
    _push_manifest(repository, layout, top, tag)
    if (found := repository.manifest(tag)) is None or digest_of(found.content) != top["digest"]:
        raise ImageError(ExitCode.REGISTRY, f"the push was done, and the registry has something else under {tag}.")
    return str(top["digest"])


def copy(source: Repository, digest: str, target: Repository) -> str:
    """Give a repository the image that another has under a digest, and what refers to it; return the digest.

    The tag is the image's own and comes last: whoever finds it finds all. Raise ImageError if it stands for another
    image there.
    """
    tag = tag_of_published(published_image(source, digest))
    there = target.manifest(tag)
    if there is not None and digest_of(there.content) != digest:
        raise ImageError(
            ExitCode.CONFLICT, f"{tag} is in the target with another content, {digest_of(there.content)}, not {digest}."
        )
    content, media_type = _copy_manifest(source, digest, target)
    _copy_referrers(source, digest, target)
    if there is None:
        target.put_manifest(content, media_type, tag)
    if (copied := target.manifest(tag)) is None or digest_of(copied.content) != digest:
        raise ImageError(ExitCode.CONFLICT, f"the image was copied, and the target has something else under {tag}.")
    return digest


def _copy_referrers(source: Repository, digest: str, target: Repository) -> None:
    """Copy SBOM, provenance and signatures: what refers to an image, and what cosign has under tags made of it."""
    there = {entry["digest"] for entry in target.referrers(digest)}
    new = [entry for entry in source.referrers(digest) if entry["digest"] not in there]
    is_listed = True
    for entry in new:
        content, media_type = _copy_manifest(source, entry["digest"], target, at_once=False)
        answer = target.put_manifest(content, media_type, entry["digest"])
        is_listed = is_listed and bool(answer.headers["OCI-Subject"])
    if new and not is_listed:
        target.list_referrers(digest, [*target.referrers(digest), *new])
    for suffix in _COSIGN_TAGS:
        tag = digest.replace(":", "-") + suffix
        if (signature := source.manifest(tag)) and target.manifest(tag) is None:
            content, media_type = _copy_manifest(source, digest_of(signature.content), target)
            target.put_manifest(content, media_type, tag)


def _copy_manifest(source: Repository, digest: str, target: Repository, *, at_once: bool = True) -> tuple[bytes, str]:
    """Copy what a manifest names, and (at once) itself under its digest; return its bytes and media type."""
    found = source.manifest(digest)
    if found is None:
        raise ImageError(ExitCode.REGISTRY, f"{digest} is not in the source.")
    manifest, media_type = json.loads(found.content), found.headers.get_content_type()
    for entry in manifest.get("manifests", ()):
        _copy_manifest(source, entry["digest"], target)
    for blob in _blobs_of(manifest):
        if target.has_blob(blob["digest"]) or target.mount_blob(blob["digest"], source):
            continue
        with tempfile.NamedTemporaryFile() as file:
            source.save_blob(blob["digest"], Path(file.name))
            _upload(target, blob["digest"], Path(file.name))
    if at_once:
        target.put_manifest(found.content, media_type, digest)
    return found.content, media_type


def _push_manifest(repository: Repository, layout: Path, entry: Mapping[str, Any], reference: str) -> None:
    try:
        content = _blob(layout, entry["digest"]).read_bytes()
        manifest = json.loads(content)
    except (OSError, ValueError) as error:
        raise ImageError(ExitCode.BUILD, f"{layout} lacks {entry['digest']}: {error}") from None
    for child in manifest.get("manifests", ()):
        _push_manifest(repository, layout, child, child["digest"])
    for blob in _blobs_of(manifest):
        if not repository.has_blob(blob["digest"]):
            _upload(repository, blob["digest"], _blob(layout, blob["digest"]))
    repository.put_manifest(content, entry["mediaType"], reference)


def _upload(repository: Repository, digest: str, path: Path) -> None:
    with path.open("rb") as file:
        repository.upload_blob(digest, file, path.stat().st_size)


def _blobs_of(manifest: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the configuration and the layers that a manifest names; an index has none."""
    if "config" in manifest:
        yield manifest["config"]
    yield from manifest.get("layers", ())


def _blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / "sha256" / digest.removeprefix("sha256:")


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docker-config", type=Path, required=True)
    parser.add_argument("repository")
    verbs = parser.add_subparsers(dest="verb", required=True)
    words_of = {
        "tag": ("digest",),
        "fetch": ("digest", "layout"),
        "soci": ("tag", "digest"),
        "push": ("tag", "layout"),
        "copy": ("digest", "target"),
    }
    for verb, words in words_of.items():
        subparser = verbs.add_parser(verb)
        for word in words:
            subparser.add_argument(word, type=Path if word == "layout" else str)
    options = parser.parse_args()
    repository = Repository(options.repository, options.docker_config)
    if options.verb == "fetch":
        fetch(repository, options.digest, options.layout)
        return
    if options.verb == "tag":
        printed = tag_of_published(published_image(repository, options.digest))
    elif options.verb == "soci":
        printed = soci_index(repository, options.tag, options.digest)
    elif options.verb == "push":
        printed = push(repository, options.tag, options.layout)
    else:
        printed = copy(repository, options.digest, Repository(options.target, options.docker_config))
    sys.stdout.write(f"{printed}\n")


if __name__ == "__main__":
    command(main)
