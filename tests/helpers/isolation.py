"""What keeps a test from the developer's own AWS account, Docker engine and records."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def forget_aws(monkeypatch: pytest.MonkeyPatch, state: Path) -> None:
    """Take this process's AWS account away, and give it a state folder of its own."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "LAUNCHER_", "LOCAL_SAGEMAKER_ACCOUNT")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("XDG_STATE_HOME", str(state))


def forget_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the Docker engine away: by a port that nobody serves, as docker-py leaves a socket file's socket open."""
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
