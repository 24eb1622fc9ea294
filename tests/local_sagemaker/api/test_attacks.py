"""The local SageMaker among strangers: other users of the machine, odd requests, and what must not be lost by them."""

from __future__ import annotations

import http.client
import json
import os
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from local_sagemaker.auth import Access
from local_sagemaker.client import control
from local_sagemaker.server import LocalServer
from local_sagemaker.state import Server, State

ROLE = "arn:aws:iam::123456789012:role/Local"
PAGE = "/_local/page/jobs"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
        with LocalServer(State(tmp_path_factory.mktemp("attacks") / "state")) as started:
            yield started


@pytest.fixture
def folder(server: LocalServer) -> Path:
    return server.jobs.store.folder("training", "x").parents[2]


@pytest.fixture
def models(server: LocalServer) -> Any:
    """S3 of a server with one object, s3://models/weights."""
    s3 = client(server, "s3")
    s3.create_bucket(Bucket="models")
    for entry in s3.list_objects_v2(Bucket="models").get("Contents", []):
        s3.delete_object(Bucket="models", Key=entry["Key"])
    s3.put_object(Bucket="models", Key="weights", Body=b"weights")
    return s3


def client(server: LocalServer | Server, service: str, key: str | None = None, **config: Any) -> Any:
    return boto3.client(
        service,
        endpoint_url=server.address,
        region_name="us-east-1",
        aws_access_key_id=key or server.token,
        aws_secret_access_key=key or server.token,
        config=Config(retries={"total_max_attempts": 1}, **config),
    )


def ask(
    server: LocalServer, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b""
) -> tuple[int, dict[str, str], bytes]:
    """Send a request as it is, unsigned."""
    connection = http.client.HTTPConnection(server.address.removeprefix("http://"), timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def signed(server: LocalServer, service: str = "s3") -> dict[str, str]:
    scope = f"{server.token}/20260101/us-east-1/{service}/aws4_request"
    return {"Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"}


def fetch(url: str, method: str = "GET", body: bytes | None = None, headers: dict[str, str] | None = None) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, body, headers or {}, method=method)) as answer:
        content: bytes = answer.read()
    return content


def code_of(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


# ---------------------------------------------------------------------------------------------- who is let in
@pytest.mark.parametrize("key", ["local", "AKIAIOSFODNN7EXAMPLE", "{token}A", "{shorter}"])
@pytest.mark.parametrize(
    ("service", "operation", "code"),
    [
        ("sagemaker", "list_training_jobs", "UnrecognizedClientException"),
        ("s3", "list_buckets", "InvalidAccessKeyId"),
        ("sts", "get_caller_identity", "InvalidClientTokenId"),
        ("iam", "list_roles", "InvalidClientTokenId"),
        ("logs", "describe_log_groups", "UnrecognizedClientException"),
        ("ecr", "describe_repositories", "UnrecognizedClientException"),
        ("cloudwatch", "list_metrics", "UnrecognizedClientException"),
    ],
)
def test_another_users_key_opens_nothing(
    server: LocalServer, key: str, service: str, operation: str, code: str
) -> None:
    key = key.format(token=server.token, shorter=server.token[:-1])
    with pytest.raises(ClientError) as refused:
        getattr(client(server, service, key), operation)()
    assert code_of(refused) == code
    assert getattr(client(server, service), operation)()["ResponseMetadata"]["HTTPStatusCode"] == 200


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/", {}),
        ("GET", "/", {"Accept": "text/html"}),
        ("GET", "/?token=wrong", {"Accept": "text/html"}),
        ("GET", "/models/weights", {}),
        ("GET", "/models/weights?AWSAccessKeyId=x&Signature=y&Expires=9999999999", {}),
        ("GET", "/models/weights?X-Amz-Credential=x%2F20260101%2Fus-east-1%2Fs3%2Faws4_request", {}),
        ("GET", "/models/weights", {"Authorization": "AWS x:y"}),
        ("GET", "/models/weights", {"Authorization": "Bearer {token}"}),
        ("DELETE", "/models/weights", {}),
        ("GET", "/models/weights", {"Cookie": "{cookie}"}),
        ("GET", PAGE, {}),
        ("GET", PAGE, {"Cookie": "local-sagemaker-{port}={token}"}),
        ("GET", PAGE, {"Cookie": "local-sagemaker-{port}="}),
        ("GET", "/_local/page/page.js", {}),
        ("GET", "/_local/status", {}),
        ("GET", "/_local/status", {"Authorization": "Bearer x"}),
        ("GET", "/_local/status", {"Cookie": "{cookie}"}),
        ("POST", "/_local/shutdown", {}),
        ("POST", "/_local/shutdown", {"Cookie": "{cookie}"}),
        ("POST", "/_local/jobs/training/x/interrupt", {}),
        ("GET", "/_local/image-config/sha256:0", {}),
        ("GET", "/_local/image-config/sha256:0?signature=", {}),
        ("POST", "/moto-api/reset", {}),
        ("GET", "/latest/meta-data/iam/security-credentials/", {}),
    ],
)
def test_a_request_without_the_token_is_refused(
    server: LocalServer, models: Any, method: str, path: str, headers: dict[str, str]
) -> None:
    port = server.address.rpartition(":")[2]
    cookie = Access(server.token).cookie(port).partition(";")[0]
    filled = {name: value.format(token=server.token, port=port, cookie=cookie) for name, value in headers.items()}
    status, _, body = ask(server, method, path, filled)
    assert status == 403
    assert b"weights" not in body
    assert server.token.encode() not in body
    assert models.get_object(Bucket="models", Key="weights")["Body"].read() == b"weights"
    control(Server(os.getpid(), int(port), server.token), "GET", "status")


@pytest.mark.usefixtures("models")
def test_an_unsigned_request_of_s3_is_refused_as_s3_does_it(server: LocalServer) -> None:
    with pytest.raises(ClientError) as refused:
        client(server, "s3", signature_version=UNSIGNED).get_object(Bucket="models", Key="weights")
    assert code_of(refused) == "AccessDenied"
    with pytest.raises(ClientError, match="403"):
        client(server, "s3", "stranger").head_object(Bucket="models", Key="weights")


def test_a_browser_comes_with_the_token_and_goes_on_with_a_cookie(server: LocalServer) -> None:
    browser = {"Accept": "text/html", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    status, headers, body = ask(server, "GET", server.page.removeprefix(server.address), browser)
    assert (status, b"<title>Local SageMaker</title>" in body) == (200, True)
    cookie, *attributes = headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Strict"} <= set(attributes)
    assert server.token not in cookie
    assert ask(server, "GET", PAGE, {"Cookie": cookie})[0] == 200
    assert ask(server, "GET", PAGE, {"Cookie": cookie, "Origin": "http://127.0.0.1:1"})[0] == 403
    assert ask(server, "GET", PAGE, {"Cookie": cookie, "Sec-Fetch-Site": "cross-site"})[0] == 403


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/?Action=GetSessionToken&Version=2011-06-15", {}),
        ("GET", "/?Action=GetCallerIdentity&Version=2011-06-15", {"Accept": "text/html"}),
        ("GET", "/", {"X-Amz-Target": "SageMaker.ListTrainingJobs"}),
        ("POST", "/_local/jobs/x", {"X-Amz-Target": "SageMaker.ListTrainingJobs"}),
        ("POST", "/_local/page/jobs", {"X-Amz-Target": "SageMaker.ListTrainingJobs"}),
        ("POST", "/_local/jobs/x", {"Content-Type": "application/x-www-form-urlencoded"}),
        ("POST", "/_local/jobs/x", {"Smithy-Protocol": "rpc-v2-cbor"}),
    ],
)
def test_the_pages_cookie_opens_no_operation_of_aws(
    server: LocalServer, method: str, path: str, headers: dict[str, str]
) -> None:
    _, given, _ = ask(server, "GET", server.page.removeprefix(server.address), {"Accept": "text/html"})
    cookie = given["set-cookie"].partition(";")[0]
    status, _, body = ask(server, method, path, {"Cookie": cookie, **headers}, b"")
    assert status in (400, 403)
    assert b"AccessKeyId>" not in body


def test_credentials_that_sts_and_iam_give_are_credentials(server: LocalServer, folder: Path) -> None:
    sts, iam = client(server, "sts"), client(server, "iam")
    iam.create_user(UserName="someone")
    given = [
        sts.assume_role(RoleArn=ROLE, RoleSessionName="session")["Credentials"],
        sts.assume_role(RoleArn="arn:aws:iam::999999999999:role/Other", RoleSessionName="session")["Credentials"],
        sts.get_session_token()["Credentials"],
        sts.get_federation_token(Name="federated")["Credentials"],
        iam.create_access_key(UserName="someone")["AccessKey"],
    ]
    client(server, "s3").create_bucket(Bucket="of-roles")
    for number, credentials in enumerate(given):
        s3 = client(server, "s3", credentials["AccessKeyId"])
        s3.put_object(Bucket="of-roles", Key=f"{number}", Body=b"x")
    assert [entry.key for entry in server.objects.list("of-roles", "")] == ["0", "1", "2", "3", "4"]
    identity = client(server, "sts", given[0]["AccessKeyId"]).get_caller_identity()
    assert identity["Arn"] == "arn:aws:sts::123456789012:assumed-role/Local/session"
    issued = Access.of(folder)  # as a server that is started anew does it
    assert all(issued.admits(credentials["AccessKeyId"]) for credentials in given)


@pytest.mark.usefixtures("models")
def test_a_web_identity_needs_the_token(server: LocalServer, folder: Path) -> None:
    def assume(token: str) -> Any:
        return client(server, "sts", "x", signature_version=UNSIGNED).assume_role_with_web_identity(
            RoleArn=ROLE, RoleSessionName="pod-1", WebIdentityToken=token
        )

    with pytest.raises(ClientError) as refused:
        assume("a-token-of-somebody-else")
    assert code_of(refused) == "InvalidIdentityToken"
    credentials = assume((folder / "token").read_text())["Credentials"]
    s3 = client(server, "s3", credentials["AccessKeyId"])
    assert s3.get_object(Bucket="models", Key="weights")["Body"].read() == b"weights"


# --------------------------------------------------------------------------- nothing goes that nobody named
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/", 405),
        ("PUT", "/", 405),
        ("DELETE", "/", 405),
        ("PUT", "/%2e%2e", 400),
        ("DELETE", "/%2e%2e", 400),
        ("POST", "/%2e%2e?delete", 400),
        ("PUT", "/%2e", 400),
        ("PUT", "/..%2fjobs", 400),
        ("PUT", "/%2e%2e/token", 400),
        ("PUT", "/a..b", 400),
        ("PUT", "/jobs%00", 400),
        ("PUT", "/b", 400),
        ("PUT", "/" + "b" * 256, 400),
        ("PUT", "/%ff%fe%fd", 400),
    ],
)
def test_a_request_that_names_no_bucket_changes_nothing(
    server: LocalServer, models: Any, folder: Path, method: str, path: str, status: int
) -> None:
    def files() -> dict[Path, bytes]:
        return {file: file.read_bytes() for file in folder.parent.rglob("*") if file.is_file()}

    before = files()
    assert ask(server, method, path, signed(server))[0] == status
    assert files() == before
    assert models.get_object(Bucket="models", Key="weights")["Body"].read() == b"weights"


@pytest.mark.parametrize("service", ["s3", "sts", "sagemaker", "moto_api", "moto-api", "instance_metadata"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/moto-api/reset"),
        ("POST", "/moto-api/reset-auth"),
        ("GET", "/moto-api/data.json"),
        ("GET", "/latest/meta-data/"),
    ],
)
def test_motos_own_api_is_not_there(server: LocalServer, models: Any, service: str, method: str, path: str) -> None:
    assert ask(server, method, path, signed(server, service))[0] >= 400
    models.put_object(Bucket="models", Key="after", Body=b"x")
    assert [entry.key for entry in server.objects.list("models", "")] == ["after", "weights"]


@pytest.mark.parametrize(
    ("service", "operation", "arguments"),
    [
        ("dynamodb", "list_tables", {}),
        ("sqs", "list_queues", {}),
        ("lambda", "list_functions", {}),
        ("ec2", "describe_vpcs", {}),
        ("stepfunctions", "list_state_machines", {}),
    ],
)
def test_a_service_that_is_not_there_says_so(
    server: LocalServer, service: str, operation: str, arguments: dict[str, Any]
) -> None:
    with pytest.raises(ClientError, match="not available in the local SageMaker"):
        getattr(client(server, service), operation)(**arguments)


def test_an_image_s_configuration_is_fetched_by_a_presigned_address(server: LocalServer) -> None:
    digest = "sha256:" + "0" * 64
    url = client(server, "ecr").get_download_url_for_layer(repositoryName="distilbert", layerDigest=digest)[
        "downloadUrl"
    ]
    assert json.loads(fetch(url)) == {}  # no engine, no image; and no refusal
    with pytest.raises(urllib.error.HTTPError, match="403"):
        fetch(url.replace("0000", "1111"))


# ------------------------------------------------------------------------------------- bodies that are none
@pytest.mark.parametrize("size", [b"ffffffff", b"200000", b"fffffffffffffffffffff", b"-3", b"zz", b""])
@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=b", "application/x-www-form-urlencoded"])
def test_a_stranger_who_breaks_off_in_a_chunk_does_not_end_the_server(
    server: LocalServer, models: Any, size: bytes, kind: str
) -> None:
    status, _ = cut_off(server, "POST", "/", {"Content-Type": kind}, size)
    assert status == 400
    assert models.get_object(Bucket="models", Key="weights")["Body"].read() == b"weights"


@pytest.mark.parametrize("size", [b"ffffffff", b"200000", b"fffffffffffffffffffff", b"-3", b"zz", b""])
def test_an_object_whose_chunks_are_cut_is_not_made(
    server: LocalServer, models: Any, folder: Path, size: bytes
) -> None:
    files = sorted((folder / "s3").rglob("*"))
    status, answer = cut_off(server, "PUT", "/models/weights", signed(server), size)
    assert status == 400
    assert b"IncompleteBody" in answer
    assert models.get_object(Bucket="models", Key="weights")["Body"].read() == b"weights"
    assert sorted((folder / "s3").rglob("*")) == files


def test_a_body_in_chunks_arrives_whole(server: LocalServer, models: Any) -> None:
    content = os.urandom(300_000)
    pieces = (content[at : at + 70_001] for at in range(0, len(content), 70_001))
    connection = http.client.HTTPConnection(server.address.removeprefix("http://"), timeout=30)
    connection.request("PUT", "/models/chunks", pieces, signed(server), encode_chunked=True)
    assert connection.getresponse().status == 200
    connection.close()
    assert models.get_object(Bucket="models", Key="chunks")["Body"].read() == content


def cut_off(server: LocalServer, method: str, path: str, headers: dict[str, str], size: bytes) -> tuple[int, bytes]:
    """Send a body in chunks whose first has another size than it says."""
    host, _, port = server.address.removeprefix("http://").partition(":")
    fields = {"Host": f"{host}:{port}", "Transfer-Encoding": "chunked", **headers}
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(head.encode() + b"\r\n" + size + b"\r\nabc")
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    return int(answer.split()[1]), answer


def test_a_length_beyond_any_file_is_refused(server: LocalServer) -> None:
    status, _, _ = ask(server, "POST", "/_local/faults", {"Content-Length": "9" * 30})
    assert status == 400


_ENTITIES = b'<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;">]><Tagging>&d;</Tagging>'


@pytest.mark.parametrize("query", ["tagging", "lifecycle", "cors", "encryption", "ownershipControls", "acl", "policy"])
@pytest.mark.parametrize("body", [b"\xff", b"<a", _ENTITIES, b"<a>" * 50_000, b"[" * 50_000], ids=range(5))
def test_a_malformed_setting_is_refused_and_not_kept(server: LocalServer, models: Any, query: str, body: bytes) -> None:
    status, _, answer = ask(server, "PUT", f"/models?{query}", signed(server), body)
    assert status == 400
    assert b"<Code>Malformed" in answer
    models.put_object(Bucket="models", Key="after", Body=b"x")
    assert models.get_object(Bucket="models", Key="after")["Body"].read() == b"x"


@pytest.mark.usefixtures("models")
def test_a_response_header_is_one_header(server: LocalServer) -> None:
    path = "/models/weights?response-content-disposition="
    status, headers, _ = ask(server, "GET", f"{path}a%0d%0aX-More:1", signed(server))
    assert (status, "x-more" in headers) == (400, False)
    status, headers, content = ask(server, "GET", f"{path}%e6%97%a5", signed(server))
    assert (status, content) == (200, b"weights")


@pytest.mark.parametrize("body", [b"[" * 100_000, b"[]", b'{"after": 1e999}', b"\xff"], ids=range(4))
def test_the_control_api_refuses_what_it_cannot_read(server: LocalServer, body: bytes) -> None:
    bearer = {"Authorization": f"Bearer {server.token}"}
    status, _, answer = ask(server, "POST", "/_local/jobs/training/x/interrupt", bearer, body)
    assert status == 400
    assert "error" in json.loads(answer)
