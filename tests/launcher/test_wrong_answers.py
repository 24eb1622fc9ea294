"""Every command against a stand-in that answers wrongly, slowly or not at all: a sentence that names the endpoint.

A proxy's login page, another service on the port, a stream that is cut: no traceback, an exit code of ours, and, where
a job may have been submitted, the way to it.
"""

from __future__ import annotations

import http.server
import json
import os
import pty
import pwd
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from launcher import Session
from launcher.aws import errors, session
from launcher.aws.preflight import _trusts_sagemaker, _Unknown
from launcher.cli.main import main
from launcher.records import Records
from tests.helpers.job_files import REPOSITORY, write

COMMANDS = {
    "check": ["check", "--file", "job.toml"],
    "train": ["train", "--file", "job.toml", "--job-name", "x"],
    "process": ["process", "--file", "job.toml", "--job-name", "x"],
    "train --resume-from": ["train", "--file", "job.toml", "--resume-from", "elsewhere"],
    "list": ["list"],
    "status": ["status", "x"],
    "latest": ["status"],
    "attach": ["attach", "x"],
    "logs": ["logs", "x"],
    "metrics": ["metrics", "x"],
    "metrics --series": ["metrics", "x", "--series"],
    "rules": ["rules", "x"],
    "experiment": ["experiment", "x"],
    "lineage": ["lineage", "x"],
    "download": ["download", "x"],
    "diff": ["diff", "x", "y"],
    "stop": ["stop", "x"],
}

SOON = 0.1
"""Seconds after which the tests' clients give a connection up, instead of a minute."""

HTML = b"<!DOCTYPE html>\n<html><body>Please log in</body></html>"

Answer = Callable[["Handler"], None]


class Handler(http.server.BaseHTTPRequestHandler):
    """One request; what it is answered is the server's `answer`."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2] or self.path
        self.server.asked.append(self.operation)
        self.server.answer(self)

    do_GET = do_PUT = do_HEAD = do_POST  # noqa: N815 - the base class's names

    def log_message(self, *_: object) -> None:
        pass

    def send(
        self, status: int, body: bytes, kind: str = "application/x-amz-json-1.1", length: int | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def redirect(self) -> None:
        self.send_response(302)
        self.send_header("Location", "http://127.0.0.1:9/login")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.close()

    def cut(self) -> None:
        self.send(200, b'{"TrainingJobName": "x', length=5000)
        self.close()

    def close(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)


def sends(status: int, body: bytes, kind: str = "application/x-amz-json-1.1") -> Answer:
    return lambda handler: handler.send(status, body, kind)


ANSWERS: dict[str, Answer] = {
    "a proxy's page": sends(200, HTML, "text/html"),
    "a proxy that wants a password": sends(407, HTML, "text/html"),
    "a gateway's error": sends(502, HTML, "text/html"),
    "a redirect": Handler.redirect,
    "nothing": sends(200, b""),
    "no fields": sends(200, b"{}"),
    "null": sends(200, b"null"),
    "a list": sends(200, b"[1, 2]"),
    "no JSON": sends(200, b"\x00\xff\x1b]0;title\x07"),
    "half of JSON": sends(200, b'{"TrainingJobName": "x"'),
    "deep JSON": sends(200, b'{"a":' * 50_000),
    "fields of other kinds": sends(
        200,
        json.dumps(
            {
                "TrainingJobName": ["x"],
                "TrainingJobStatus": {"a": 1},
                "TrainingJobArn": 5,
                "ProcessingJobArn": 5,
                "TrainingJobSummaries": "none",
                "CreationTime": "yesterday",
                "ResourceConfig": [],
                "SecondaryStatusTransitions": 3,
            }
        ).encode(),
    ),
    "an error without a code": sends(400, b"{}"),
    "an error that is no JSON": sends(400, b"no"),
    "a connection that is cut": Handler.cut,
    "a connection that is reset": Handler.reset,
    "a connection that is closed": Handler.close,
    "no answer": lambda _: time.sleep(2 * SOON),
}


class Server(http.server.ThreadingHTTPServer):
    """Answers every request alike."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer: Answer = ANSWERS["nothing"]
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: object) -> None:
        """A client that has left is what some of the tests are about."""


@pytest.fixture(scope="module")
def _server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def server(_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    environment = {"ENDPOINT_URL": _server.address, "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}
    for name, value in {**environment, "REGION": "us-east-1", "MAX_ATTEMPTS": "1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setattr(errors, "RETRY_SECONDS", 0.0)
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "job.toml", {"processing.s3_input": '"s3://{bucket}/reviews/"'})
    _server.asked = []
    return _server


def answers(server: Server, answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every request be answered alike; a client waits long, but where none is to come."""
    server.answer = ANSWERS[answer]
    if answer == "no answer":
        monkeypatch.setattr(session, "READ_SECONDS", SOON)


def run(capsys: pytest.CaptureFixture[str], command: list[str]) -> tuple[int, str]:
    code = main(command)
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err, printed
    return code, printed.out + printed.err


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_answer_is_a_sentence_that_names_the_endpoint(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str, answer: str
) -> None:
    answers(server, answer, monkeypatch)
    code, said = run(capsys, COMMANDS[command])
    # What AWS is too busy to say is unknown to `check`, and no finding.
    assert code == (1 if command != "check" else 0 if answer == "a gateway's error" else 2)
    assert server.address in said
    assert not list(Records().folder.glob("*.json"))


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:9", "localhost:4566", "https://127.0.0.1:{port}", "http://[::1"]
)
def test_an_endpoint_that_is_none_is_named(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str, endpoint: str
) -> None:
    server.answer = ANSWERS["nothing"]
    address = endpoint.format(port=server.server_port)
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    code, said = run(capsys, COMMANDS[command])
    assert code == (2 if command == "check" else 1)
    assert address in said
    assert "may run" not in said  # nobody has been reached


MAY_RUN = ("a gateway's error", "a proxy's page", "no fields", "no answer", "a connection that is reset")


@pytest.mark.parametrize("answer", MAY_RUN)
@pytest.mark.parametrize("command", ["train", "process"])
def test_a_submission_whose_answer_is_lost_says_how_to_find_out(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str, answer: str
) -> None:
    answers(server, answer, monkeypatch)
    nothing_there = sends(200, b"<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>", "application/xml")

    def lose(handler: Handler) -> None:
        (nothing_there if "list-type" in handler.path else ANSWERS[answer])(handler)

    server.answer = lose
    _, said = run(capsys, COMMANDS[command])
    way = {"train": "launcher attach x", "process": "aws sagemaker describe-processing-job --processing-job-name x"}
    assert "it may run all the same: before you submit it again, look with " + way[command] in said


@dataclass
class Job:
    """SageMaker with one job, which goes wrong after some looks at it."""

    wrong: dict[str, Answer]
    """Operation -> what it answers instead, from the second look at the job on."""
    status: str = "Completed"
    looks: int = 0
    log: list[str] = field(default_factory=list)

    def __call__(self, handler: Handler) -> None:
        operation = handler.operation
        self.looks += operation == "DescribeTrainingJob"
        if operation in self.wrong and (self.looks > 1 or operation != "DescribeTrainingJob"):
            self.wrong[operation](handler)
        else:
            is_read = b"nextToken" in handler.body
            handler.send(200, json.dumps(self._answer(operation, [] if is_read else self.log)).encode())

    def _answer(self, operation: str, log: list[str]) -> dict[str, Any]:
        arn = "arn:aws:sagemaker:us-east-1:123456789012:training-job/x"
        status = self.status if self.looks > 2 else "InProgress"
        events = [{"timestamp": 1_700_000_000_000, "message": text} for text in log]
        answers: dict[str, dict[str, Any]] = {
            "CreateTrainingJob": {"TrainingJobArn": arn},
            "DescribeTrainingJob": {
                "TrainingJobName": "x",
                "TrainingJobArn": arn,
                "TrainingJobStatus": status,
                "SecondaryStatus": status,
                "ResourceConfig": {"InstanceType": "ml.c7i.2xlarge", "InstanceCount": 1},
                "OutputDataConfig": {"S3OutputPath": "s3://bucket/jobs/"},
                "CreationTime": 1_700_000_000,
                **({"FailureReason": "it failed"} if status == "Failed" else {}),
            },
            "DescribeLogStreams": {"logStreams": [{"logStreamName": "x/algo-1-1"}]},
            "GetLogEvents": {"events": events, "nextForwardToken": "f/1"},
            "BatchGetImage": {},
        }
        return answers[operation]


def denies(code: str) -> Answer:
    return sends(400, json.dumps({"__type": code, "message": "no"}).encode())


TRAIN = ["train", "--file", "job.toml", "--job-name", "x", "--poll-interval", "0.05"]


@pytest.mark.parametrize("code", ["ExpiredTokenException", "UnrecognizedClientException", "InvalidSignatureException"])
def test_credentials_that_end_while_a_job_runs_lead_back_to_it_and_to_no_second_one(
    server: Server, capsys: pytest.CaptureFixture[str], code: str
) -> None:
    server.answer = Job({"DescribeTrainingJob": denies(code)})
    exit_code, said = run(capsys, TRAIN)
    assert exit_code == 1
    assert "; x continues: launcher attach x" in said
    assert "repeat" not in said
    assert server.asked.count("CreateTrainingJob") == 1


@pytest.mark.parametrize(
    "answer", ["a proxy's page", "a gateway's error", "a connection that is reset", "half of JSON"]
)
def test_a_way_that_is_cut_for_a_while_is_waited_out(
    server: Server, capsys: pytest.CaptureFixture[str], answer: str
) -> None:
    job = Job({}, log=["a line"])

    def cut_for_a_while(handler: Handler) -> None:
        ANSWERS[answer](handler)
        if job.looks > 3:
            job.wrong.clear()

    job.wrong["DescribeTrainingJob"] = cut_for_a_while
    server.answer = job
    code, said = run(capsys, TRAIN)
    assert code == 0
    assert said.count("a line") == 3 - 2  # once


@pytest.mark.parametrize("operation", ["DescribeLogStreams", "GetLogEvents"])
@pytest.mark.parametrize(("status", "code"), [("Completed", 0), ("Failed", 3)])
def test_a_log_that_may_not_be_read_is_done_without(
    server: Server, capsys: pytest.CaptureFixture[str], operation: str, status: str, code: int
) -> None:
    server.answer = Job({operation: denies("AccessDeniedException")}, status=status)
    exit_code, said = run(capsys, TRAIN)
    assert exit_code == code
    assert said.count("waiting continues without it") == 1


def test_a_record_that_cannot_be_written_is_said_before_the_job_is_submitted(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "a file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "a file"))
    server.answer = Job({})
    code, said = run(capsys, TRAIN)
    assert code == 0
    lines = said.splitlines()
    first = lines.index("submitted x")
    assert lines[first - 1].startswith("no record of x will be kept here: ")
    assert lines[first + 1].split() == ["arn", "arn:aws:sagemaker:us-east-1:123456789012:training-job/x"]


def test_without_a_home_the_job_runs_and_is_named(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_name(_: int) -> None:
        raise KeyError

    for name in ("HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(pwd, "getpwuid", no_name)  # a user id without a name, as in many a container
    server.answer = Job({})
    code, said = run(capsys, TRAIN)
    assert code == 0
    assert said.index("there is no home folder to remember anything in") < said.index("submitted x\n")
    for command in (["status", "x"], ["attach", "x", "--poll-interval", "0.05"]):
        assert run(capsys, command)[0] == 0
    code, said = run(capsys, ["list", "--local"])
    assert code == 1
    assert "set LOCAL_SAGEMAKER_STATE or HOME" in said


def take_ctrl_c() -> None:
    """Undo what a shell does to a job in its background, and so to tests that run in one: it ignores Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("operation", ["CreateTrainingJob", "BatchGetImage", "DescribeTrainingJob"])
def test_ctrl_c_at_any_moment_names_the_job_and_the_ways_back(server: Server, operation: str) -> None:
    asked = threading.Event()

    def hang(_: Handler) -> None:
        asked.set()
        time.sleep(5)

    job = Job({operation: hang})
    job.looks = 1
    server.answer = job
    command = [sys.executable, "-m", "launcher", *TRAIN]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        preexec_fn=take_ctrl_c,  # noqa: PLW1509 - the server's threads hold no lock that it needs
    ) as process:
        assert asked.wait(60)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert ("submitted x" in said) == (operation != "CreateTrainingJob")
    assert "detached: x " in said
    assert "next: launcher attach x" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "streams",
    [
        ">/dev/full",
        "2>&1 | true",
        pytest.param("2>/dev/full", marks=pytest.mark.long),
        pytest.param("2>&-", marks=pytest.mark.long),
    ],
)
def test_an_output_that_takes_nothing_does_not_end_the_wait(server: Server, streams: str) -> None:
    server.answer = Job({}, status="Failed", log=["a line"] * 50)
    script = f"{sys.executable} -m launcher {' '.join(TRAIN)} {streams}; exit ${{PIPESTATUS[0]}}"
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    ended = subprocess.run(["bash", "-c", script], check=False, capture_output=True, text=True, env=environment)
    assert ended.returncode == 3  # the job's own end
    assert "Traceback" not in ended.stdout + ended.stderr
    assert "Exception ignored" not in ended.stderr
    assert next(Records().folder.glob("x.json"))


def test_a_terminal_without_the_characters_is_served(server: Server) -> None:
    server.answer = Job({}, log=["é 日本"])
    command = [sys.executable, "-m", "launcher", "logs", "x"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "PYTHONIOENCODING": "ascii"}
    table = subprocess.run(command, check=True, capture_output=True, env=environment).stdout
    assert rb"\u65e5\u672c" in table
    rows = subprocess.run([*command, "--output", "json"], check=True, capture_output=True, env=environment).stdout
    assert json.loads(rows)[0]["text"] == "é 日本"


@pytest.mark.parametrize(
    ("variable", "code"), [(None, b"\x1b[31merror"), ("NO_COLOR=1", b"error"), ("TERM=dumb", b"error")]
)
def test_colours_are_as_the_environment_wants_them(server: Server, variable: str | None, code: bytes) -> None:
    server.answer = ANSWERS["nothing"]
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")}
    environment |= {"PYTHONPATH": str(REPOSITORY), "TERM": "xterm"} | dict([(variable or "A=b").split("=")])
    main_end, its_end = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "launcher", "list"], stdout=its_end, stderr=its_end, env=environment
    ) as process:
        os.close(its_end)
        printed = os.read(main_end, 65536)
    os.close(main_end)
    assert process.returncode == 1
    assert printed.startswith(code)
    assert (b"\x1b" in printed) == (variable is None)


@pytest.mark.parametrize(
    ("arn", "code"),
    [
        ("arn:", 2),
        ("arn:aws:sagemaker", 2),
        ("arn:aws:sagemaker:us-east-1:123456789012:processing-job/x", 2),
        ("arn:aws-cn:sagemaker:us-east-1:123456789012:training-job/x", 0),
    ],
)
def test_an_arn_that_is_none_is_usage(server: Server, capsys: pytest.CaptureFixture[str], arn: str, code: int) -> None:
    server.answer = Job({})
    exit_code, said = run(capsys, ["status", arn])
    assert exit_code == code
    assert (arn in said) or code == 0


@pytest.mark.parametrize(
    ("policy", "result"),
    [
        ({"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}, True),
        ([{"Effect": "Allow", "Principal": {"Service": ["ec2.amazonaws.com", "sagemaker.amazonaws.com"]}}], True),
        ([{"Effect": "Allow", "Principal": "*"}], True),
        ([{"Effect": "Deny", "Principal": {"Service": "sagemaker.amazonaws.com"}}], False),
        ([{"Effect": "Allow", "NotPrincipal": {"AWS": "x"}}, "x", None], False),
        ({}, False),
        (3, False),
    ],
)
def test_a_trust_policy_is_read_in_every_form(policy: object, *, result: bool) -> None:
    assert _trusts_sagemaker({"Statement": policy}) == result
    assert _trusts_sagemaker(json.dumps({"Statement": policy})) == result


@pytest.mark.parametrize("policy", [None, 3, "", "[]", "{}", [], {}])
def test_a_trust_policy_that_is_none_is_unknown(policy: object) -> None:
    with pytest.raises(_Unknown):
        _trusts_sagemaker(policy)


@pytest.mark.parametrize("times", [1, 3])
def test_a_submission_that_is_throttled_is_repeated_as_any_other_call(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    monkeypatch.setattr(errors, "RETRY_SECONDS", 60.0)
    monkeypatch.setattr(errors, "FIRST_BACKOFF_SECONDS", 0.01)
    job = Job({})
    refusals = iter([denies("ThrottlingException")] * times)

    def throttled(handler: Handler) -> None:
        refusal = next(refusals, None)
        if refusal is None:
            del job.wrong["CreateTrainingJob"]
            job(handler)
        else:
            refusal(handler)

    job.wrong["CreateTrainingJob"] = throttled
    server.answer = job
    assert run(capsys, [*TRAIN, "--no-wait"])[0] == 0
    assert server.asked.count("CreateTrainingJob") == times + 1


def test_a_name_that_was_taken_before_is_not_taken_for_ours(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer is lost, and the repetition is told that there is such a job: an old one."""
    monkeypatch.setattr(errors, "RETRY_SECONDS", 60.0)
    monkeypatch.setattr(errors, "FIRST_BACKOFF_SECONDS", 0.01)
    answers = iter([ANSWERS["a gateway's error"], denies("ResourceInUse")])

    def lost_then_taken(handler: Handler) -> None:
        next(answers)(handler)

    server.answer = Job({"CreateTrainingJob": lost_then_taken})
    code, said = run(capsys, TRAIN)
    assert code == 1
    assert "choose another with --job-name" in said


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;a title\x07text", "text"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bc reset", r"\x1bc reset"),
        ("\x9b31m", r"\x9b31m"),
        ("10%\r20%", r"10%\x0d20%"),
        ("a\u202eb\u2066c\u2028d", r"a\u202eb\u2066c\u2028d"),
        ("half \ud800", r"half \ud800"),
        ("tab\té 日本", "tab\té 日本"),
        ("one\n--- Completed", r"one\n--- Completed"),
    ],
)
def test_a_jobs_log_sends_the_terminal_nothing_but_text(
    server: Server, capsys: pytest.CaptureFixture[str], written: str, shown: str
) -> None:
    server.answer = Job({}, log=[written])
    assert main(TRAIN) == 0
    assert f"\n{shown}\n" in capsys.readouterr().err
    for output in ("table", "csv"):
        assert main(["logs", "x", "--output", output]) == 0
        assert shown.replace(r"\n", "\n") in capsys.readouterr().out
    assert main(["logs", "x", "--output", "json"]) == 0
    printed = capsys.readouterr().out
    assert not {"\x1b", "\x9b", "\r", "\u202e"} & set(printed)
    assert json.loads(printed)[0]["text"] == written


CREDENTIALS = {
    "a process that is missing": "credential_process = /no/such/file",
    "a process that writes no JSON": "credential_process = /bin/echo not-json",
    "a process that writes other JSON": "credential_process = /bin/echo []",
    "a process that fails": "credential_process = /bin/false",
    "a quote that stays open": 'credential_process = /no/such "x',
    "a token file that is missing": "role_arn = arn:aws:iam::123456789012:role/x\nweb_identity_token_file = /no/token",
    "a session that was never begun": "sso_session = s\nsso_account_id = 1\nsso_role_name = r\n"
    "[sso-session s]\nsso_region = us-east-1\nsso_start_url = https://example.com",
    "a profile that is its own source": "role_arn = arn:aws:iam::123456789012:role/x\nsource_profile = other",
    "half of a key": "aws_access_key_id = a",
    "attempts that are no number": "max_attempts = abc",
}


@pytest.mark.parametrize("command", ["list", "train"])
@pytest.mark.parametrize("profile", CREDENTIALS)
def test_credentials_that_cannot_be_loaded_name_the_profile(
    server: Server,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    profile: str,
    command: str,
) -> None:
    (tmp_path / "config").write_text(f"[profile mine]\nregion = us-east-1\n{CREDENTIALS[profile]}\n")
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "MAX_ATTEMPTS"):
        monkeypatch.delenv(f"AWS_{name}")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "mine")
    code, said = run(capsys, COMMANDS[command])
    assert code == 1
    assert "mine" in said
    assert server.asked == []


def test_a_profile_that_is_set_later_is_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(region="us-east-1")
    elsewhere = session.client("sagemaker")
    assert session.client("sagemaker") is elsewhere
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert session.client("sagemaker").meta.endpoint_url == "http://127.0.0.1:9"
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.address)
    assert session.client("sagemaker") is elsewhere
