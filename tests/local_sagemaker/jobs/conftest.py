"""A local SageMaker for the whole session: moto's memory is the process's, so there is one server at a time."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.helpers.isolation import forget_aws

if TYPE_CHECKING:
    from local_sagemaker.server import LocalServer
    from tests.helpers.emulator import LocalSageMaker

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    forget_aws(monkeypatch, tmp_path / "xdg")
    monkeypatch.setenv("LOCAL_SAGEMAKER_STATE", str(tmp_path / "local"))


@pytest.fixture(scope="session")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    from local_sagemaker.server import LocalServer, ServerSettings
    from local_sagemaker.state import State

    settings = ServerSettings(jobs_at_once=4, stop_seconds=2)
    with LocalServer(State(tmp_path_factory.mktemp("state")), settings) as server:
        yield server


@pytest.fixture
def server(_server: LocalServer) -> LocalServer:
    """The session's server, with a bucket; another test may have made moto forget it."""
    _server.objects.make_bucket("bucket")
    return _server


@pytest.fixture
def sagemaker(server: LocalServer, job_image: str) -> LocalSageMaker:  # noqa: ARG001 - jobs need the image
    """The session's server, with an image for jobs of one line."""
    from tests.helpers.emulator import LocalSageMaker

    return LocalSageMaker(server)


@pytest.fixture(scope="session")
def job_image() -> str:
    from tests.helpers.emulator import IMAGE, build_image

    base = subprocess.run(
        [REPOSITORY / "scripts/base_image.sh"], capture_output=True, text=True, check=True
    ).stdout.strip()
    build_image(base)
    return IMAGE
