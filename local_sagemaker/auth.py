"""Who may drive a server: whoever holds its token, which only the owner of the state folder can read.

    access = Access.of(state.folder)                # the token is made once, and outlives the server
    access.admits("LOCAL...")                       # as an AWS access key id
    access.admits_cookie(header, port)              # as the page's cookie
    access.signed("/_local/image-config/sha256:1")  # one address, for whoever is given it

AWS's clients send the token as their access key id. Signatures are not checked: on loopback nobody but root listens.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import threading
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from urllib.parse import parse_qs

from local_sagemaker.errors import EmulatorError

_TOKEN = "token"  # noqa: S105 - a file's name
_ISSUED = "issued-access-keys"
_SHORTEST = 5


class TokenError(EmulatorError):
    """The state folder's token cannot be read."""


class Access:
    """The token of one state folder, and the temporary access keys that STS and IAM have issued here."""

    def __init__(self, token: str, issued: Path | None = None) -> None:
        self.token = token
        self._issued = issued
        self._lock = threading.Lock()
        known = issued.read_text(encoding="ascii").split() if issued is not None and issued.exists() else []
        self._digests = {_digest(key) for key in [token, *known]}

    @classmethod
    def of(cls, folder: Path) -> Access:
        """Return the access to a state folder, with a new token if it has none; raise TokenError."""
        path = folder / _TOKEN
        if not path.exists():
            # Letters and digits only: some clients take nothing else for an access key id.
            token = "LOCAL" + base64.b32encode(secrets.token_bytes(20)).decode()
            aside = folder / f"{_TOKEN}.new"
            aside.unlink(missing_ok=True)
            with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(token)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        token = path.read_text(encoding="ascii", errors="replace").strip()
        if len(token) < _SHORTEST or not token.isalnum():
            raise TokenError(f"{path} holds no token: delete it, and start the server again")
        return cls(token, folder / _ISSUED)

    def admits(self, key: str) -> bool:
        """Tell whether an access key id is the token, or has been issued here; takes as long for any key."""
        digest = _digest(key)
        return any([hmac.compare_digest(digest, known) for known in self._digests])  # noqa: C419 - all of them

    def issue(self, key: str) -> None:
        """Let in who has an access key that STS or IAM has just answered with."""
        with self._lock:
            self._digests |= {_digest(key)}
            if self._issued is not None:
                descriptor = os.open(self._issued, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                with os.fdopen(descriptor, "w", encoding="ascii") as file:
                    file.write(f"{key}\n")

    def cookie(self, port: str) -> str:
        """Return what Set-Cookie gives a browser that came with the token; it opens the page, and not AWS's API."""
        return f"{_cookie_name(port)}={self._mac('cookie')}; HttpOnly; SameSite=Strict; Path=/"

    def admits_cookie(self, header: str, port: str) -> bool:
        """Tell whether a Cookie header has the page's cookie."""
        try:
            found = SimpleCookie(header).get(_cookie_name(port))
        except CookieError:
            return False
        return found is not None and _same(found.value, self._mac("cookie"))

    def signed(self, path: str) -> str:
        """Return a path with a signature, for a client that sends no credentials: it opens this path alone."""
        return f"{path}?signature={self._mac(path)}"

    def has_signature(self, path: str, query: str) -> bool:
        """Tell whether a path came with its signature."""
        return _same(parse_qs(query).get("signature", [""])[-1], self._mac(path))

    def _mac(self, text: str) -> str:
        return hmac.new(self.token.encode(), text.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def _cookie_name(port: str) -> str:
    """Cookies do not tell ports apart, so that the name has to."""
    return f"local-sagemaker-{port}"


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "replace")).digest()


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode())
