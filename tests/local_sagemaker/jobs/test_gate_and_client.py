"""Who may ask, and where this process's own clients may go."""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
from pathlib import Path

import pytest

from launcher.aws import session
from launcher.aws.session import AwsError
from local_sagemaker.client import ServerError, control, local_environment, using_local
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


def test_no_path_leads_from_local_to_aws() -> None:
    environ = local_environment(
        {
            "AWS_PROFILE": "production",
            "AWS_ENDPOINT_URL_S3": "https://s3.eu-west-1.amazonaws.com",
            "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
            "AWS_SESSION_TOKEN": "secret",
            "AWS_ROLE_ARN": "arn:aws:iam::999999999999:role/Production",
            "AWS_REGION": "eu-west-1",
            "HTTPS_PROXY": "http://proxy:3128",
            "NO_PROXY": "intranet",
            "HOME": "/home/user",
        },
        Server(1, 4000, "TOKEN"),
    )
    assert {name for name in environ if name.startswith("AWS_")} == {
        "AWS_ACCESS_KEY_ID",
        "AWS_CONFIG_FILE",
        "AWS_DEFAULT_REGION",
        "AWS_EC2_METADATA_DISABLED",
        "AWS_ENDPOINT_URL",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SHARED_CREDENTIALS_FILE",
    }
    assert environ["AWS_REGION"] == "eu-west-1"
    assert environ["NO_PROXY"] == "intranet,127.0.0.1,localhost"
    assert environ["HOME"] == "/home/user"


def test_a_client_that_would_leave_is_not_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    with using_local(State(tmp_path), start=False):
        assert "AWS_PROFILE" not in os.environ
        # As if something had set it again behind our back.
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", "https://api.sagemaker.us-east-1.amazonaws.com")
        with pytest.raises(AwsError, match="outside the local SageMaker"):
            session.client("sagemaker", "us-east-1")
    assert os.environ["AWS_PROFILE"] == "production"


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


def test_the_control_api_refuses_with_a_sentence(server: LocalServer) -> None:
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
