"""ECR on loopback, small images to push there, and build_and_push.sh as a user runs it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.helpers.pushing import REPOSITORY, CutOff, Images, Push, forget_registry

if TYPE_CHECKING:
    from tests.helpers.ecr_stand_in import EcrStandIn


@pytest.fixture(scope="session")
def _ecr(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EcrStandIn]:
    from tests.helpers.ecr_stand_in import running

    program = subprocess.run(
        [REPOSITORY / "scripts" / "docker_registry.sh"], stdout=subprocess.PIPE, text=True, check=True
    )
    with running(tmp_path_factory.mktemp("registry"), program.stdout.strip()) as ecr:
        yield ecr
        forget_registry(f"127.0.0.1:{ecr.port}/")


@pytest.fixture
def ecr(_ecr: EcrStandIn) -> EcrStandIn:
    _ecr.reset()
    return _ecr


@pytest.fixture(scope="session")
def images() -> Iterator[Images]:
    session = Images()
    yield session
    session.remove_all()


@pytest.fixture(scope="session")
def cut_off(_ecr: EcrStandIn, images: Images, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CutOff]:
    """Begin a push that loses its registry. Docker tries again for most of a minute: it is looked at later."""
    push = Push(_ecr.endpoint, tmp_path_factory.mktemp("cut-off"))
    image = images.build("cut off", random_bytes=20_000_000)
    process = push.start("--image", image, "--repository", "mortal/star-rating")
    assert _ecr.has_died.wait(300)
    yield CutOff(push, image, process)
    if process.poll() is None:
        process.terminate()
        push.wait(process)


@pytest.fixture
def push(ecr: EcrStandIn, tmp_path: Path) -> Push:
    return Push(ecr.endpoint, tmp_path)
