"""The state folder: what S3 answers with 200 is in it, however it was put, and nobody but its owner reads it."""

from __future__ import annotations

import http.client
import io
import os
import stat
import urllib.request
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.moto_api._internal.models import moto_api_backend

from local_sagemaker.auth import TokenError
from local_sagemaker.server import LocalServer
from local_sagemaker.state import ForeignStateError, Server, State

ROLE = "arn:aws:iam::123456789012:role/Local"


def connection(server: LocalServer) -> dict[str, Any]:
    keys = {"aws_access_key_id": server.token, "aws_secret_access_key": server.token}
    return {"endpoint_url": server.address, "region_name": "us-east-1"} | keys


def client(server: LocalServer, version: str) -> Any:
    return boto3.client("s3", config=Config(signature_version=version), **connection(server))


def fetch(url: str, method: str = "GET", body: bytes | None = None) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, body, method=method)) as answer:
        content: bytes = answer.read()
    return content


def _put_presigned(s3: Any) -> None:
    fetch(s3.generate_presigned_url("put_object", Params={"Bucket": "models", "Key": "new"}), "PUT", b"content")


def _put_copy(s3: Any) -> None:
    s3.put_object(Bucket="models", Key="old", Body=b"content")
    s3.copy_object(Bucket="models", Key="new", CopySource={"Bucket": "models", "Key": "old"})
    s3.delete_object(Bucket="models", Key="old")


def _put_parts(s3: Any) -> None:
    upload = s3.create_multipart_upload(Bucket="models", Key="new")["UploadId"]
    part = {"Bucket": "models", "Key": "new", "UploadId": upload, "PartNumber": 1}
    etag = s3.upload_part(**part, Body=b"content")["ETag"]
    parts = {"Parts": [{"ETag": etag, "PartNumber": 1}]}
    s3.complete_multipart_upload(Bucket="models", Key="new", UploadId=upload, MultipartUpload=parts)


def _put_presigned_parts(s3: Any) -> None:
    upload = s3.create_multipart_upload(Bucket="models", Key="new")["UploadId"]
    part = {"Bucket": "models", "Key": "new", "UploadId": upload, "PartNumber": 1}
    fetch(s3.generate_presigned_url("upload_part", Params=part), "PUT", b"content")
    etag = s3.list_parts(Bucket="models", Key="new", UploadId=upload)["Parts"][0]["ETag"]
    body = (
        f"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    )
    whole = {"Bucket": "models", "Key": "new", "UploadId": upload}
    fetch(s3.generate_presigned_url("complete_multipart_upload", Params=whole), "POST", body.encode())


def _post_form(s3: Any, **conditions: str) -> None:
    post = s3.generate_presigned_post("models", "new", Fields=dict(conditions))
    parts = [f'--b\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in post["fields"].items()]
    parts.append('--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\ncontent\r\n--b--\r\n')
    host, _, path = post["url"].removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host)
    connection.request("POST", f"/{path}", "".join(parts), {"Content-Type": "multipart/form-data; boundary=b"})
    assert connection.getresponse().status < 400
    connection.close()


@pytest.mark.parametrize("version", ["s3", "s3v4"])
@pytest.mark.parametrize(
    "put",
    [
        _put_presigned,
        _put_copy,
        _put_parts,
        _put_presigned_parts,
        _post_form,
        lambda s3: _post_form(s3, success_action_redirect="http://127.0.0.1/done"),
        lambda s3: s3.put_object(Bucket="models", Key="new", Body=b"content", ChecksumAlgorithm="SHA256"),
    ],
)
def test_what_was_put_is_there_for_jobs_and_after_a_restart(tmp_path: Path, put: Any, version: str) -> None:
    state = State(tmp_path)
    with LocalServer(state) as server:
        s3 = client(server, version)
        s3.create_bucket(Bucket="models")
        put(s3)
        assert server.objects.path("models", "new").read_bytes() == b"content"
    with LocalServer(state) as server:
        s3 = client(server, version)
        assert [entry["Key"] for entry in s3.list_objects_v2(Bucket="models")["Contents"]] == ["new"]
        url = client(server, version).generate_presigned_url("get_object", Params={"Bucket": "models", "Key": "new"})
        assert fetch(url) == b"content"
        gone = client(server, version).generate_presigned_url(
            "delete_object", Params={"Bucket": "models", "Key": "new"}
        )
        fetch(gone, "DELETE")
    with LocalServer(state) as server:
        assert list(server.objects.list("models", "")) == []


def test_bytes_come_through_a_reset_of_moto(tmp_path: Path) -> None:
    """Another server's end in the same process resets moto: no upload of nothing may follow from it."""
    with LocalServer(State(tmp_path)) as server:
        moto_api_backend.reset()
        server.objects.make_bucket("models")
        server.objects.put_file("models", "job", io.BytesIO(b"content"))
        _put_parts(client(server, "s3v4"))
        found = {entry.key: server.objects.path("models", entry.key) for entry in server.objects.list("models", "")}
        assert {key: path.read_bytes() for key, path in found.items()} == {"job": b"content", "new": b"content"}


def test_the_state_folder_is_its_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    (folder / "jobs").mkdir(parents=True, mode=0o777)
    (folder / "jobs" / "job.json").write_text("{}")
    (folder / "server.lock").touch()
    (folder / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "outside").write_text("")
    for path in (folder, folder / "jobs", folder / "jobs" / "job.json", tmp_path / "outside"):
        path.chmod(0o777 if path.is_dir() else 0o666)
    with LocalServer(State(folder)) as server:
        boto3.client("sts", **connection(server)).assume_role(RoleArn=ROLE, RoleSessionName="session")
        State(folder).write_way_to_page(Server(1, 1, server.token))
        secret = [path for path in folder.iterdir() if path.is_file() and server.token in path.read_text()]
        assert {path.name for path in secret} >= {"token", "server.json", "page.html"}
        assert {stat.S_IMODE(path.stat().st_mode) for path in secret} == {0o600}
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "jobs", folder / "jobs/job.json")}
    assert list(modes.values()) == [0o700, 0o700, 0o600]
    assert stat.S_IMODE((tmp_path / "outside").stat().st_mode) == 0o666


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_state_folder_of_another_user_is_refused_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    with pytest.raises(ForeignStateError, match=f"{folder} belongs to the user 65534"), LocalServer(State(folder)):
        pass


def test_settings_of_buckets_and_objects_are_kept_until_they_or_what_they_are_of_go(tmp_path: Path) -> None:
    def tags(s3: Any, key: str) -> list[dict[str, str]]:
        found: list[dict[str, str]] = s3.get_object_tagging(Bucket="models", Key=key)["TagSet"]
        return found

    one, two = {"Key": "a", "Value": "1 + 2"}, {"Key": "b", "Value": ""}
    with LocalServer(State(tmp_path)) as server:
        s3 = client(server, "s3v4")
        s3.create_bucket(Bucket="models")
        s3.put_bucket_versioning(Bucket="models", VersioningConfiguration={"Status": "Enabled"})
        s3.put_bucket_policy(Bucket="models", Policy='{"Version": "2012-10-17", "Statement": []}')
        s3.put_bucket_tagging(Bucket="models", Tagging={"TagSet": [one]})
        s3.delete_bucket_tagging(Bucket="models")
        for key in ("tagged", "with", "replaced", "deleted"):
            s3.put_object(Bucket="models", Key=key, Body=b"x", Tagging="a=1+%2B+2" if key == "with" else "")
        for key in ("tagged", "replaced", "deleted"):
            s3.put_object_tagging(Bucket="models", Key=key, Tagging={"TagSet": [one, two]})
        s3.put_object(Bucket="models", Key="replaced", Body=b"y")
        s3.delete_object(Bucket="models", Key="deleted")
        s3.create_bucket(Bucket="gone")
        s3.put_bucket_versioning(Bucket="gone", VersioningConfiguration={"Status": "Enabled"})
        s3.delete_bucket(Bucket="gone")
    for _ in range(2):
        with LocalServer(State(tmp_path)) as server:
            s3 = client(server, "s3v4")
            assert s3.get_bucket_versioning(Bucket="models")["Status"] == "Enabled"
            assert s3.get_bucket_policy(Bucket="models")["Policy"].startswith("{")
            with pytest.raises(ClientError, match="NoSuchTagSet"):
                s3.get_bucket_tagging(Bucket="models")
            assert (tags(s3, "tagged"), tags(s3, "with"), tags(s3, "replaced")) == ([one, two], [one], [])
            assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["models"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's link")
def test_a_link_that_another_user_has_made_leads_to_no_state_folder(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(mode=0o755)
    (tmp_path / "state").symlink_to(tmp_path / "home")
    os.chown(tmp_path / "state", 65534, 65534, follow_symlinks=False)
    for named in (tmp_path / "state", tmp_path / "state" / "below"):
        with pytest.raises(ForeignStateError, match="state is a link that another user"), LocalServer(State(named)):
            pass
    assert list((tmp_path / "home").iterdir()) == []
    os.chown(tmp_path / "state", 0, 0, follow_symlinks=False)
    with LocalServer(State(tmp_path / "state")):
        assert (tmp_path / "home" / "token").exists()


def test_a_folder_that_is_no_state_folder_yet_keeps_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch(mode=0o644)
    (tmp_path / "file").chmod(0o644)
    tmp_path.chmod(0o755)
    with LocalServer(State(tmp_path)):
        pass
    assert (stat.S_IMODE(tmp_path.stat().st_mode), stat.S_IMODE((tmp_path / "file").stat().st_mode)) == (0o700, 0o644)


def test_a_token_file_without_a_token_is_named(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("")
    with pytest.raises(TokenError, match="token holds no token"), LocalServer(State(tmp_path)):
        pass


def test_the_token_outlives_the_server_and_is_not_the_next_folders(tmp_path: Path) -> None:
    with LocalServer(State(tmp_path / "one")) as server:
        first = server.token
    with LocalServer(State(tmp_path / "one")) as server:
        assert server.token == first
    with LocalServer(State(tmp_path / "two")) as server:
        assert server.token != first
