"""The local SageMaker's tests without Docker."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.isolation import forget_aws, forget_docker


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    forget_aws(monkeypatch, tmp_path / "state")
    forget_docker(monkeypatch)
