"""scripts/image/registry.py where a registry is not like the tests' own: ECR lists referrers, and keeps blobs in S3."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from scripts.image.errors import ExitCode, ImageError
from scripts.image.registry import MANIFEST, Repository, attach, find, log_in

SBOM = "application/vnd.cyclonedx+json"
LOGIN = base64.b64encode(b"AWS:password").decode()

_HELPER = """\
#!/bin/sh
[ "$1" = get ] && [ "$(cat)" = "{host}" ] && {answer}
"""


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class EcrLike(BaseHTTPRequestHandler):
    """Manifests, blobs behind a redirection, uploads, and OCI 1.1's list of referrers."""

    stored: dict[str, bytes]
    referrers: list[dict[str, Any]]
    answered_digest: str | None
    received: list[tuple[str, str, bool]]
    uploaded: list[bytes]
    port: int

    def _answer(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, text in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_GET(self) -> None:
        self.received.append((self.command, self.path, "Authorization" in self.headers))
        kind, _, name = self.path.removeprefix("/v2/team/trainer/").partition("/")
        if self.path == "/v2/":
            taken = self.headers["Authorization"] == f"Basic {LOGIN}"
            self._answer(200 if taken else 401)
        elif self.path.startswith("/s3/"):
            self._answer(200, self.stored[self.path.removeprefix("/s3/")])
        elif kind == "referrers":
            self._answer(200, json.dumps({"manifests": self.referrers}).encode())
        elif name not in self.stored:
            self._answer(404)
        elif kind == "blobs":
            self._answer(307, Location=f"/s3/{name}")
        else:
            content = self.stored[name]
            digest = self.answered_digest or digest_of(content)
            self._answer(200, content, Content_Type=MANIFEST, Docker_Content_Digest=digest)

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        self._answer(202, Location="/upload?state=1")

    def do_PATCH(self) -> None:
        self.uploaded[:] = [self.rfile.read(int(self.headers["Content-Length"]))]
        self._answer(202, Location="/upload?state=2")

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"])) or self.uploaded.pop()
        self.stored[digest_of(content)] = content
        if "/manifests/" in self.path:
            manifest = json.loads(content)
            self.referrers.append({"digest": digest_of(content), "artifactType": manifest["artifactType"]})
            self._answer(201, OCI_Subject=manifest["subject"]["digest"])
        else:
            self._answer(201)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture
def server() -> Iterator[type[EcrLike]]:
    class Handler(EcrLike):
        stored: dict[str, bytes] = {}  # noqa: RUF012 - one class a test
        referrers: list[dict[str, Any]] = []  # noqa: RUF012
        received: list[tuple[str, str, bool]] = []  # noqa: RUF012
        uploaded: list[bytes] = []  # noqa: RUF012
        answered_digest = None

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        Handler.port = http.server_port
        yield Handler
        http.shutdown()
        thread.join()


@pytest.fixture
def repository(server: type[EcrLike], tmp_path: Path) -> Repository:
    host = f"127.0.0.1:{server.port}"
    logins = {"auths": {host: {"auth": LOGIN}}}
    (tmp_path / "config.json").write_text(json.dumps(logins), encoding="utf-8")
    return Repository(f"{host}/team/trainer", tmp_path)


def publish(server: type[EcrLike], tag: str) -> str:
    config = json.dumps({"config": {"Labels": {"a": "1"}}, "rootfs": {"diff_ids": ["sha256:1"]}}).encode()
    manifest = json.dumps({"config": {"digest": digest_of(config)}}).encode()
    server.stored |= {digest_of(config): config, digest_of(manifest): manifest, tag: manifest}
    return digest_of(manifest)


def test_a_file_is_attached_once_and_the_registry_lists_it(
    server: type[EcrLike], repository: Repository, tmp_path: Path
) -> None:
    subject = publish(server, "v1")
    file = tmp_path / "sbom.cdx.json"
    file.write_bytes(b"{}\n")
    for _ in range(2):
        attach(repository, subject, [(file, SBOM)])
    (entry,) = server.referrers
    artifact = json.loads(server.stored[entry["digest"]])
    assert artifact["subject"]["digest"] == subject
    assert server.stored[artifact["layers"][0]["digest"]] == b"{}\n"
    assert subject.replace(":", "-") not in server.stored  # no tag: the registry has a list


def test_the_login_is_not_sent_on_to_where_blobs_are(server: type[EcrLike], repository: Repository) -> None:
    digest = publish(server, "v1")
    image = {"Id": "sha256:other", "Config": {"Labels": {"a": "1"}}, "RootFS": {"Layers": ["sha256:1"]}}
    assert find(repository, "v1", image) == digest
    assert find(repository, "v2", image) == ""
    (blob,) = (entry for entry in server.received if entry[1].startswith("/s3/"))
    assert blob[2] is False
    assert all(authorized for _, path, authorized in server.received if path.startswith("/v2/"))


def test_bytes_that_are_not_what_the_registry_calls_them(server: type[EcrLike], repository: Repository) -> None:
    publish(server, "v1")
    server.answered_digest = "sha256:0"
    with pytest.raises(ImageError, match="something between here and there changes them") as error:
        find(repository, "v1", {})
    assert error.value.exit_code == ExitCode.REGISTRY


def test_the_password_is_in_a_file_of_its_own_and_in_no_credential_store(
    server: type[EcrLike], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for store in ("osxkeychain", "secretservice", "pass", "wincred", "desktop"):
        helper = tmp_path / "bin" / f"docker-credential-{store}"
        helper.parent.mkdir(exist_ok=True)
        helper.write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\n")
        helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    host = f"127.0.0.1:{server.port}"
    log_in([host], tmp_path, "password")
    assert stat.S_IMODE((tmp_path / "config.json").stat().st_mode) == 0o600
    assert json.loads((tmp_path / "config.json").read_text()) == {"auths": {host: {"auth": LOGIN}}}
    assert Repository(f"{host}/team/trainer", tmp_path).manifest("v1") is None
    assert not (tmp_path / "asked").exists()
    with pytest.raises(ImageError, match="401") as refused:
        log_in([host], tmp_path, "another")
    assert refused.value.exit_code is ExitCode.REGISTRY


@pytest.mark.parametrize("field", ["credsStore", "credHelpers"])
def test_a_login_that_a_credential_helper_keeps_is_asked_for(
    server: type[EcrLike], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    host = f"127.0.0.1:{server.port}"
    config: dict[str, Any] = {"auths": {host: {}}, field: "kept" if field == "credsStore" else {host: "kept"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    helper = tmp_path / "docker-credential-kept"
    helper.write_text(_HELPER.format(host=host, answer='echo \'{"Username": "AWS", "Secret": "password"}\''))
    helper.chmod(0o755)
    Repository(f"{host}/team/trainer", tmp_path).check_login()
    for answer in ("exit 1", "echo '{}'", "echo not JSON", "echo []"):
        helper.write_text(_HELPER.format(host=host, answer=answer))
        with pytest.raises(ImageError, match="docker-credential-kept does not tell the login"):
            Repository(f"{host}/team/trainer", tmp_path)
    helper.unlink()
    with pytest.raises(ImageError, match="No such file"):
        Repository(f"{host}/team/trainer", tmp_path)


@pytest.mark.parametrize(
    "config", ["", "{}", "[]", '{"auths": {}}', '{"auths": {"host": {"auth": ""}}}', '{"auths": []}']
)
def test_a_configuration_without_a_login_is_a_sentence(config: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(ImageError, match=r"config.json has no login"):
        Repository("host/team/trainer", tmp_path)
