"""`launcher local` and --local, as far as no container is needed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from launcher.cli.local import _bytes, _key, running_account, seconds_range
from launcher.cli.main import main
from launcher.errors import UsageError
from local_sagemaker.state import State, default_folder

REPOSITORY = Path(__file__).parents[3]
JOB = str(REPOSITORY / "jobs" / "local.toml")


def test_a_dry_run_needs_no_server(capsys: pytest.CaptureFixture[str]) -> None:
    before = dict(os.environ)
    assert main(["train", "--local", "--dry-run", "--file", JOB, "--image", "mine:1", "--job-name", "dry"]) == 0
    printed = capsys.readouterr()
    request = json.loads(printed.out)
    assert printed.err == ""  # what only AWS would mind is not said
    assert request["AlgorithmSpecification"]["TrainingImage"] == "mine:1"
    assert request["CheckpointConfig"]["S3Uri"] == "s3://star-rating/checkpoints/dry/"
    assert State(default_folder()).running_server() is None
    assert dict(os.environ) == before


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1"])
def test_a_server_that_starts_ends_and_keeps_what_it_was_given(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, region: str
) -> None:
    monkeypatch.setenv("AWS_REGION", region)
    (tmp_path / "reviews" / "a").mkdir(parents=True)
    (tmp_path / "reviews" / "a" / "b.tsv").write_text("text")
    assert main(["local", "start", "--jobs", "1"]) == 0
    exported = capsys.readouterr().out.splitlines()
    assert exported[0].startswith("export AWS_ENDPOINT_URL=http://127.0.0.1:")
    assert {f"export AWS_DEFAULT_REGION={region}", f"export AWS_REGION={region}"} <= set(exported)
    assert main(["local", "start"]) == 0  # for `eval`: the variables of the server that runs
    assert capsys.readouterr().out.splitlines() == exported
    assert main(["local", "start", "--jobs", "2"]) == 2  # which cannot be
    assert main(["local", "put", str(tmp_path / "reviews"), "s3://bucket/raw"]) == 0
    assert main(["local", "fault", "interrupt", "--after", "5..20", "--times", "3", "--job", "mine"]) == 0
    assert main(["local", "stop"]) == 0
    assert main(["local", "faults", "--output", "json"]) == 0
    (fault,) = json.loads(capsys.readouterr().out)
    assert (fault["kind"], fault["job"], fault["times"], fault["after"]) == ("interrupt", "mine", 3, [5.0, 20.0])
    objects = list((default_folder() / "s3" / "bucket").glob("*.json"))
    keys = [json.loads(path.read_text()).get("key") for path in objects]
    assert "raw/a/b.tsv" in keys
    assert main(["local", "stop"]) == 0
    assert default_folder().stat().st_mode & 0o077 == 0  # requests hold environment values


def test_a_new_accounts_server_refuses_what_an_old_ones_takes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "train.tfrecord").write_text("record")
    job = ["--local", "--file", JOB, "--image", "mine:1"]
    monkeypatch.setenv("LOCAL_SAGEMAKER_ACCOUNT", "old")
    try:
        assert main(["local", "start", "--account", "new"]) == 0  # the option stands above the variable
        assert main(["local", "faults"]) == 1
        assert "LOCAL_SAGEMAKER_ACCOUNT is old" in capsys.readouterr().err
        monkeypatch.delenv("LOCAL_SAGEMAKER_ACCOUNT")
        assert main(["local", "status", "--output", "json"]) == 0
        assert json.loads(capsys.readouterr().out)["account"] == "new"
        for channel in ("train", "validation", "test"):
            target = f"s3://star-rating/channels/{channel}/"
            assert main(["local", "put", str(tmp_path / "train.tfrecord"), target]) == 0
        assert main(["check", *job, "--output", "json"]) == 2
        rows = {row["check"]: row["result"] for row in json.loads(capsys.readouterr().out)}
        assert (rows["debugger"], rows["profiler"]) == ("failed", "failed")
        assert main(["train", *job, "--no-wait"]) == 1
        assert "launch without it: --without debugger --without profiler" in capsys.readouterr().err
    finally:
        main(["local", "stop", "--force"])


def test_the_kind_of_account_is_that_of_the_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert running_account() == "old"
    monkeypatch.setenv("LOCAL_SAGEMAKER_ACCOUNT", "new")
    assert running_account() == "new"
    monkeypatch.setenv("LOCAL_SAGEMAKER_ACCOUNT", "young")
    assert main(["local", "start"]) == 1
    assert "LOCAL_SAGEMAKER_ACCOUNT is 'young'; set it to new or old" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "expected"), [("20", (20.0, 20.0)), ("5..20", (5.0, 20.0)), ("0.5", (0.5, 0.5))])
def testseconds_range(text: str, expected: tuple[float, float]) -> None:
    assert seconds_range(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "5..", "..5"])
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(UsageError, match="write seconds"):
        seconds_range(text)


@pytest.mark.parametrize(("text", "expected"), [("4g", 4 << 30), ("512M", 512 << 20), ("1.5k", 1536), ("1000", 1000)])
def test_sizes(text: str, expected: int) -> None:
    assert _bytes(text) == expected


def test_keys_of_what_is_put(tmp_path: Path) -> None:
    folder, file = tmp_path / "folder", tmp_path / "file.tsv"
    (folder / "a").mkdir(parents=True)
    file.touch()
    assert _key(folder / "a" / "b", folder, "raw") == "raw/a/b"
    assert _key(folder / "a" / "b", folder, "raw/") == "raw/a/b"
    assert _key(folder / "b", folder, "") == "b"
    assert _key(file, file, "raw/") == "raw/file.tsv"
    assert _key(file, file, "raw/other.tsv") == "raw/other.tsv"
    assert _key(file, file, "") == "file.tsv"


def test_interrupt_after_is_for_local_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--file", JOB, "--interrupt-after", "5"]) == 2
    assert "--interrupt-after needs --local" in capsys.readouterr().err
