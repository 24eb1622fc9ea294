"""`launcher check` against the local SageMaker: every question that it asks AWS has an answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher import Session
from launcher.cli.main import main
from tests.helpers.job_files import write
from tests.helpers.local_server import BUCKET, serving


@pytest.fixture(autouse=True)
def _server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with serving(tmp_path / "state") as api:
        for name, value in {
            "AWS_ENDPOINT_URL": api.address,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_MAX_ATTEMPTS": "1",
        }.items():
            monkeypatch.setenv(name, value)
        yield


def test_check_passes_for_a_job_that_has_what_it_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for channel in ("train", "validation", "test"):
        Session(region="us-east-1").client("s3").put_object(Bucket=BUCKET, Key=f"{channel}/a", Body=b"x")
    job = write(tmp_path / "job.toml", {"training_image": '"distilbert-trainer:local"'})
    assert main(["check", "--file", str(job), "--output", "json"]) == 0
    results = {row["check"]: row["result"] for row in json.loads(capsys.readouterr().out)}
    assert results.pop("image") == "unknown"  # it has no name in ECR
    assert results.pop("training time") == "unknown"  # these channels have no manifests
    assert set(results.values()) == {"ok"}
    assert {"credentials", "role", "channel train", "output", "quota"} <= set(results)


def test_check_finds_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = write(tmp_path / "job.toml", {})
    assert main(["check", "--file", str(job), "--output", "json"]) == 2
    results = {row["check"]: row["result"] for row in json.loads(capsys.readouterr().out)}
    assert results["image"] == results["channel train"] == "failed"
    assert results["role"] == results["quota"] == "ok"


def test_quotas_are_told_page_by_page() -> None:
    quotas = Session(region="us-east-1").client("service-quotas")
    names = [
        quota["QuotaName"]
        for page in quotas.get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker")
        for quota in page["Quotas"]
    ]
    assert len(names) == len(set(names)) > 300
    assert "ml.c5.9xlarge for spot training job usage" in names
