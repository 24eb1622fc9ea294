"""Nothing that a request, a bucket or a container says can write or read outside its folder."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from local_sagemaker.container_contract.channels import ChannelError, objects_of
from local_sagemaker.container_contract.paths import Layout, OutsideError, UnsafeKeyError, relative_path, safe
from local_sagemaker.job_repository import JobRepository
from local_sagemaker.job_service import JobError, JobService
from local_sagemaker.server import LocalServer
from local_sagemaker.volumes import safe_files
from local_sagemaker.volumes.archive import merged, write_archive
from local_sagemaker.volumes.synchronization import Mirror


@pytest.mark.parametrize("key", ["../x", "a/../../x", "/etc/passwd", "a//b", "./a", "a/.", "a\0b", "", "x" * 256])
def test_a_key_that_is_no_path_below_a_folder_is_refused(key: str) -> None:
    with pytest.raises(UnsafeKeyError):
        safe(key)


@pytest.mark.parametrize(
    ("key", "prefix", "path"),
    [
        ("train/a/b.tfrecord", "train", "a/b.tfrecord"),
        ("train/a/b.tfrecord", "train/", "a/b.tfrecord"),
        ("data/train/a", "data/train/a", "a"),
        ("data/train-2/a", "data/train", "train-2/a"),
        ("a", "", "a"),
        ("data/part-1", "data/part", "part-1"),
        ("p//etc/passwd", "p/", "etc/passwd"),
    ],
)
def test_where_an_object_of_a_prefix_goes(key: str, prefix: str, path: str) -> None:
    assert relative_path(key, prefix) == path


class Keys:
    def __init__(self, *keys: str) -> None:
        self._keys = keys

    def keys(self, _: str, prefix: str) -> list[str]:
        return [key for key in self._keys if key.startswith(prefix)]

    def text(self, _: str, __: str) -> str:
        return '[{"prefix": "s3://bucket/"}, "../outside"]'


def channel(kind: str = "S3Prefix") -> dict[str, object]:
    return {"ChannelName": "train", "DataSource": {"S3DataSource": {"S3DataType": kind, "S3Uri": "s3://bucket/p/"}}}


@pytest.mark.parametrize("key", ["p/../../x", "p/a/../b", "p/a//b"])
def test_a_bucket_with_a_trick_in_a_key_is_not_downloaded(key: str) -> None:
    with pytest.raises(UnsafeKeyError):
        objects_of(channel(), Keys(key))


def test_a_manifest_with_a_trick_in_an_entry_is_not_downloaded() -> None:
    with pytest.raises(UnsafeKeyError):
        objects_of(channel("ManifestFile"), Keys("../outside"))


def test_keys_that_cannot_both_be_files_are_named() -> None:
    with pytest.raises(ChannelError, match="s3://bucket/p/a is a file, and s3://bucket/p/a/b needs a folder"):
        objects_of(channel(), Keys("p/a", "p/a/b"))


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "", "-a", "a" * 64, "a\n"])
def test_a_job_name_with_a_trick_makes_no_folder(name: str, tmp_path: Path) -> None:
    jobs = JobService(JobRepository(tmp_path / "state"))
    with pytest.raises(JobError):
        jobs.create("training", {"TrainingJobName": name}, "us-east-1")
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("path", ["/", "//", "/opt/ml", "/opt/ml/", "/opt/ml/../..", "relative", "/../"])
def test_a_local_path_that_cannot_be_a_mount_is_refused(path: str, tmp_path: Path) -> None:
    with pytest.raises(OutsideError):
        Layout(tmp_path).place(path)


@pytest.mark.parametrize("path", ["/opt/ml/../../../etc", "/etc", "/opt/ml/x/../../../var", "/opt/ml/checkpoints/.."])
def test_a_local_path_never_leaves_the_hosts_folder(path: str, tmp_path: Path) -> None:
    try:
        place = Layout(tmp_path / "host").place(path)
    except OutsideError:
        return
    assert place.resolve().is_relative_to((tmp_path / "host").resolve())


def test_links_that_a_container_leaves_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("secret")
    disk = tmp_path / "disk"
    (disk / "a").mkdir(parents=True)
    (disk / "a" / "file").write_text("content")
    (disk / "file-link").symlink_to(secret / "key")
    (disk / "folder-link").symlink_to(secret)
    os.mkfifo(disk / "pipe")
    found = {}
    for file in safe_files.files(disk):
        with file.open() as content:
            found[file.path] = content.read()
    assert found == {"a/file": b"content"}
    disk.rename(tmp_path / "real")
    disk.symlink_to(tmp_path / "real")
    assert list(safe_files.files(disk)) == []


def test_a_file_that_turns_into_a_link_is_not_sent(tmp_path: Path, server: LocalServer) -> None:
    (tmp_path / "secret").write_text("secret")
    disk = tmp_path / "disk"
    disk.mkdir()
    (disk / "a").write_text("content")
    for file in safe_files.files(disk):
        (disk / "a").unlink()
        (disk / "a").symlink_to(tmp_path / "secret")
        with pytest.raises(OSError, match="symbolic links"):
            file.open()
    Mirror(disk, "s3://bucket/links", server.objects).synchronize()
    assert list(server.objects.list("bucket", "links")) == []


def test_an_archive_holds_links_as_links_and_no_path_that_leads_out(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    model = tmp_path / "model"
    (model / "sub").mkdir(parents=True)
    (model / "sub" / "weights").write_text("weights")
    os.link(model / "sub" / "weights", model / "same")
    (model / "link").symlink_to(tmp_path / "secret")
    write_archive(merged([("algo-1", model)]), tmp_path / "model.tar.gz")
    with tarfile.open(tmp_path / "model.tar.gz") as tar:
        members = {member.name: member for member in tar}
        assert sorted(members) == ["link", "same", "sub", "sub/weights"]
        assert members["link"].issym()
        for name in ("same", "sub/weights"):
            content = tar.extractfile(name)
            assert content is not None
            assert content.read() == b"weights"
        assert {member.uid for member in members.values()} == {0}


def test_keys_with_tricks_stay_objects_of_their_bucket(server: LocalServer, tmp_path: Path) -> None:
    import boto3

    s3 = boto3.client(
        "s3",
        endpoint_url=server.address,
        region_name="us-east-1",
        aws_access_key_id=server.token,
        aws_secret_access_key=server.token,
    )
    before = sorted(path.name for path in tmp_path.iterdir())
    for key in ("../../../escaped", "/absolute", "a/../../b", "x" * 1024, "ü/ ?&%2e%2e"):
        s3.put_object(Bucket="bucket", Key=f"tricks/{key}"[:1024], Body=key.encode())
        assert s3.get_object(Bucket="bucket", Key=f"tricks/{key}"[:1024])["Body"].read() == key.encode()
    records = server.jobs.store.folder("training", "x").parents[2] / "s3" / "bucket"
    assert all(path.parent == records for path in records.rglob("*"))
    assert not list(records.parents[1].rglob("escaped"))
    assert sorted(path.name for path in tmp_path.iterdir()) == before
