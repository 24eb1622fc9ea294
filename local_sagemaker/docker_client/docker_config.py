"""The docker CLI's configuration, read as the CLI reads it: which engine, and whose credentials for a registry.

    endpoint = current_endpoint(os.environ)     # DOCKER_HOST, else DOCKER_CONTEXT, else config.json's currentContext
    Client(**endpoint.arguments)
    credentials("ghcr.io/owner/image:1", os.environ)    # what `docker login` has left, or a credential helper has

docker-py's own `from_env` reads no context, and its ContextAPI leaves DOCKER_CONFIG where that has no config.json.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
from docker.auth import AuthConfig, resolve_repository_name
from docker.errors import DockerException

from local_sagemaker.errors import EmulatorError

_CREDENTIAL_KEYS = ("auths", "credsStore", "credHelpers")

Environment = Mapping[str, str]


class Client(docker.APIClient):
    """docker-py's client, which trusts whom the context says, and not REQUESTS_CA_BUNDLE, as `requests` would."""

    def merge_environment_settings(self, *arguments: Any, **options: Any) -> dict[str, Any]:  # noqa: ANN401 - requests'
        """Return what a request is sent with."""
        settings: dict[str, Any] = super().merge_environment_settings(*arguments, **options)
        return settings | {"verify": self.verify}


class ContextError(EmulatorError):
    """The current context names no engine that can be used here."""


@dataclass(frozen=True)
class Endpoint:
    """An engine's address, and where it was found."""

    origin: str
    """For messages."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """Of the client."""

    def __str__(self) -> str:
        """Name it as a user knows it."""
        return f"{self.arguments.get('base_url', 'unix:///var/run/docker.sock')} ({self.origin})"


def current_endpoint(environ: Environment) -> Endpoint:
    """Return the engine that `docker` would talk to; raise ContextError."""
    if environ.get("DOCKER_HOST"):
        endpoint = Endpoint("DOCKER_HOST", _from_environment(environ))
    else:
        name = environ.get("DOCKER_CONTEXT") or str(_config(environ).get("currentContext") or "default")
        endpoint = Endpoint("the default engine", {}) if name == "default" else _context(name, environ)
    if str(endpoint.arguments.get("base_url", "")).startswith("ssh://"):
        raise ContextError(
            f"the Docker engine is {endpoint}, on another machine: a job's folders are on this one and could not be "
            "mounted; `docker context use default`, or DOCKER_HOST, names an engine that is here"
        )
    return endpoint


def credentials(image: str, environ: Environment) -> dict[str, Any] | None:
    """Return what an image's registry is told, None if nothing is known; a helper that fails knows nothing."""
    found = {key: value for key, value in _config(environ).items() if key in _CREDENTIAL_KEYS and value}
    try:
        registry, _ = resolve_repository_name(image)
        config = AuthConfig.load_config(None, {"auths": {}, **found}, dict(environ))
        known: dict[str, Any] | None = config.resolve_authconfig(registry)
    except (DockerException, ValueError, TypeError, AttributeError, OSError, subprocess.SubprocessError):
        return None
    return known or None


def _directory(environ: Environment) -> Path:
    return Path(environ.get("DOCKER_CONFIG") or Path.home() / ".docker")


def _config(environ: Environment) -> dict[str, Any]:
    try:
        config = json.loads((_directory(environ) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return config if isinstance(config, dict) else {}


def _from_environment(environ: Environment) -> dict[str, Any]:
    try:
        return dict(docker.utils.kwargs_from_env(environ))
    except DockerException as error:
        raise ContextError(f"DOCKER_HOST is {environ['DOCKER_HOST']}, and DOCKER_CERT_PATH: {error}") from None


def _context(name: str, environ: Environment) -> Endpoint:
    """Return a context of the CLI's store: contexts/meta/<sha256 of the name>/meta.json, and contexts/tls beside it."""
    store, key = _directory(environ) / "contexts", hashlib.sha256(name.encode()).hexdigest()
    try:
        described = json.loads((store / "meta" / key / "meta.json").read_text(encoding="utf-8"))["Endpoints"]["docker"]
        host, skips_verification = str(described["Host"]), bool(described.get("SkipTLSVerify"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ContextError(
            f"the docker context {name} cannot be read ({type(error).__name__}: {error}): `docker context ls` has "
            "those that are there, and `docker context use` or DOCKER_HOST names one"
        ) from None
    endpoint = Endpoint(f"the docker context {name}", {"base_url": host})
    files = store / "tls" / key / "docker"
    if host.startswith("tcp://") and (files.is_dir() or skips_verification):
        pair = (str(files / "cert.pem"), str(files / "key.pem"))
        authority = files / "ca.pem"
        try:
            endpoint.arguments["tls"] = docker.tls.TLSConfig(
                client_cert=pair if all(map(os.path.exists, pair)) else None,
                ca_cert=str(authority) if authority.exists() else None,
                verify=not skips_verification,
            )
        except DockerException as error:
            raise ContextError(f"{endpoint}: {error}") from None
    return endpoint
