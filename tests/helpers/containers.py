"""Containers of the built image for the tests, and the folders of a training job.

result = containers.run(["smoke"], ["--read-only"])
result.exit_code, result.log
"""

import json
import os
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

LONGEST_WAIT = 600.0
"""Seconds for what takes a few on an idle machine: a wait that is over fails a test, and a busy machine must not."""

SOURCES = "/opt/distilbert-trainer/src"


@dataclass(frozen=True)
class Result:
    """How a container ended."""

    exit_code: int
    log: str
    """Its stdout and stderr."""


class Containers:
    """Runs containers of one image under a label that no other test session has."""

    def __init__(self, image: str) -> None:
        self.image = image
        self.session = f"distilbert-trainer.session={uuid.uuid4().hex}"

    def start(self, arguments: Sequence[str], options: Sequence[str] = ()) -> str:
        """Start a container in the background, as this user, with no network but what `options` say; return its id."""
        return docker(*self.command(arguments, ["--detach", *options])).strip()

    def command(self, arguments: Sequence[str], options: Sequence[str] = ()) -> list[str]:
        """Return what the Docker client is given to run a container."""
        defaults = ["--user", f"{os.getuid()}:{os.getgid()}"]
        if "--network" not in options:
            defaults += ["--network", "none"]
        labels = ["--label", "distilbert-trainer=test", "--label", self.session]
        return ["run", *labels, *defaults, *options, self.image, *arguments]

    def run(self, arguments: Sequence[str], options: Sequence[str] = (), timeout: float = LONGEST_WAIT) -> Result:
        """Run a container to its end."""
        return self.wait(self.start(arguments, options), timeout)

    def wait(self, container: str, timeout: float = LONGEST_WAIT) -> Result:
        """Wait for a container's end; a container that takes longer fails the test with its log."""
        try:
            exit_code = int(docker("wait", container, timeout=timeout))
        except subprocess.TimeoutExpired:
            pytest.fail(f"the container has not ended after {timeout} s:\n{self.log(container)}")
        return Result(exit_code, self.log(container))

    def wait_for(self, container: str, text: str, timeout: float = LONGEST_WAIT) -> None:
        """Wait until a container's log has a text."""
        follow = subprocess.Popen(
            ["docker", "logs", "--follow", container], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        killer = subprocess.Popen(["sh", "-c", f"sleep {timeout}; kill {follow.pid}"], start_new_session=True)
        with follow:
            assert follow.stdout is not None
            seen = any(text in line for line in follow.stdout)
            follow.kill()
        os.killpg(killer.pid, 9)
        killer.wait()
        assert seen, f"{text!r} is not in the log:\n{self.log(container)}"

    def signal(self, container: str, name: str) -> None:
        """Send a signal to PID 1."""
        docker("kill", "--signal", name, container)

    def log(self, container: str) -> str:
        result = subprocess.run(
            ["docker", "logs", container], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
        )
        return result.stdout

    def network(self) -> str:
        """Make a private network, on which containers find each other by name; return its name."""
        name = f"distilbert-trainer-test-{uuid.uuid4().hex[:12]}"
        docker("network", "create", "--internal", "--label", "distilbert-trainer=test", "--label", self.session, name)
        return name

    def remove_all(self) -> None:
        containers = docker("ps", "--all", "--quiet", "--filter", f"label={self.session}").split()
        if containers:
            docker("rm", "--force", "--volumes", *containers)
        if networks := docker("network", "ls", "--quiet", "--filter", f"label={self.session}").split():
            docker("network", "rm", *networks)


def docker(*arguments: str, timeout: float = LONGEST_WAIT) -> str:
    """Run the Docker client and return its stdout."""
    result = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, timeout=timeout)
    assert result.returncode == 0, f"docker {' '.join(arguments)}: {result.stderr}"
    return result.stdout


class Job:
    """One training job's folder, mounted at /opt/ml, and a stand-in for train.py."""

    def __init__(self, containers: Containers, folder: Path) -> None:
        self.containers = containers
        self.root = folder / "ml"
        self.sources = folder / "src"
        (self.root / "input" / "data" / "train").mkdir(parents=True)
        (self.root / "input" / "config").mkdir()
        self.sources.mkdir()

    def configure(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a file of input/config."""
        (self.root / "input" / "config" / name).write_text(json.dumps(content), encoding="utf-8")

    def program(self, text: str, name: str = "train.py") -> None:
        """Put a program in the place of the image's own."""
        (self.sources / name).write_text(text, encoding="utf-8")

    def start(self, options: Sequence[str] = (), arguments: Sequence[str] = ("train",)) -> str:
        return self.containers.start(arguments, [*self.mounts, *options])

    @property
    def mounts(self) -> list[str]:
        return ["--volume", f"{self.root}:/opt/ml", "--volume", f"{self.sources}:{SOURCES}:ro"]

    def run(
        self, options: Sequence[str] = (), arguments: Sequence[str] = ("train",), timeout: float = LONGEST_WAIT
    ) -> Result:
        return self.containers.wait(self.start(options, arguments), timeout)

    @property
    def failure(self) -> str:
        """The failure file's text, "" without one."""
        file = self.root / "output" / "failure"
        return file.read_text(encoding="utf-8") if file.exists() else ""
