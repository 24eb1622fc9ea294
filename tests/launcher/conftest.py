"""What the launcher's tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from botocore.retries.standard import ExponentialBackoff

from tests.helpers.isolation import forget_aws, forget_docker

if TYPE_CHECKING:
    from tests.helpers.sagemaker_stand_in import StandIn


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    forget_aws(monkeypatch, tmp_path / "state")
    forget_docker(monkeypatch)


@pytest.fixture(scope="session")
def _stand_in() -> Iterator[StandIn]:
    from tests.helpers.sagemaker_stand_in import running

    with running() as stand_in:
        yield stand_in


@pytest.fixture
def aws(_stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """AWS on loopback, and this process's environment set to it; clients are kept from test to test."""
    from tests.helpers.sagemaker_stand_in import BUCKET

    for name, value in {
        "AWS_ENDPOINT_URL": _stand_in.endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "2",
    }.items():
        monkeypatch.setenv(name, value)
    # A throttled call is repeated after a hundredth of the pause; the setting is private to botocore.
    monkeypatch.setitem(ExponentialBackoff._DEFAULT_BACKOFF_CONFIG, "throttling_base_scale", 0.01)
    _stand_in.reset()
    # Again each time: moto is one for the whole process, and the local SageMaker's tests empty it.
    _stand_in.client("s3").create_bucket(Bucket=BUCKET)
    _stand_in.calls.clear()
    return _stand_in
