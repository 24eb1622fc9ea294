"""The state folder's files: damaged, of an older version, on a disk that is full. Servers of processes of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_sagemaker import client
from local_sagemaker.client import control, start_server, stop_server
from local_sagemaker.job_repository import JobRepository
from local_sagemaker.job_state import Job
from local_sagemaker.state import Server, State
from local_sagemaker.state_files import StateFiles, StorageError, append, write
from tests.helpers.emulator import BUCKET, LocalSageMaker

DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-2]),
    "zeros": lambda path: path.write_bytes(bytes(4096)),
    "not UTF-8": lambda path: path.write_bytes(b"\xff\xfe"),
    "other JSON": lambda path: path.write_text('["of", {"something": "else"}]'),
    "deep": lambda path: path.write_text("[" * 100_000),
    "a folder": lambda path: replaced_by(Path.mkdir, path),
    "a FIFO": lambda path: replaced_by(os.mkfifo, path),
}


def replaced_by(make: Callable[[Path], None], path: Path) -> None:
    path.unlink()
    make(path)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    state = State(tmp_path / "state")
    yield state
    stop_server(state)


def start(state: State, *options: str) -> LocalSageMaker:
    return LocalSageMaker(start_server(state, options))


def damaged(state: State) -> list[str]:
    server = state.running_server()
    assert server is not None
    sentences: list[str] = control(server, "GET", "status")["damaged"]
    return sentences


def put_aside(folder: Path, name: str) -> list[Path]:
    return sorted(folder.glob(f"{name}.damaged-*"))


def of_another_type(content: bytes) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(content)
    return {name: value["text"] for name, value in document.items()}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named_and_put_aside(tmp_path: Path, damage: str) -> None:
    path, files = tmp_path / "records.json", StateFiles()
    write(path, b'{"a": {"text": "b"}}')
    assert files.read(path, of_another_type, "records") == {"a": "b"}
    DAMAGES[damage](path)
    assert files.read(path, of_another_type, "two records") is None
    assert len(put_aside(tmp_path, "records.json")) == 1
    assert not path.exists()
    assert [str(path) in sentence and "two records" in sentence for sentence in files.damaged] == [True]
    assert files.read(path, of_another_type, "two records") is None  # there is none any more: no damage
    assert len(files.damaged) == 1


def test_lines_are_appended_after_one_that_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    append(path, b"one\n")
    path.write_bytes(b"one\ntw")
    append(path, b"three\n")
    assert path.read_bytes() == b"one\ntw\nthree\n"


def job_folders(sagemaker: LocalSageMaker, state: State, count: int) -> list[Path]:
    """Create jobs that wait for a machine for ever: nothing of them is on the engine."""
    request = sagemaker.request()
    names = [f"{request['TrainingJobName']}-{number}" for number in range(count)]
    for name in names:
        sagemaker.client("sagemaker").create_training_job(**request | {"TrainingJobName": name})
    return [state.folder / "jobs" / "training" / name for name in names]


@pytest.mark.docker
def test_a_server_starts_whatever_is_damaged_and_serves_the_rest(
    state: State, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    sagemaker = start(state)
    control(state.running_server() or pytest.fail("no server"), "POST", "faults", {"kind": "capacity", "seconds": 3600})
    s3 = sagemaker.client("s3")
    for bucket in ("bucket", "other"):
        s3.create_bucket(Bucket=bucket)
        for key in ("kept", "record", "content"):
            s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    sagemaker.client("ecr").create_repository(repositoryName="kept")
    sagemaker.client("sagemaker").create_experiment(ExperimentName="experiment")
    kept, *broken = job_folders(sagemaker, state, 1 + len(DAMAGES))
    stop_server(state)

    for folder, damage in zip(broken, DAMAGES.values(), strict=True):
        damage(folder / "job.json")
    shutil.copytree(kept, kept.with_name("foreign"))  # its document is another job's
    log = kept / "log"
    log.mkdir(exist_ok=True)
    (log / "algo-1-1.jsonl").write_bytes(b'{"t": "x", "m": 1}\n[]\n\xff\n{"t": 1790000000000000000, "m": "line"}\n')
    (kept / "metrics.jsonl").write_bytes(b'{"t": [], "name": {}, "value": "x"}\n\xff\n')
    (state.folder / "faults.json").write_text("garbage")
    (state.folder / "api" / "records.json").write_bytes(b"")
    with (state.folder / "journal.jsonl").open("ab") as journal:
        journal.write(b'\xff\n{"REQUEST_METHOD": "POST", "PATH_INFO": "/", "body": ""}\n{"REQUEST_METHOD"')
    (state.folder / "s3" / "other" / "bucket.json").write_bytes(b"")
    for path in (state.folder / "s3" / "bucket").glob("*.json"):
        record = json.loads(path.read_text())
        if record.get("key") == "record":
            path.write_text("{}")
        if record.get("key") == "content":
            (path.parent / record["content"]).write_bytes(b"co")
    (state.folder / "s3" / "ab").mkdir()
    (state.folder / "s3" / "ab" / "bucket.json").write_text('{"region": "us-east-1"}')

    sagemaker = start(state)
    names = {
        job["TrainingJobName"] for job in sagemaker.client("sagemaker").list_training_jobs()["TrainingJobSummaries"]
    }
    assert names == {kept.name}
    assert sagemaker.keys() == ["kept"]
    assert sagemaker.read("s3://other/content") == b"content"
    assert sagemaker.client("ecr").describe_repositories()["repositories"][0]["repositoryName"] == "kept"
    assert sagemaker.client("sagemaker").list_experiments()["ExperimentSummaries"] == []
    for folder in (*broken, kept.with_name("foreign")):
        assert put_aside(folder, "job.json"), folder
    for folder, name in (
        (state.folder, "faults.json"),
        (state.folder / "api", "records.json"),
        (state.folder, "journal.jsonl"),
        (state.folder / "s3" / "other", "bucket.json"),
        (state.folder / "s3", "ab"),
    ):
        assert put_aside(folder, name), name
        assert any(str(folder / name) in sentence for sentence in damaged(state))
    said = capsys.readouterr().err
    assert all(sentence in said.replace("\n", "") for sentence in damaged(state)[:1])

    again = broken[0].name  # its name is free; what is damaged stays
    sagemaker.client("sagemaker").create_training_job(**sagemaker.request() | {"TrainingJobName": again})
    assert put_aside(broken[0], "job.json")
    stop_server(state)
    start(state)
    assert damaged(state) == []


@pytest.mark.docker
def test_the_state_of_an_older_version_loads(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders by bare names, whatever the region; documents without fields of today."""
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    folder = state.folder / "jobs" / "training" / "same"
    folder.mkdir(parents=True)
    request = LocalSageMaker(Server(0, 0)).request() | {"TrainingJobName": "same"}
    document = {
        "kind": "training",
        "name": "same",
        "region": "eu-west-1",
        "request": request,
        "creation_time": 1.0,
        "status": "Stopped",
        "secondary_status": "Stopped",
    }
    (folder / "job.json").write_text(json.dumps(document))
    sagemaker = start(state)
    sagemaker.client("sagemaker").create_training_job(**request)  # in another region: both are there
    stop_server(state)
    assert json.loads((folder / "job.json").read_text())["region"] == "eu-west-1"
    sagemaker = start(state)
    assert sagemaker.describe("same")["TrainingJobName"] == "same"
    assert sorted(path.parent.name for path in folder.parent.glob("*/job.json")) == ["same", "same.us-east-1"]
    assert damaged(state) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 32 MB; only root can make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", folder], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("a disk of its own takes root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> Path:
    path = folder / "fill"
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with suppress(OSError):
                while file.write(bytes(size)):
                    pass
    return path


@pytest.fixture
def on_small_disk(small_disk: Path, job_image: str) -> Iterator[State]:  # noqa: ARG001 - jobs need the image
    state = State(small_disk / "state")
    yield state
    stop_server(state)


@pytest.mark.docker
def test_what_a_client_has_seen_of_a_job_is_on_the_disk(tmp_path: Path) -> None:
    store = JobRepository(tmp_path)
    store.add(Job(kind="training", name="job", region="us-east-1", request={}, creation_time=0.0))

    def change() -> None:
        for _ in range(100):
            store.change("training", "job", lambda job: job.changed(attempt=job.attempt + 1))

    with ThreadPoolExecutor(1) as pool:
        changing = pool.submit(change)
        while not changing.done():
            seen = store.get("training", "job")
            kept = json.loads((store.folder("training", "job") / "job.json").read_bytes())["attempt"]
            assert seen is not None
            assert kept >= seen.attempt
        changing.result()


def test_no_server_starts_on_a_full_disk(small_disk: Path) -> None:
    filled = fill(small_disk)
    with pytest.raises(StorageError, match="No space left on device: the disk of"):
        start(State(small_disk / "state"))
    filled.unlink()


@pytest.mark.docker
def test_on_a_full_disk_requests_are_refused_and_jobs_end(on_small_disk: State, small_disk: Path) -> None:
    sagemaker = start(on_small_disk, "--jobs", "4", "--stop-seconds", "2")
    api, s3 = sagemaker.client("sagemaker"), sagemaker.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="kept", Body=b"before")
    folder = on_small_disk.folder / "jobs" / "training"

    filled = fill(small_disk)
    for call, more in (
        (s3.create_bucket, {"Bucket": "second"}),
        (s3.put_object, {"Bucket": BUCKET, "Key": "kept", "Body": bytes(1 << 20)}),
        (api.create_training_job, sagemaker.request() | {"TrainingJobName": "refused"}),
        (api.create_experiment, {"ExperimentName": "refused"}),
        (sagemaker.client("ecr").create_repository, {"repositoryName": "refused"}),
    ):
        with pytest.raises(ClientError, match="No space left on device"):
            call(**more)
    assert sagemaker.read(f"s3://{BUCKET}/kept") == b"before"
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == [BUCKET]
    assert not (folder / "refused").exists()
    filled.unlink()

    fills = "while [ ! -e /opt/ml/input/go ]; do sleep 0.05; done; head -c 100M /dev/zero > /opt/ml/model/w"
    printing = sagemaker.create(f"{fills}; echo the disk is full; exit 1")
    silent = sagemaker.create(f"{fills} 2>/dev/null; exit 3")
    logging = sagemaker.create("while :; do head -c 60000 /dev/zero | tr '\\0' x; echo; sleep 0.05; done")
    stopped = sagemaker.create("trap 'echo stopped; exit 0' TERM; while :; do sleep 0.05; done")
    names = (printing, silent, logging, stopped)
    for name in names:
        sagemaker.wait_until(name, lambda job: job["SecondaryStatus"] == "Training")
    filled = fill(small_disk)
    api.stop_training_job(TrainingJobName=stopped)
    for name in (printing, silent):
        (folder / name / "hosts" / "algo-1" / "ml" / "input" / "go").touch()
    jobs = {name: sagemaker.wait(name, timeout=60) for name in names}
    for name in names:  # a job that is stopped may still have a model to upload, or a line to log
        reason = jobs[name].get("FailureReason", "")
        assert "No space left on device: the disk of" in reason or (name, reason) == (stopped, "")
    filled.unlink()

    assert sagemaker.run("echo m > /opt/ml/model/m")["TrainingJobStatus"] == "Completed"
    large = sagemaker.run("head -c 20M /dev/urandom > /opt/ml/model/m")  # and once more as an archive
    assert large["FailureReason"].startswith("ClientError: Artifact upload failed:No space left on device")
    s3.create_bucket(Bucket="second")
    stop_server(on_small_disk)
    sagemaker = start(on_small_disk)  # what the disk did not take at first is there now
    assert damaged(on_small_disk) == []
    assert [sagemaker.describe(name)["TrainingJobStatus"] for name in names] == [
        jobs[name]["TrainingJobStatus"] for name in names
    ]
    assert list(folder.glob("*/hosts")) == []
    assert list(folder.glob("*/*.tar.gz")) == []


@pytest.mark.docker
def test_a_command_waits_for_the_server_that_another_has_started(state: State, tmp_path: Path) -> None:
    """The other server loads its state until this process's own has ended: the folder is in use."""
    state.make()
    may_load = tmp_path / "may-load"
    slow = (
        "import pathlib, sys, time; from local_sagemaker import __main__, server\n"
        "class ObjectStore(server.ObjectStore):\n"
        "    def __init__(self, *arguments):\n"
        f"        while not pathlib.Path({str(may_load)!r}).exists(): time.sleep(0.02)\n"
        "        super().__init__(*arguments)\n"
        "server.ObjectStore = ObjectStore; sys.exit(__main__.main(sys.argv[1:]))\n"
    )
    other = subprocess.Popen([sys.executable, "-c", slow, "--state", str(state.folder)])
    try:
        wait_for(state.is_owned)
        with ThreadPoolExecutor() as pool:
            started = len(client._started)
            found = pool.submit(client.ensure_server, state)
            wait_for(lambda: len(client._started) > started and client._started[-1].poll() is not None)
            assert not found.done()
            may_load.touch()
            assert found.result(60).pid == other.pid
        assert stop_server(state)
        assert other.wait(60) == 0
    finally:
        other.kill()


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)
