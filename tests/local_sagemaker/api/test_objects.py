"""S3's objects of the local SageMaker as clients see them: bytes, ranges, parts, copies, checksums; time and memory."""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import json
import os
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

from launcher import use_local
from local_sagemaker.client import ensure_server, stop_server
from local_sagemaker.services.s3_store import ObjectStore
from local_sagemaker.state import State
from tests.helpers.local_server import ApiServer, serving

BUCKET = "objects"
PART = 5 << 20
CONTENT = bytes(range(256)) * 40  # 10,240 bytes


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with serving(tmp_path_factory.mktemp("state")) as server:
        server.objects.make_bucket(BUCKET)
        yield server


@pytest.fixture(scope="module")
def s3(server: ApiServer) -> Any:
    return client(server)


def client(server: ApiServer, **settings: Any) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=server.address,
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",
        config=Config(retries={"max_attempts": 1}, **settings),
    )


def files(server: ApiServer, bucket: str = BUCKET) -> list[Path]:
    """Return the files that hold contents."""
    folder = server.objects._folder / bucket
    return [path for path in folder.iterdir() if path.suffix != ".json"]


def code_of(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


def test_an_object_is_what_was_put_also_for_the_next_server(server: ApiServer, s3: Any) -> None:
    answer = s3.put_object(
        Bucket=BUCKET, Key="a b/ü+%2F", Body=CONTENT, ContentType="text/x", Metadata={"who": "me"}, Tagging="a=b"
    )
    assert answer["ETag"] == f'"{hashlib.md5(CONTENT).hexdigest()}"'
    found = s3.get_object(Bucket=BUCKET, Key="a b/ü+%2F", ResponseContentType="text/y")
    assert found["Body"].read() == CONTENT
    assert (found["ETag"], found["ContentLength"], found["ContentType"]) == (answer["ETag"], len(CONTENT), "text/y")
    assert s3.head_object(Bucket=BUCKET, Key="a b/ü+%2F")["ContentType"] == "text/x"
    assert server.objects.path(BUCKET, "a b/ü+%2F").read_bytes() == CONTENT
    record = server.objects._records[BUCKET]["a b/ü+%2F"]
    on_disk = json.loads(server.objects._record_path(BUCKET, record.key).read_text())
    assert (on_disk["size"], on_disk["metadata"]["x-amz-meta-who"]) == (len(CONTENT), "me")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", (206, 0, 1)),
        ("bytes=100-199", (206, 100, 200)),
        ("bytes=10000-99999", (206, 10_000, 10_240)),
        ("bytes=10239-", (206, 10_239, 10_240)),
        ("bytes=-5", (206, 10_235, 10_240)),
        ("bytes=-99999", (206, 0, 10_240)),
        ("bytes=5-4", (200, 0, 10_240)),
        ("bytes=0-1,4-5", (200, 0, 10_240)),
        ("lines=1-2", (200, 0, 10_240)),
        ("bytes=10240-", (416, 0, 0)),
        ("bytes=-0", (416, 0, 0)),
    ],
)
def test_a_range(s3: Any, header: str, expected: tuple[int, int, int]) -> None:
    s3.put_object(Bucket=BUCKET, Key="ranged", Body=CONTENT)
    status, begin, end = expected
    if status == 416:
        with pytest.raises(ClientError) as error:
            s3.get_object(Bucket=BUCKET, Key="ranged", Range=header)
        assert code_of(error) == "InvalidRange"
        return
    found = s3.get_object(Bucket=BUCKET, Key="ranged", Range=header)
    assert found["ResponseMetadata"]["HTTPStatusCode"] == status
    assert found["Body"].read() == CONTENT[begin:end]
    assert found.get("ContentRange") == (f"bytes {begin}-{end - 1}/10240" if status == 206 else None)


def test_conditions_and_what_is_not_there_are_answered_as_before(s3: Any) -> None:
    etag = s3.put_object(Bucket=BUCKET, Key="known", Body=b"known")["ETag"]
    for wanted, key, more in (
        ("NoSuchKey", "unknown", {}),
        ("304", "known", {"IfNoneMatch": etag}),
        ("PreconditionFailed", "known", {"IfMatch": '"other"'}),
    ):
        with pytest.raises(ClientError) as error:
            s3.get_object(Bucket=BUCKET, Key=key, **more)
        assert code_of(error) == wanted
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket=BUCKET, Key="known", Body=b"other", IfNoneMatch="*")
    assert code_of(error) == "PreconditionFailed"
    assert s3.get_object(Bucket=BUCKET, Key="known")["Body"].read() == b"known"
    for call in (s3.get_object, s3.put_object):
        with pytest.raises(ClientError) as error:
            call(Bucket="no-such-bucket", Key="known")
        assert code_of(error) == "NoSuchBucket"


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_a_checksum_is_looked_at_and_given_back(s3: Any, algorithm: str) -> None:
    s3.put_object(Bucket=BUCKET, Key="summed", Body=CONTENT, ChecksumAlgorithm=algorithm)
    head = s3.head_object(Bucket=BUCKET, Key="summed", ChecksumMode="ENABLED")
    digests = {
        "CRC32": zlib.crc32(CONTENT).to_bytes(4),
        "SHA1": hashlib.sha1(CONTENT).digest(),
        "SHA256": hashlib.sha256(CONTENT).digest(),
    }
    assert head[f"Checksum{algorithm}"] == base64.b64encode(digests[algorithm]).decode()
    assert s3.get_object(Bucket=BUCKET, Key="summed", ChecksumMode="ENABLED")["Body"].read() == CONTENT
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket=BUCKET, Key="summed", Body=b"x", **{f"Checksum{algorithm}": head[f"Checksum{algorithm}"]})
    assert code_of(error) == "BadDigest"
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket=BUCKET, Key="summed", Body=b"x", ContentMD5=base64.b64encode(bytes(16)).decode())
    assert code_of(error) == "BadDigest"
    assert s3.get_object(Bucket=BUCKET, Key="summed")["Body"].read() == CONTENT


def test_a_body_in_s3s_own_chunks_and_one_in_https(server: ApiServer, s3: Any) -> None:
    """As the JavaScript, Java and Go SDKs send streams."""
    own = b"5;chunk-signature=0\r\nhello\r\n6\r\n world\r\n0\r\nx-amz-checksum-crc32:%s\r\n\r\n"
    crc = base64.b64encode(zlib.crc32(b"hello world").to_bytes(4))
    headers = {
        "Authorization": "AWS4-HMAC-SHA256 Credential=local/20261124/us-east-1/s3/aws4_request, SignedHeaders=host, "
        "Signature=0",
        "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "Content-Encoding": "aws-chunked",
        "x-amz-trailer": "x-amz-checksum-crc32",
        "x-amz-decoded-content-length": "11",
    }
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    plain = {"Authorization": headers["Authorization"]}
    for key, body, with_headers, chunked, status in (
        ("own", own % crc, headers, False, 200),
        ("own-in-https", iter([own % crc]), headers, True, 200),
        ("https", iter([b"hello", b" world"]), plain, True, 200),
        ("other-checksum", own % base64.b64encode(bytes(4)), headers, False, 400),
        ("cut", own[:30], headers, False, 400),
    ):
        connection.request("PUT", f"/{BUCKET}/{key}", body, with_headers, encode_chunked=chunked)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status, key
        if status == 200:
            assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == b"hello world"
    connection.close()
    assert not any(key in server.objects._records[BUCKET] for key in ("other-checksum", "cut"))


def test_an_upload_in_parts(server: ApiServer, s3: Any) -> None:
    before = len(files(server))
    parts = [os.urandom(PART), os.urandom(PART), b"the rest"]
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="parts", Metadata={"a": "b"})["UploadId"]
    where = {"Bucket": BUCKET, "Key": "parts", "UploadId": upload}
    s3.upload_part(**where, PartNumber=1, Body=b"replaced")
    etags = [
        s3.upload_part(**where, PartNumber=number, Body=part)["ETag"] for number, part in enumerate(parts, start=1)
    ]
    assert etags[0] == f'"{hashlib.md5(parts[0]).hexdigest()}"'
    assert [part["Size"] for part in s3.list_parts(**where)["Parts"]] == [PART, PART, 8]
    listed = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, start=1)]
    for wrong, code in (
        ([listed[0], listed[1] | {"ETag": '"0"'}], "InvalidPart"),
        ([listed[2], listed[0]], "InvalidPartOrder"),
        ([listed[0], {"PartNumber": 9, "ETag": etags[0]}], "InvalidPart"),
    ):
        with pytest.raises(ClientError) as error:
            s3.complete_multipart_upload(**where, MultipartUpload={"Parts": wrong})
        assert code_of(error) == code
    answer = s3.complete_multipart_upload(**where, MultipartUpload={"Parts": listed})
    digests = b"".join(hashlib.md5(part).digest() for part in parts)
    assert answer["ETag"] == f'"{hashlib.md5(digests).hexdigest()}-3"'
    found = s3.get_object(Bucket=BUCKET, Key="parts")
    assert found["Body"].read() == b"".join(parts)
    assert (found["Metadata"], found["ETag"]) == ({"a": "b"}, answer["ETag"])
    second = s3.get_object(Bucket=BUCKET, Key="parts", PartNumber=2)
    assert (second["Body"].read(), second["PartsCount"]) == (parts[1], 3)
    assert len(files(server)) == before + 1  # the parts' own files have gone

    aborted = s3.create_multipart_upload(Bucket=BUCKET, Key="aborted")["UploadId"]
    s3.upload_part(Bucket=BUCKET, Key="aborted", UploadId=aborted, PartNumber=1, Body=b"part")
    s3.abort_multipart_upload(Bucket=BUCKET, Key="aborted", UploadId=aborted)
    assert len(files(server)) == before + 1


def test_copies(server: ApiServer, s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="source ü", Body=CONTENT, Metadata={"a": "b"}, ContentType="text/x")
    source = {"Bucket": BUCKET, "Key": "source ü"}
    answer = s3.copy_object(Bucket=BUCKET, Key="copy", CopySource=source)
    assert answer["CopyObjectResult"]["ETag"] == f'"{hashlib.md5(CONTENT).hexdigest()}"'
    s3.put_object(Bucket=BUCKET, Key="source ü", Body=b"other")  # the copy is its own
    found = s3.get_object(Bucket=BUCKET, Key="copy")
    assert (found["Body"].read(), found["Metadata"], found["ContentType"]) == (CONTENT, {"a": "b"}, "text/x")
    itself = {"Bucket": BUCKET, "Key": "copy"}
    s3.copy_object(**itself, CopySource=itself, MetadataDirective="REPLACE", Metadata={"c": "d"})
    found = s3.get_object(**itself)
    assert (found["Body"].read(), found["Metadata"]) == (CONTENT, {"c": "d"})
    with pytest.raises(ClientError) as error:
        s3.copy_object(Bucket=BUCKET, Key="nothing", CopySource={"Bucket": BUCKET, "Key": "nothing"})
    assert code_of(error) == "NoSuchKey"

    big = os.urandom(PART + 100)
    s3.put_object(Bucket=BUCKET, Key="big", Body=big)
    settings = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART)
    s3.copy({"Bucket": BUCKET, "Key": "big"}, BUCKET, "big-copy", Config=settings)  # part by part, with ranges
    assert s3.get_object(Bucket=BUCKET, Key="big-copy")["Body"].read() == big
    assert server.objects.path(BUCKET, "big-copy").read_bytes() == big


def test_versions_are_there_as_long_as_the_server(server: ApiServer, s3: Any) -> None:
    server.objects.make_bucket("versioned")
    s3.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    first, second = (
        s3.put_object(Bucket="versioned", Key="k", Body=body)["VersionId"] for body in (b"first", b"second")
    )
    s3.delete_object(Bucket="versioned", Key="k")
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket="versioned", Key="k")
    assert code_of(error) == "NoSuchKey"
    for version, content in ((first, b"first"), (second, b"second")):
        assert s3.get_object(Bucket="versioned", Key="k", VersionId=version)["Body"].read() == content


def test_deletions_leave_no_file(server: ApiServer, s3: Any) -> None:
    server.objects.make_bucket("emptied")
    for number in range(5):
        s3.put_object(Bucket="emptied", Key=f"k{number}", Body=b"x")
    s3.delete_object(Bucket="emptied", Key="k0")
    s3.delete_objects(Bucket="emptied", Delete={"Objects": [{"Key": f"k{number}"} for number in range(1, 4)]})
    assert len(files(server, "emptied")) == 1
    s3.delete_object(Bucket="emptied", Key="k4")
    s3.delete_bucket(Bucket="emptied")
    assert not (server.objects._folder / "emptied").exists()


def test_a_download_goes_on_while_the_object_is_replaced(s3: Any) -> None:
    content = os.urandom(8 << 20)
    s3.put_object(Bucket=BUCKET, Key="replaced", Body=content)
    body = s3.get_object(Bucket=BUCKET, Key="replaced")["Body"]
    begun = body.read(1000)
    s3.put_object(Bucket=BUCKET, Key="replaced", Body=b"new")
    assert begun + body.read() == content
    assert s3.get_object(Bucket=BUCKET, Key="replaced")["Body"].read() == b"new"


def test_a_slow_client_does_not_hold_up_the_others(server: ApiServer, s3: Any) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    headers = {"Authorization": "AWS4-HMAC-SHA256 Credential=local/20261124/us-east-1/s3/aws4_request, Signature=0"}
    for path in (f"/{BUCKET}/slow", f"/{BUCKET}?tagging", f"/{BUCKET}?delete"):
        method = "POST" if "delete" in path else "PUT"
        connection.putrequest(method, path)
        for name, value in {**headers, "Content-Length": "100"}.items():
            connection.putheader(name, value)
        connection.endheaders(b"the beginning")
        s3.put_object(Bucket=BUCKET, Key="quick", Body=b"x")
        assert s3.get_object(Bucket=BUCKET, Key="quick")["Body"].read() == b"x"
        connection.close()


def test_what_the_disk_does_not_take_leaves_the_object_as_it_was(server: ApiServer, s3: Any) -> None:
    """The record cannot be written: a folder is where it is written aside."""
    s3.put_object(Bucket=BUCKET, Key="kept", Body=b"before")
    record = server.objects._record_path(BUCKET, "kept")
    in_the_way = record.with_name(f"{record.name}.new")
    in_the_way.mkdir()
    before = len(files(server))
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket=BUCKET, Key="kept", Body=b"after")
    assert code_of(error) == "InsufficientStorage"
    assert s3.get_object(Bucket=BUCKET, Key="kept")["Body"].read() == b"before"
    in_the_way.rmdir()
    assert len(files(server)) == before - 1
    s3.put_object(Bucket=BUCKET, Key="kept", Body=b"after")
    assert s3.get_object(Bucket=BUCKET, Key="kept")["Body"].read() == b"after"


def test_no_object_is_in_memory_as_a_whole(tmp_path: Path, scaled: Callable[..., int]) -> None:
    """Up and down, whole, in parts, by ranges, copied: 32 MB or more each time, within 24 MB of the server's memory."""
    source, small, target = tmp_path / "source", tmp_path / "small", tmp_path / "target"
    small.write_bytes(b"x")
    with source.open("wb") as file:
        for _ in range(scaled(64, in_ci=32)):
            file.write(os.urandom(1 << 20))
    state = State(tmp_path / "state")
    try:
        s3 = use_local(state.folder).client("s3")
        pid = ensure_server(state).pid
        s3.create_bucket(Bucket=BUCKET)
        to_and_fro(s3, small, target)  # moto is imported bit by bit
        before = peak(pid)
        to_and_fro(s3, source, target)
        assert peak(pid) - before < 24 << 20
    finally:
        stop_server(state)


def to_and_fro(s3: Any, source: Path, target: Path) -> None:
    parts = TransferConfig(multipart_chunksize=8 << 20, max_concurrency=2)
    whole = TransferConfig(multipart_threshold=1 << 30, use_threads=False)
    for settings in (whole, parts):
        s3.upload_file(str(source), BUCKET, "large", Config=settings)
        s3.copy_object(Bucket=BUCKET, Key="large-copy", CopySource={"Bucket": BUCKET, "Key": "large"})
        s3.download_file(BUCKET, "large-copy", str(target), Config=settings)
        assert target.read_bytes() == source.read_bytes()


def peak(process: int) -> int:
    """Return the most bytes that a process has had in memory."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found is not None
    return int(found[1]) << 10


def test_objects_of_an_earlier_version_are_read(tmp_path: Path, server: ApiServer) -> None:  # noqa: ARG001 - moto's
    folder = tmp_path / "s3" / "earlier"
    folder.mkdir(parents=True)
    (folder / "bucket.json").write_text('{"region": "us-east-1"}')
    (folder / "content").write_bytes(b"old")
    record = {"key": "k", "content": "content", "size": 3, "etag": "e", "last_modified": 1.0, "metadata": {}}
    (folder / f"{hashlib.sha256(b'k').hexdigest()}.json").write_text(json.dumps(record))
    objects = ObjectStore(tmp_path / "s3")
    assert objects.path("earlier", "k").read_bytes() == b"old"
    objects.put_file("earlier", "k", io.BytesIO(b"new"))
    assert objects.path("earlier", "k").read_bytes() == b"new"
