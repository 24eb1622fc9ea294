"""Who may ask, and where this process's own clients may go."""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from launcher import Session, use_local
from launcher.aws.training_job import list_jobs
from launcher.cli.local import local_session
from launcher.errors import AwsError
from local_sagemaker.client import ServerError, control
from local_sagemaker.server import LocalServer
from local_sagemaker.state import Server, State, StateInUseError


def here(server: LocalServer) -> Server:
    return Server(os.getpid(), port_of(server), server.token)


def port_of(server: LocalServer) -> int:
    return int(server.address.rpartition(":")[2])


def test_it_listens_on_loopback_only(server: LocalServer) -> None:
    own = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = [fields[1] for fields in own if fields[3] == "0A" and fields[1].endswith(f":{port_of(server):04X}")]
    assert listening == [f"0100007F:{port_of(server):04X}"]
    other = [fields[1] for fields in map(str.split, Path("/proc/net/tcp6").read_text().splitlines()[1:])]
    assert not [address for address in other if address.endswith(f":{port_of(server):04X}")]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:{port}"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example:{port}"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:{port}"}, 200),
        ({"Origin": "http://127.0.0.1:1"}, 403),
    ],
)
def test_web_pages_of_strangers_are_refused(server: LocalServer, headers: dict[str, str], status: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port_of(server))
    bent = {name: value.format(port=port_of(server)) for name, value in headers.items()}
    connection.request("GET", "/_local/status", headers=bent | {"Authorization": f"Bearer {server.token}"})
    assert connection.getresponse().status == status
    connection.close()


HOSTILE = {
    "AWS_PROFILE": "production",
    "AWS_CONFIG_FILE": "/no/such/config",
    "AWS_ENDPOINT_URL": "https://api.sagemaker.eu-west-1.amazonaws.com",
    "AWS_ENDPOINT_URL_S3": "https://s3.eu-west-1.amazonaws.com",
    "AWS_ENDPOINT_URL_SAGEMAKER": "https://api.sagemaker.eu-west-1.amazonaws.com",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
    "AWS_USE_FIPS_ENDPOINT": "true",
    "AWS_USE_DUALSTACK_ENDPOINT": "true",
    "AWS_ACCESS_KEY_ID": "AKIAPRODUCTION",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_SESSION_TOKEN": "secret",
    "AWS_ROLE_ARN": "arn:aws:iam::999999999999:role/Production",
    "AWS_CA_BUNDLE": "/no/such/bundle",
    "AWS_REGION": "eu-west-1",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
}
"""An environment in which every path leads to AWS, or nowhere."""


@pytest.fixture
def local(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> Session:
    """The session that --local makes, in an environment that would lead elsewhere."""
    state = State(server.jobs.store.folder("training", "x").parents[2])
    for name, value in HOSTILE.items():
        monkeypatch.setenv(name, value)
    return use_local(state.folder)


def test_no_path_leads_from_local_to_aws(server: LocalServer, local: Session) -> None:
    before = dict(os.environ)
    for service in ("sagemaker", "s3", "logs", "cloudwatch", "ecr", "iam", "sts", "kms", "service-quotas"):
        client = local.client(service)
        assert client.meta.endpoint_url == server.address
        assert client._request_signer._credentials.access_key == server.token
        assert client._request_signer._credentials.token is None
    assert "TrainingJobSummaries" in local.client("sagemaker").list_training_jobs()
    assert "bucket" in {bucket["Name"] for bucket in local.client("s3").list_buckets()["Buckets"]}
    assert local.client("sagemaker").meta.region_name == "eu-west-1"
    assert local.dashboard_url() == f"{server.address}/?token={server.token}"
    assert dict(os.environ) == before


@pytest.mark.parametrize("address", ["https://api.sagemaker.us-east-1.amazonaws.com/", "http://127.0.0.1:9/"])
def test_a_request_that_would_leave_is_not_sent(local: Session, address: str) -> None:
    client = local.client("sagemaker")

    def lead_away(request: Any, **_: object) -> None:
        request.url = address

    client.meta.events.register_first("before-send.sagemaker.ListTrainingJobs", lead_away)
    try:
        with pytest.raises(AwsError, match="outside the local SageMaker"):
            list_jobs(local)
    finally:
        client.meta.events.unregister("before-send.sagemaker.ListTrainingJobs", lead_away)


def test_without_a_server_a_session_reaches_nothing(tmp_path: Path) -> None:
    session = local_session(tmp_path, start=False)
    assert session.client("sagemaker", seconds=1).meta.endpoint_url == "http://127.0.0.1:9"
    assert session.records.folder == tmp_path / "records"


def test_a_state_folder_has_one_server(server: LocalServer) -> None:
    state = State(server.jobs.store.folder("training", "x").parents[2])
    assert state.running_server() == here(server)
    with pytest.raises(StateInUseError, match="a server runs on"), state.owned():
        pass


def test_a_folder_without_a_server_has_none_whatever_a_killed_one_has_left(tmp_path: Path) -> None:
    state = State(tmp_path)
    assert state.running_server() is None
    (tmp_path / "server.lock").touch()
    (tmp_path / "server.json").write_text(json.dumps({"pid": os.getpid(), "port": 1}))
    assert state.running_server() is None


def test_the_admin_api_refuses_with_a_sentence(server: LocalServer) -> None:
    with pytest.raises(ServerError, match="there is no training job nowhere"):
        control(here(server), "POST", "jobs/training/nowhere/interrupt", {})
    with pytest.raises(ServerError, match="kind: Input should be 'interrupt'"):
        control(here(server), "POST", "faults", {"kind": "earthquake"})
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(ServerError, match="does not answer"):
            control(Server(0, unused.getsockname()[1]), "GET", "status")


def test_an_answer_that_is_cut_off_is_said() -> None:
    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ServerError, match="does not answer"):
            control(Server(0, listener.getsockname()[1]), "POST", "shutdown")
        thread.join()


def test_an_operation_answers_with_the_error_that_was_asked_for(server: LocalServer) -> None:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import ClientError

    known = here(server)
    client = boto3.client(
        "sagemaker",
        endpoint_url=server.address,
        region_name="us-east-1",
        aws_access_key_id=server.token,
        aws_secret_access_key=server.token,
        config=Config(retries={"total_max_attempts": 1}),
    )
    control(known, "POST", "faults", {"kind": "api", "operation": "ListTrainingJobs", "times": 2})
    assert [fault["times"] for fault in control(known, "GET", "faults")] == [2]
    for _ in range(2):
        with pytest.raises(ClientError, match="ThrottlingException"):
            client.list_training_jobs()
    assert "TrainingJobSummaries" in client.list_training_jobs()
    control(known, "POST", "faults", {"kind": "capacity"})
    control(known, "DELETE", "faults")
    assert control(known, "GET", "faults") == []
