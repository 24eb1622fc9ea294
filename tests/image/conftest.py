"""Containers of the built image, each labelled, each gone when the tests are.

IMAGE names the image, by default distilbert-trainer:local. Without an engine or the image these tests fail: who does
not want them deselects them (`-m "not image"`).
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.containers import Containers, Job, docker


@pytest.fixture(scope="session")
def containers() -> Iterator[Containers]:
    image = os.environ.get("IMAGE", "distilbert-trainer:local")
    docker("image", "inspect", image)
    session = Containers(image)
    yield session
    session.remove_all()


@pytest.fixture
def job(containers: Containers, tmp_path: Path) -> Job:
    return Job(containers, tmp_path)
