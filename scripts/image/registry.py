"""What is under a tag in a registry, and files attached to an image there, by the registry's HTTP API.

    python -m scripts.image.registry login  --docker-config FOLDER REGISTRY... < PASSWORD
    python -m scripts.image.registry find   --docker-config FOLDER REPOSITORY TAG IMAGE
    python -m scripts.image.registry attach --docker-config FOLDER REPOSITORY DIGEST MEDIA_TYPE=FILE...

`login` writes a configuration of Docker's that has the password of the user AWS in it, and names no credential store.
`find` prints the digest of the image under a tag, nothing if the tag is free; with another content than IMAGE's it
exits with 8. `attach` pushes files as OCI artifacts whose subject is the image (OCI distribution specification 1.1).
REPOSITORY is ECR's repositoryUri. The login is FOLDER's, in its config.json or where that says that it is kept.
"""

from __future__ import annotations

import argparse
import base64
import email.message
import hashlib
import http.client
import io
import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from scripts.image.content import difference
from scripts.image.engine import inspect
from scripts.image.errors import ExitCode, ImageError, command

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_EMPTY = b"{}"
_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"


@dataclass(frozen=True)
class Answer:
    """What the registry has answered."""

    status: int
    headers: email.message.Message
    content: bytes


class Repository:
    """One repository of a registry."""

    def __init__(self, uri: str, docker_config: Path) -> None:
        self._host, _, self._name = uri.partition("/")
        # As Docker does it: loopback may do without TLS.
        scheme = "http" if self._host.startswith(("127.", "localhost:")) else "https"
        self._base = f"{scheme}://{self._host}/v2/{self._name}/"
        self._authorization = f"Basic {_login_of(docker_config / 'config.json', self._host)}"

    def check_login(self) -> None:
        """Raise ImageError if the registry does not take the login."""
        self._request("GET", urllib.parse.urljoin(self._base, "/v2/"))

    def manifest(self, reference: str) -> Answer | None:
        """Return the manifest under a tag or digest, None if there is none; its digest is checked."""
        accept = {"Accept": ", ".join((MANIFEST, OCI_MANIFEST, *INDEXES))}
        answer = self._request("GET", f"manifests/{reference}", headers=accept, accepted=(200, 404))
        if answer.status == 404:
            return None
        named = reference if reference.startswith("sha256:") else answer.headers["Docker-Content-Digest"]
        if named != digest_of(answer.content):
            raise ImageError(
                ExitCode.REGISTRY,
                f"{self._host} calls the manifest {named}; its bytes are {digest_of(answer.content)}: something "
                "between here and there changes them.",
            )
        return answer

    def referrers(self, subject: str) -> list[dict[str, Any]]:
        """Return what refers to a manifest: the registry's list, else the index under the tag that stands for it."""
        answer = self._request("GET", f"referrers/{subject}", accepted=(200, 404))
        found = answer if answer.status == 200 else self.manifest(_referrers_tag(subject))
        entries: list[dict[str, Any]] = json.loads(found.content)["manifests"] if found else []
        return entries

    def list_referrers(self, subject: str, entries: Sequence[Mapping[str, Any]]) -> None:
        """Write the index of what refers to a manifest, for a registry that keeps no list of its own."""
        index = {"schemaVersion": 2, "mediaType": INDEXES[0], "manifests": entries}
        self.put_manifest(json.dumps(index, indent=1).encode(), INDEXES[0], _referrers_tag(subject))

    def blob(self, digest: str) -> bytes:
        """Return a blob's bytes."""
        return self._request("GET", f"blobs/{digest}").content

    def save_blob(self, digest: str, path: Path) -> None:
        """Write a blob, which may be gigabytes, into a file; raise ImageError if its bytes are others."""
        with path.open("wb") as file:
            self._request("GET", f"blobs/{digest}", into=file)
        with path.open("rb") as file:
            found = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        if found != digest:
            raise ImageError(ExitCode.REGISTRY, f"{self._host} answers for {digest} with the bytes of {found}.")

    def has_blob(self, digest: str) -> bool:
        """Tell whether the repository has a blob."""
        return self._request("HEAD", f"blobs/{digest}", accepted=(200, 404)).status == 200

    def mount_blob(self, digest: str, source: Repository) -> bool:
        """Take a blob over from another repository of the registry, if it lets us; nothing is moved."""
        if source._host != self._host:
            return False
        query = urllib.parse.urlencode({"mount": digest, "from": source._name})
        return self._request("POST", f"blobs/uploads/?{query}", b"", accepted=(201, 202)).status == 201

    def put_blob(self, content: bytes) -> str:
        """Upload a blob if the registry has it not yet; return its digest."""
        digest = digest_of(content)
        if not self.has_blob(digest):
            self.upload_blob(digest, io.BytesIO(content), len(content))
        return digest

    def upload_blob(self, digest: str, content: IO[bytes], size: int) -> None:
        """Upload a blob of `size` bytes in one piece, as Docker does it."""
        began = self._request("POST", "blobs/uploads/", b"", accepted=(202,))
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        sent = self._request("PATCH", self._place(began), content, headers, accepted=(202,))
        place = self._place(sent)
        place += ("&" if "?" in place else "?") + urllib.parse.urlencode({"digest": digest})
        self._request("PUT", place, b"", accepted=(201,))

    def put_manifest(self, content: bytes, media_type: str, reference: str) -> Answer:
        """Upload a manifest under its digest or a tag."""
        return self._request("PUT", f"manifests/{reference}", content, {"Content-Type": media_type}, accepted=(201,))

    def _place(self, answer: Answer) -> str:
        return urllib.parse.urljoin(self._base, str(answer.headers["Location"]))

    def _request(
        self,
        method: str,
        path: str,
        content: bytes | IO[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        accepted: tuple[int, ...] = (200,),
        into: IO[bytes] | None = None,
    ) -> Answer:
        url = urllib.parse.urljoin(self._base, path)
        request = urllib.request.Request(url, content, dict(headers or {}), method=method)  # noqa: S310 - http or https
        # Not to be sent on: ECR redirects to S3, which refuses a second kind of authorization.
        request.add_unredirected_header("Authorization", self._authorization)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                if into:
                    shutil.copyfileobj(answer, into, 1 << 20)
                found = Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            found = Answer(error.code, error.headers, error.read())
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error or type(error).__name__
            raise ImageError(ExitCode.REGISTRY, f"{self._host} does not answer: {reason}") from None
        if found.status not in accepted:
            raise ImageError(ExitCode.REGISTRY, f"{self._host} answers {method} {path} by {_said(found)}")
        return found


def find(repository: Repository, tag: str, image: Mapping[str, Any]) -> str:
    """Return the digest under a tag, "" if it is free; raise ImageError if it has another content than the image."""
    published = repository.manifest(tag)
    if published is None:
        return ""
    digest, manifest = digest_of(published.content), json.loads(published.content)
    if published.headers.get_content_type() != MANIFEST:
        found = f"its manifest is {published.headers.get_content_type()}"
    elif image["Id"] in (digest, manifest["config"]["digest"]):  # of containerd's image store, of Docker's own
        return digest
    else:
        found = difference(json.loads(repository.blob(manifest["config"]["digest"])), image)
        if not found:
            return digest
    raise ImageError(
        ExitCode.CONFLICT,
        f"{tag} is in the registry with another content, {digest} (compared with {image['Id']}: {found}).",
    )


def attach(repository: Repository, subject: str, files: Sequence[tuple[Path, str]]) -> None:
    """Push files, each with its media type, as artifacts that refer to the image with digest `subject`.

    Of a media type that the image has one of already none is pushed. All at once: where the registry keeps no list of
    referrers, clients look under a tag, which can be written a single time if tags are immutable.
    """
    image = repository.manifest(subject)
    if image is None:
        raise ImageError(ExitCode.REGISTRY, f"{subject} is not in the registry: nothing can be attached to it.")
    referrers = repository.referrers(subject)
    there = {entry.get("artifactType") for entry in referrers}
    pushed, is_listed = [], True
    for file, media_type in files:
        if media_type in there:
            continue
        content = file.read_bytes()
        layer = descriptor(media_type, content) | {"annotations": {"org.opencontainers.image.title": file.name}}
        artifact = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": media_type,
            "config": descriptor(_EMPTY_TYPE, _EMPTY),
            "layers": [layer],
            "subject": descriptor(image.headers.get_content_type(), image.content),
        }
        repository.put_blob(_EMPTY)
        repository.put_blob(content)
        manifest = json.dumps(artifact, indent=1).encode()
        answer = repository.put_manifest(manifest, OCI_MANIFEST, digest_of(manifest))
        is_listed = is_listed and bool(answer.headers["OCI-Subject"])
        pushed.append(descriptor(OCI_MANIFEST, manifest) | {"artifactType": media_type})
    if not is_listed:
        repository.list_referrers(subject, [*referrers, *pushed])


def log_in(registries: Sequence[str], docker_config: Path, password: str) -> None:
    """Keep ECR's password, one for all of a region's, in a file that only its owner reads.

    Raise ImageError if a registry does not take it.
    """
    login = {"auth": base64.b64encode(f"AWS:{password}".encode()).decode()}
    content = {"auths": dict.fromkeys(registries, login)}
    path = docker_config / "config.json"
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(content, file)
    for registry in registries:
        Repository(f"{registry}/", docker_config).check_login()


def _login_of(config: Path, host: str) -> str:
    """Return a registry's login in base64, from Docker's configuration or its credential helper; raise ImageError."""
    try:
        known = json.loads(config.read_text(encoding="utf-8"))
        login = known.get("auths", {}).get(host, {}).get("auth")
        store = known.get("credHelpers", {}).get(host) or known.get("credsStore")
    except (OSError, ValueError, AttributeError) as error:
        raise ImageError(ExitCode.REGISTRY, f"{config} has no logins: {error}") from None
    if not login and store:
        login = _kept_login(str(store), host)
    if not login:
        raise ImageError(ExitCode.REGISTRY, f"{config} has no login for {host}: no basic auth credentials")
    return str(login)


def _kept_login(store: str, host: str) -> str:
    """Ask a credential helper, as the docker CLI does it; raise ImageError."""
    helper = f"docker-credential-{store}"
    try:
        done = subprocess.run([helper, "get"], input=host, capture_output=True, text=True, check=True, timeout=60)  # noqa: S603
        found = json.loads(done.stdout)
        return base64.b64encode(f"{found['Username']}:{found['Secret']}".encode()).decode()
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) else type(error).__name__
        text = f"{helper} does not tell the login of {host} ({reason}): no basic auth credentials"
        raise ImageError(ExitCode.REGISTRY, text) from None


def _referrers_tag(subject: str) -> str:
    return subject.replace(":", "-")


def descriptor(media_type: str, content: bytes) -> dict[str, Any]:
    """Return what names a blob or manifest in another: media type, digest, size."""
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


def digest_of(content: bytes) -> str:
    """Return the digest that registries know bytes by."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _said(answer: Answer) -> str:
    try:
        errors = json.loads(answer.content)["errors"]
        return f"{answer.status}: " + "; ".join(f"{error['code'].lower()}: {error['message']}" for error in errors)
    except (ValueError, LookupError, TypeError):
        return f"{answer.status}"


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    words_of = {"login": (), "find": ("repository", "tag", "image"), "attach": ("repository", "digest")}
    for verb, words in words_of.items():
        subparser = verbs.add_parser(verb)
        subparser.add_argument("--docker-config", type=Path, required=True)
        for word in words:
            subparser.add_argument(word)
        if verb == "login":
            subparser.add_argument("registries", nargs="+", metavar="REGISTRY")
        elif verb == "attach":
            subparser.add_argument("files", nargs="+", metavar="MEDIA_TYPE=FILE")
    options = parser.parse_args()
    if options.verb == "login":
        log_in(options.registries, options.docker_config, sys.stdin.readline().strip())
        return
    repository = Repository(options.repository, options.docker_config)
    if options.verb == "find":
        print(find(repository, options.tag, inspect(options.image)))  # noqa: T201 - this command's output
    else:
        pairs = [text.partition("=") for text in options.files]
        attach(repository, options.digest, [(Path(file), media_type) for media_type, _, file in pairs])


if __name__ == "__main__":
    command(main)
