"""A training job of several hosts on this machine: a process each, one network address, real TensorFlow, a tiny model.

job = HostsJob(tmp_path, hosts=2)
outcomes = job.run(epochs="1")          # by rank
job.start(...); job.processes[1].kill(); job.wait()
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import train
from tests.helpers.tiny_model import tiny_weights
from tests.helpers.training_job import LENGTH, RECORDS, examples, running, write_records

SOURCES = Path(__file__).parents[2] / "src"
LONGEST_RUN = 500.0
"""Seconds."""
PORTS_A_WORKER = 1_000
_chance = random.SystemRandom()
NO_DROPOUT = {"dropout": 0.0, "attention_dropout": 0.0, "seq_classif_dropout": 0.0}


@dataclass(frozen=True)
class HostOutcome:
    """How one host ended, and what it left."""

    exit_code: int
    log: str
    seconds: float
    """From the start, or since the test began to wait, to its end."""
    root: Path

    @property
    def failure(self) -> str:
        file = self.root / "output" / "failure"
        return file.read_text() if file.exists() else ""

    @property
    def run(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.root / "model" / "run.json").read_text())
        return document

    @property
    def losses(self) -> list[float]:
        """The training loss of each step, or of the steps since the log line before."""
        return [entry["loss"] for entry in self.run["history"]["train"]]

    @property
    def weights(self) -> bytes:
        return (self.root / "model" / "transformers" / "fine-tuned" / "model.safetensors").read_bytes()

    @property
    def checkpoints(self) -> list[Path]:
        return sorted((self.root / "checkpoints").glob("step-*"))


class HostsJob:
    """The folders of a job's hosts; each has all channels, unless a test puts others there."""

    def __init__(self, folder: Path, hosts: int, records: dict[str, int] = RECORDS) -> None:
        self.folder = folder
        self.weights = tiny_weights(folder / "weights")
        config = json.loads((self.weights / "config.json").read_text())
        (self.weights / "config.json").write_text(json.dumps(config | NO_DROPOUT))
        # Only the first host's name is looked up.
        self.hosts = ["127.0.0.1", *(f"algo-{rank + 1}" for rank in range(1, hosts))]
        for rank in range(hosts):
            for seed, (channel, number) in enumerate(records.items()):
                write_records(self.channel(rank, channel) / "part-1.tfrecord", examples(number, LENGTH, seed))
        self.processes: list[subprocess.Popen[str]] = []
        self.started = 0.0

    def root(self, rank: int) -> Path:
        return self.folder / f"host-{rank}"

    def channel(self, rank: int, name: str) -> Path:
        folder = self.root(rank) / "input" / "data" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def copy_checkpoints(self, source: Path, up_to_step: int) -> None:
        """Give the first host the checkpoints of another run up to a step."""
        shutil.copytree(source / "checkpoints", self.root(0) / "checkpoints")
        for folder in (self.root(0) / "checkpoints").glob("step-*"):
            if int(folder.name.split("-")[1]) > up_to_step:
                shutil.rmtree(folder)

    def arguments(self, hyperparameters: dict[str, str]) -> list[str]:
        settings = {
            "epochs": "1",
            "max_seq_length": str(LENGTH),
            "learning_rate": "0.001",
            "use_xla": "False",
            "use_amp": "False",
            "log_every_steps": "1",
            "host_wait_minutes": "1",
        }
        return [word for name, value in (settings | hyperparameters).items() for word in (f"--{name}", value)]

    def environ(self, rank: int, port: int) -> dict[str, str]:
        return {
            "SAGEMAKER_BASE_DIR": str(self.root(rank)),
            "DISTILBERT_WEIGHTS": str(self.weights),
            "SM_HOSTS": json.dumps(self.hosts),
            "SM_CURRENT_HOST": self.hosts[rank],
            "TRAINING_PORT": str(port),
            "TF_NUM_INTRAOP_THREADS": "1",
            "TF_NUM_INTEROP_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
        }

    def start(self, **hyperparameters: str) -> None:
        """Start all hosts."""
        port = free_ports()
        self.started = time.monotonic()
        self.processes = []
        for rank in range(len(self.hosts)):
            root = self.root(rank)
            shutil.rmtree(root / "output", ignore_errors=True)
            root.mkdir(parents=True, exist_ok=True)
            with (root / "log").open("w") as log:
                self.processes.append(
                    subprocess.Popen(
                        [sys.executable, str(SOURCES / "train.py"), *self.arguments(hyperparameters)],
                        env=os.environ | self.environ(rank, port),
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        text=True,
                    )
                )

    def log(self, rank: int) -> str:
        return (self.root(rank) / "log").read_text()

    def wait_for(self, rank: int, pattern: str) -> None:
        """Wait until a host's log has a line with the pattern; fail if the host ends before."""
        deadline = time.monotonic() + LONGEST_RUN
        while not re.search(pattern, self.log(rank)):
            assert self.processes[rank].poll() is None, self.log(rank)
            assert time.monotonic() < deadline, self.log(rank)
            time.sleep(0.02)

    def signal(self, rank: int, number: signal.Signals) -> None:
        self.processes[rank].send_signal(number)

    def wait(self, *, since_now: bool = False) -> list[HostOutcome]:
        """Wait for the end of all hosts."""
        outcomes = []
        started = time.monotonic() if since_now else self.started
        try:
            for rank, process in enumerate(self.processes):
                exit_code = process.wait(LONGEST_RUN)
                seconds = time.monotonic() - started
                outcomes.append(HostOutcome(exit_code, self.log(rank), seconds, self.root(rank)))
        finally:
            for process in self.processes:
                process.kill()
                process.wait()
        return outcomes

    def run(self, **hyperparameters: str) -> list[HostOutcome]:
        """Run all hosts to their end; a single one in this process, which has TensorFlow loaded."""
        if len(self.hosts) == 1:
            with running(self.arguments(hyperparameters), self.environ(0, 0)) as (stdout, _):
                outcomes = [HostOutcome(int(train.main()), stdout.getvalue(), 0.0, self.root(0))]
        else:
            self.start(**hyperparameters)
            outcomes = self.wait()
        for outcome in outcomes:
            assert outcome.exit_code == 0, "\n".join(each.log for each in outcomes)
        return outcomes


def free_ports(number: int = 5) -> int:
    """Return the first of a row of ports that nobody listens on, below those that the kernel gives to connections.

    They are this test process's alone: each worker of pytest-xdist has a part of the range. And training sets the seed
    of `random`, which then would give every worker the same ports.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    while True:
        first = 20_000 + PORTS_A_WORKER * (worker % 12) + _chance.randrange(PORTS_A_WORKER - number)
        try:
            for port in range(first, first + number):
                socket.create_server(("", port)).close()
        except OSError:
            continue
        return first
