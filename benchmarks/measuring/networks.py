"""Hosts in containers of equal size, and the network between them: as Docker makes it, with a rate, or with a delay.

    report = run_hosts(image, 2, cores=0.5, network=Network(gigabits=1), work=["-m", "benchmarks.measuring.hosts_step"])

A rate is shaped at each container's own end (tc's token bucket). A delay is that of a wire of our own (wire.py): netem,
the kernel's, is not in every kernel. Both need root.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measuring.wire import Wire, wire_address

LABEL = "distilbert-trainer=bench"
SOURCES = "/opt/distilbert-trainer/src"
_BENCHMARKS = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Network:
    """What lies between the hosts. A container gets either a rate or a delay; the model knows both at once."""

    gigabits: float | None = None
    delay_ms: float | None = None
    """Of a packet, one way; 0 is the wire without a delay."""

    def __str__(self) -> str:
        if self.gigabits is not None:
            return f"{self.gigabits:g} Gbit/s"
        return "as it is" if self.delay_ms is None else f"{self.delay_ms:g} ms"


def run_hosts(image: str, hosts: int, cores: float, network: Network, work: Sequence[str]) -> dict[str, Any]:
    """Run Python on each host and return the JSON line that the first one prints; ends the program if one fails."""
    names = [f"h{rank + 1}" for rank in range(hosts)]
    with ExitStack() as stack:
        if network.delay_ms is None:
            shared = stack.enter_context(_docker_network())
            places = [["--network", shared, "--network-alias", name] for name in names]
        else:
            known = [word for rank, name in enumerate(names) for word in ("--add-host", f"{name}:{wire_address(rank)}")]
            places = [["--network", "none", *known] for _ in names]
        containers = [
            stack.enter_context(_container(image, name, names, ["--cpus", f"{cores}", *place], work))
            for name, place in zip(names, places, strict=True)
        ]
        processes = [int(docker("inspect", "--format", "{{.State.Pid}}", container)) for container in containers]
        if network.gigabits is not None:
            for process in processes:
                _limit_rate(process, network.gigabits)
        if network.delay_ms is not None:
            stack.enter_context(Wire(processes, network.delay_ms / 1000))
        for container in containers:
            if docker("wait", container) != "0":
                sys.exit(docker("logs", container))
        report = next(text for text in reversed(docker("logs", containers[0]).splitlines()) if text.startswith("{"))
        result: dict[str, Any] = json.loads(report)
        return result


def docker(*arguments: str) -> str:
    """Run the Docker client and return what it prints."""
    return subprocess.run(
        ["docker", *arguments], check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ).stdout.strip()


@contextlib.contextmanager
def _docker_network() -> Iterator[str]:
    name = f"distilbert-trainer-bench-{uuid.uuid4().hex[:8]}"
    docker("network", "create", "--internal", "--label", LABEL, name)
    try:
        yield name
    finally:
        docker("network", "rm", name)


@contextlib.contextmanager
def _container(
    image: str, host: str, hosts: Sequence[str], options: Sequence[str], work: Sequence[str]
) -> Iterator[str]:
    settings = {"HOSTS": json.dumps(hosts), "CURRENT_HOST": host, "PYTHONPATH": f"/bench:{SOURCES}"}
    environment = [word for key, value in settings.items() for word in ("--env", f"{key}={value}")]
    mounted = ["--volume", f"{_BENCHMARKS}:/bench/benchmarks:ro"]
    entry = ["--detach", "--label", LABEL, "--entrypoint", "python", "--hostname", host]
    container = docker("run", *entry, *options, *mounted, *environment, image, *work)
    try:
        yield container
    finally:
        docker("rm", "--force", container)


def _limit_rate(process: int, gigabits: float) -> None:
    """Let a container send no faster than that."""
    bucket = ["tbf", "rate", f"{gigabits}gbit", "burst", "2mb", "latency", "100ms"]
    command = ["nsenter", "--target", f"{process}", "--net", "tc", "qdisc", "add", "dev", "eth0", "root", *bucket]
    subprocess.run(command, check=True)
