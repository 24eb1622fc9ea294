"""AWS and two local SageMakers in one process, at the same time: a session is all that tells them apart."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

import launcher
from launcher import Session, TrainingJob
from launcher.aws.training_job import list_jobs
from tests.helpers.job_files import write
from tests.helpers.local_server import BUCKET, serving
from tests.helpers.sagemaker_stand_in import StandIn, running

JOBS = 3


@pytest.fixture
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    with running() as stand_in:
        monkeypatch.setenv("AWS_ENDPOINT_URL", stand_in.endpoint)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        yield stand_in


@pytest.fixture
def sessions(_stand_in: StandIn, tmp_path: Path) -> Iterator[dict[str, Session]]:
    """AWS, which is the stand-in, and two local SageMakers."""
    with ExitStack() as stack:
        named = {"aws": Session()}
        for name in ("here", "there"):
            server = stack.enter_context(serving(tmp_path / name))
            records = tmp_path / name / "records"
            named[name] = Session(
                endpoint_url=server.address, access_key="local", region="us-east-1", records_dir=records
            )
            for channel in ("train", "validation", "test"):
                named[name].client("s3").put_object(Bucket=BUCKET, Key=f"{channel}/part-0.tfrecord", Body=b"record")
        yield named


def test_several_are_used_side_by_side(sessions: dict[str, Session], tmp_path: Path) -> None:
    job = launcher.load_job(write(tmp_path / "job.toml", {"training_image": '"distilbert-trainer:local"'}))
    before = dict(os.environ)

    def submit(name: str, number: int) -> TrainingJob:
        request = launcher.build_request(job, f"{name}-{number}")
        training_job = TrainingJob.submit(request, "us-east-1", session=sessions[name])
        assert training_job.describe()["TrainingJobName"] == f"{name}-{number}"
        return training_job

    with ThreadPoolExecutor(len(sessions)) as threads:
        submitted = list(threads.map(submit, list(sessions) * JOBS, [n for n in range(JOBS) for _ in sessions]))
    assert len(submitted) == JOBS * len(sessions)
    assert dict(os.environ) == before
    for name, session in sessions.items():
        local = session.for_region("us-east-1")
        assert {row["job"] for row in list_jobs(local)} >= {f"{name}-{number}" for number in range(JOBS)}
        assert {row["job"].partition("-")[0] for row in list_jobs(local)} == {name}
        assert TrainingJob.attach("latest", session=session).name.startswith(f"{name}-")
        links = TrainingJob.attach(f"{name}-0", "us-east-1", session=session).links()
        assert set(links) == ({"job", "logs", "output"} if name == "aws" else {"page"})
        hint = "launcher attach x" if name == "aws" else "launcher attach --local x"
        assert session.cli_hint("attach x") == hint
