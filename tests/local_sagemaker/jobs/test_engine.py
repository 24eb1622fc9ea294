"""The Docker engine as the docker CLI finds it, and what a job is told while it waits for it."""

from __future__ import annotations

import base64
import datetime as dt
import gc
import hashlib
import http.server
import ipaddress
import json
import shutil
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from local_sagemaker.client import start_server, stop_server
from local_sagemaker.docker_client.docker_config import ContextError, credentials, current_endpoint
from local_sagemaker.docker_client.engine import Engine, EngineError
from local_sagemaker.state import State
from tests.helpers.emulator import BUCKET, LocalSageMaker, ask

ENGINE = "/var/run/docker.sock"


@pytest.fixture
def docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration folder of the docker CLI; what names an engine in the environment is put aside."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "docker"
    folder.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    return folder


def add_context(folder: Path, name: str, host: str, **fields: object) -> Path:
    """Add a context as `docker context create` does; return its folder for certificates."""
    key = hashlib.sha256(name.encode()).hexdigest()
    described = {"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": False} | fields}}
    meta = folder / "contexts" / "meta" / key
    meta.mkdir(parents=True)
    (meta / "meta.json").write_text(json.dumps(described))
    return folder / "contexts" / "tls" / key / "docker"


def check() -> None:
    """Ask the engine whether it is there."""
    with closing(Engine("0123")) as engine:
        engine.check()


@pytest.mark.docker
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # docker-py's, of a socket nobody has
@pytest.mark.parametrize("named_by", ["config.json", "DOCKER_CONTEXT"])
def test_the_engine_is_that_of_the_current_context(
    docker_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named_by: str
) -> None:
    (tmp_path / "here.sock").symlink_to(ENGINE)
    add_context(docker_config, "here", f"unix://{tmp_path}/here.sock")
    add_context(docker_config, "nobody", f"unix://{tmp_path}/nobody.sock")

    def use(name: str) -> None:
        if named_by == "config.json":
            (docker_config / "config.json").write_text(json.dumps({"currentContext": name}))
        else:
            monkeypatch.setenv("DOCKER_CONTEXT", name)

    use("here")
    check()
    use("nobody")
    with pytest.raises(EngineError, match=r"no Docker engine answers at unix://.*nobody.sock \(the docker context nob"):
        check()
    monkeypatch.setenv("DOCKER_HOST", f"unix://{ENGINE}")
    check()
    gc.collect()


def test_a_context_that_cannot_be_used_says_why(docker_config: Path) -> None:
    add_context(docker_config, "far", "ssh://user@far")
    for name, reason in (("far", "on another machine"), ("none", "the docker context none cannot be read")):
        with pytest.raises(ContextError, match=reason):
            current_endpoint({"DOCKER_CONFIG": str(docker_config), "DOCKER_CONTEXT": name})
    assert current_endpoint({"DOCKER_CONFIG": str(docker_config), "DOCKER_CONTEXT": "default"}).arguments == {}
    (docker_config / "config.json").write_text("{")
    assert current_endpoint({"DOCKER_CONFIG": str(docker_config)}).arguments == {}


def write_certificate(folder: Path) -> ssl.SSLContext:
    """Write ca.pem, cert.pem and key.pem of one certificate, and return a server's side that asks for it."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_after(now + dt.timedelta(days=1))
        .not_valid_before(now - dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=True)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(parents=True)
    for file in ("ca.pem", "cert.pem"):
        (folder / file).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=folder / "ca.pem")
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def pump(source: socket.socket, target: socket.socket) -> None:
    """Pass on what comes, until nothing more does."""
    with suppress(OSError):
        while some := source.recv(1 << 16):
            target.sendall(some)


@contextmanager
def serving(handler: type[socketserver.BaseRequestHandler]) -> Iterator[int]:
    """Serve on loopback, and yield the port."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.docker
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_context_with_certificates(docker_config: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    server_side = write_certificate(tmp_path / "certificates")

    class Door(socketserver.BaseRequestHandler):
        """The engine, behind TLS that wants a client's certificate."""

        def handle(self) -> None:
            try:
                client = server_side.wrap_socket(self.request, server_side=True)
            except OSError:
                return
            with client, socket.socket(socket.AF_UNIX) as engine:
                engine.connect(ENGINE)
                back = threading.Thread(target=pump, args=(engine, client))
                back.start()
                pump(client, engine)
                engine.shutdown(socket.SHUT_RDWR)
                back.join()

    with serving(Door) as port:
        add_context(docker_config, "bare", f"tcp://127.0.0.1:{port}", SkipTLSVerify=True)
        shutil.copytree(tmp_path / "certificates", add_context(docker_config, "tls", f"tcp://127.0.0.1:{port}"))
        monkeypatch.setenv("DOCKER_CONTEXT", "tls")
        check()
        monkeypatch.setenv("DOCKER_CONTEXT", "bare")
        with pytest.raises(EngineError, match="the docker context bare"):
            check()
    gc.collect()


def helper(folder: Path, name: str, script: str) -> str:
    path = folder / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\nread -r registry\n{script}\n")
    path.chmod(0o755)
    return name


@pytest.mark.filterwarnings("ignore:docker-credential-absent")
def test_credentials_are_those_of_docker_login_and_of_its_helpers(
    docker_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {"DOCKER_CONFIG": str(docker_config)}
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert credentials("ghcr.io/a/b:1", environ) is None
    helper(tmp_path, "store", """echo "{\\"Username\\": \\"from the store\\", \\"Secret\\": \\"$registry\\"}" """)
    helper(tmp_path, "one", """echo '{"Username": "<token>", "Secret": "t"}'""")
    helper(tmp_path, "broken", "exit 1")
    config = {
        "auths": {
            "https://ghcr.io/v2/": {"auth": base64.b64encode(b"bob:se:cret").decode()},
            "https://index.docker.io/v1/": {"auth": base64.b64encode(b"hub:h").decode()},
        }
    }
    (docker_config / "config.json").write_text(json.dumps(config))
    assert (credentials("ghcr.io/a/b:1", environ) or {})["password"] == "se:cret"
    assert (credentials("debian:bookworm", environ) or {})["username"] == "hub"
    assert credentials("quay.io/a/b", environ) is None
    helpers = {"quay.io": "one", "broken.io": "broken", "absent.io": "absent"}
    (docker_config / "config.json").write_text(json.dumps(config | {"credHelpers": helpers}))
    assert (credentials("quay.io/a/b", environ) or {})["IdentityToken"] == "t"
    assert credentials("broken.io/a/b", environ) is None
    assert credentials("absent.io/a/b", environ) is None
    (docker_config / "config.json").write_text(json.dumps(config | {"credsStore": "store"}))
    assert (credentials("127.0.0.1:5000/a", environ) or {})["Password"] == "127.0.0.1:5000"
    (docker_config / "config.json").write_text('{"auths": {"ghcr.io": {"auth": "%%%"}}}')
    assert credentials("ghcr.io/a/b:1", environ) is None


@pytest.mark.docker
def test_an_image_is_pulled_with_the_credentials_of_docker_login(
    sagemaker: LocalSageMaker, docker_config: Path
) -> None:
    asked = []

    class Registry(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked.append(self.headers.get("Authorization"))
            known = asked[-1] is not None
            body = b'{"errors": [{"code": "TOOMANYREQUESTS", "message": "You have reached your pull rate limit"}]}'
            self.send_response(429 if known and "manifests" in self.path else 200 if known else 401)
            self.send_header("WWW-Authenticate", 'Basic realm="test"')
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 - the base class's name

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with serving(Registry) as port:
        login = base64.b64encode(b"bob:secret").decode()
        config = {"auths": {f"127.0.0.1:{port}": {"auth": login}}}
        (docker_config / "config.json").write_text(json.dumps(config))
        image = {"TrainingImage": f"127.0.0.1:{port}/private:1", "TrainingInputMode": "File"}
        job = sagemaker.run(AlgorithmSpecification=image)
    assert f"Basic {login}" in asked
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("ClientError: ")
    assert "You have reached your pull rate limit" in job["FailureReason"]


@pytest.mark.docker
def test_a_stop_does_not_wait_for_an_image(sagemaker: LocalSageMaker) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        image = {
            "TrainingImage": f"127.0.0.1:{silent.getsockname()[1]}/never:1",
            "TrainingInputMode": "File",
        }
        name = sagemaker.create(AlgorithmSpecification=image)
        connection, _ = silent.accept()  # the engine asks for the image, and hears nothing
        with connection:
            sagemaker.client("sagemaker").stop_training_job(TrainingJobName=name)
            job = sagemaker.wait(name, timeout=10)
    assert job["TrainingJobStatus"] == job["SecondaryStatus"] == "Stopped"
    assert "FailureReason" not in job


@pytest.mark.docker
@pytest.mark.usefixtures("job_image")
def test_a_job_that_is_stopped_while_it_waits_for_its_turn_never_begins(tmp_path: Path) -> None:
    state = State(tmp_path / "state:with a colon")
    sagemaker = LocalSageMaker(start_server(state, ["--jobs", "1"]))
    try:
        sagemaker.client("s3").create_bucket(Bucket=BUCKET)
        first = sagemaker.create("until [ -e /opt/ml/model/go ]; do sleep 0.05; done")
        second = sagemaker.create("echo ran")
        sagemaker.client("sagemaker").stop_training_job(TrainingJobName=second)
        job = sagemaker.wait(second, timeout=20)
        assert [entry["Status"] for entry in job["SecondaryStatusTransitions"]] == ["Starting", "Stopping", "Stopped"]
        assert "TrainingStartTime" not in job
        assert "ModelArtifacts" not in job
        assert sagemaker.lines(second) == []
        assert sagemaker.describe(first)["TrainingJobStatus"] == "InProgress"
        next(state.folder.glob("jobs/**/ml/model")).joinpath("go").touch()
        assert sagemaker.wait(first)["TrainingJobStatus"] == "Completed"
    finally:
        stop_server(state)


@pytest.mark.docker
def test_a_wall_clock_that_is_set_back_keeps_no_job_alive(
    sagemaker: LocalSageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.time
    name = sagemaker.create("trap '' TERM; echo ready; while :; do sleep 0.1; done")
    late = sagemaker.create("sleep 100", StoppingCondition={"MaxRuntimeInSeconds": 4})
    sagemaker.wait_for(name, "ready")
    monkeypatch.setattr(time, "time", lambda: real() - 3600)
    sagemaker.client("sagemaker").stop_training_job(TrainingJobName=name)
    job = sagemaker.wait(name, timeout=30)
    assert job["TrainingJobStatus"] == "Stopped"
    assert job["TrainingTimeInSeconds"] < 60
    job = sagemaker.wait(late, timeout=30)
    assert job["SecondaryStatus"] == "MaxRuntimeExceeded"


@pytest.mark.docker
def test_a_job_whose_wait_is_over_before_its_turn_never_begins(sagemaker: LocalSageMaker) -> None:
    name = f"late-{time.time_ns()}"
    ask(sagemaker, "faults", {"kind": "capacity", "job": name, "seconds": 30})
    stopping = {"MaxRuntimeInSeconds": 1, "MaxWaitTimeInSeconds": 1}
    job = sagemaker.run("echo ran", TrainingJobName=name, EnableManagedSpotTraining=True, StoppingCondition=stopping)
    assert job["SecondaryStatus"] == "MaxWaitTimeExceeded"
    assert sagemaker.lines(name) == []
