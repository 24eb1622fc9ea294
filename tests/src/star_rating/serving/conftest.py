"""One tiny model's exports for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.serving import tiny_export


@pytest.fixture(scope="session")
def served_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that stands for /opt/ml, with a model in it."""
    return tiny_export(tmp_path_factory.mktemp("served") / "ml")
