"""A model hub on loopback, which speaks what huggingface_hub asks: a revision's description, and each file of it.

with running_hub(tiny_weights(tmp_path / "weights"), "owner/name", commit) as hub:
    os.environ["HF_ENDPOINT"] = hub.endpoint
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Hub:
    """What is served, and what was asked."""

    folder: Path
    repository: str
    commit: str
    token: str = ""
    """Without it in a request the answer is 401; empty: everybody may read."""
    port: int = 0
    downloads: list[str] = field(default_factory=list)
    """Names of the files that were sent."""

    @property
    def endpoint(self) -> str:
        """HF_ENDPOINT of this hub."""
        return f"http://127.0.0.1:{self.port}"


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        hub, path = self.hub, self.path.lstrip("/")
        if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
            self._answer(401, b"", {"X-Error-Code": "RepoNotFound"})
            return
        described, revision = path.startswith(f"api/models/{hub.repository}/revision/"), path.rpartition("/")[2]
        file = hub.folder / revision
        if described and revision == hub.commit:
            files = [{"rfilename": path.name} for path in hub.folder.iterdir()]
            document = {"id": hub.repository, "sha": hub.commit, "siblings": files}
            self._answer(200, json.dumps(document).encode(), {})
        elif described:
            self._answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
        elif path == f"{hub.repository}/resolve/{hub.commit}/{file.name}" and file.is_file():
            content = file.read_bytes()
            if self.command == "GET":
                hub.downloads.append(file.name)
            etag = f'"{hashlib.sha256(content).hexdigest()}"'
            self._answer(200, content, {"ETag": etag, "X-Repo-Commit": hub.commit})
        elif path.startswith(f"{hub.repository}/resolve/{hub.commit}/"):
            self._answer(404, b"", {"X-Error-Code": "EntryNotFound"})
        else:
            self._answer(404, b"", {"X-Error-Code": "RepoNotFound"})

    def do_GET(self) -> None:
        self.do_HEAD()

    def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None:
        return


@contextmanager
def running_hub(folder: Path, repository: str, commit: str, token: str = "") -> Iterator[Hub]:
    """Serve a folder's files as a repository at one commit."""
    hub = Hub(folder, repository, commit, token)
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        hub.port = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield hub
        finally:
            server.shutdown()
