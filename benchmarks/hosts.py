"""What more hosts bring: a step on 1, 2 and 4 containers of equal size, the exchange on slower networks, and a model.

    python -m benchmarks.hosts --image distilbert-trainer:local           # as root: the networks are shaped with tc

Each host is a container with a fixed share of the machine's cores on a private network. A network's rate is shaped at
each container's own end (token bucket). Delay needs netem, which not every kernel has: without it, the model's
delays are not checked. Prints two tables and writes benchmarks/results/hosts.json.

The model: a step of N hosts takes what computing its share of the batch takes (part of which is the same for any batch,
as one host beside two shows), 2 (N - 1) / N of the gradients' bytes at the rate of the network or, where that is lower,
of the engine on that many cores, and a delay for each round of the ring, of which there are 2 (N - 1). Nothing of the
exchange is counted as hidden behind the computation: the measured steps show what is.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
SOURCES = "/opt/distilbert-trainer"
HOSTS = (1, 2, 4)
GIGABITS = (1, 5, 10, 25)
DELAYS_MS = (0.1, 1, 5)
LABEL = "distilbert-trainer=bench"


@dataclass(frozen=True)
class Instance:
    """A machine type: its network, and how many times the cores of the measured host it has."""

    name: str
    gigabits: float
    cores: int


INSTANCES = (Instance("ml.c5.9xlarge", 10.0, 18), Instance("ml.c7i.8xlarge", 12.5, 16))
"""Physical cores and network of AWS's instance pages; their cores are taken to be as fast as the measured ones."""
PARALLEL_EFFICIENCY = 0.7
"""Of many cores against one, in a step; assumed."""


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", default="distilbert-trainer:local")
    parser.add_argument("--cores", type=float, default=0.5, help="of each host")
    parser.add_argument("--batch-size", type=int, default=32, help="of all hosts")
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--results", type=Path, default=PROJECT / "benchmarks" / "results" / "hosts.json")
    options = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("the networks of containers can be shaped by root alone")
    cases = [*((hosts, None) for hosts in HOSTS), *((2, gigabits) for gigabits in GIGABITS)]
    measured = []
    for hosts, gigabits in cases:
        measured.append({"hosts": hosts, "gigabits": gigabits, **run(options, hosts, gigabits)})
        print(line(measured[-1]), flush=True)
    predicted = predictions(measured, options.cores, options.batch_size)
    print("\n" + "\n".join(predicted["lines"]))
    options.results.write_text(
        json.dumps(
            {
                "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "cores_a_host": options.cores,
                "batch_size": options.batch_size,
                "max_seq_length": options.length,
                "rounds": options.rounds,
                "measured": measured,
                "predicted": predicted["rows"],
            },
            indent=2,
        )
        + "\n",
        encoding="utf-8",
    )
    return 0


def run(options: argparse.Namespace, hosts: int, gigabits: float | None) -> dict[str, Any]:
    """Measure one case in containers of its own; ends this program if a container fails."""
    name = f"distilbert-trainer-bench-{uuid.uuid4().hex[:8]}"
    names = [f"h{rank + 1}" for rank in range(hosts)]
    docker("network", "create", "--internal", "--label", LABEL, name)
    containers: list[str] = []
    try:
        for host in names:
            settings = {"HOSTS": json.dumps(names), "CURRENT_HOST": host, "PYTHONPATH": f"/bench:{SOURCES}/src"}
            environment = [word for key, value in settings.items() for word in ("--env", f"{key}={value}")]
            placed = ["--network", name, "--network-alias", host, "--hostname", host, "--cpus", str(options.cores)]
            mounted = ["--volume", f"{PROJECT}/benchmarks:/bench/benchmarks:ro"]
            work = ["-m", "benchmarks.measuring.hosts_step", "--batch-size", str(options.batch_size)]
            work += ["--length", str(options.length), "--rounds", str(options.rounds)]
            entry = ["--detach", "--label", LABEL, "--entrypoint", "python"]
            containers.append(docker("run", *entry, *placed, *mounted, *environment, options.image, *work))
        if gigabits is not None:
            for container in containers:
                shape(container, gigabits)
        for container in containers:
            if docker("wait", container) != "0":
                sys.exit(docker("logs", container))
        report = next(text for text in reversed(docker("logs", containers[0]).splitlines()) if text.startswith("{"))
        result: dict[str, Any] = json.loads(report)
        return result
    finally:
        for container in containers:
            docker("rm", "--force", container)
        docker("network", "rm", name)


def shape(container: str, gigabits: float) -> None:
    """Let a container send no faster than that."""
    process = docker("inspect", "--format", "{{.State.Pid}}", container)
    bucket = ["tbf", "rate", f"{gigabits}gbit", "burst", "2mb", "latency", "100ms"]
    command = ["nsenter", "--target", process, "--net", "tc", "qdisc", "add", "dev", "eth0", "root", *bucket]
    subprocess.run(command, check=True)


def docker(*arguments: str) -> str:
    """Run the Docker client and return what it prints."""
    return subprocess.run(
        ["docker", *arguments], check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ).stdout.strip()


def line(row: dict[str, Any]) -> str:
    """Return a measured case as a line of text."""
    network = f"{row['gigabits']} Gbit/s" if row["gigabits"] else "as it is"
    sent = (
        f", {row['gradient_bytes'] / 1e6:.0f} MB of {row['gradient_bytes_if_dense'] / 1e6:.0f}"
        if row["hosts"] > 1
        else ""
    )
    return (
        f"{row['hosts']} host(s), network {network}: part {row['compute_seconds']:.2f} s, exchange "
        f"{row['exchange_seconds']:.2f} s{sent}, step {row['step_seconds']:.2f} s"
    )


@dataclass(frozen=True)
class Step:
    """A step of one host: what takes as long for any batch (updating the weights, say), and what grows with it."""

    fixed_seconds: float
    growing_seconds: float

    def times(self, batches: float, speed: float) -> Step:
        """Return the step for so many times the batch on so many times as fast a host."""
        return Step(self.fixed_seconds / speed, self.growing_seconds * batches / speed)

    def on(self, hosts: int, sent_bytes: float, gigabits: float, engine: float, delay_ms: float = 0.0) -> float:
        """Return the model's seconds on several hosts; `engine` in bytes a second."""
        alone = self.fixed_seconds + self.growing_seconds / hosts
        if hosts == 1:
            return alone
        travelling = 2 * (hosts - 1) / hosts * sent_bytes / min(gigabits * 1e9 / 8, engine)
        return alone + travelling + 2 * (hosts - 1) * delay_ms / 1000


def predictions(measured: Sequence[dict[str, Any]], cores: float, batch_size: int) -> dict[str, Any]:
    """Return the model beside what was measured, and for the instances, as rows and as lines of text."""
    one, two = measured[0], measured[1]
    sent = two["gradient_bytes"]
    engine = sent / two["exchange_seconds"]  # between two hosts, each sends the bytes once
    growing = max(2 * (one["compute_seconds"] - two["compute_seconds"]), 0.0)  # half the batch on each of two
    step = Step(one["step_seconds"] - growing, growing)
    rows: list[dict[str, Any]] = []
    lines = ["the model, beside what was measured", f"{'':<28}{'measured':>10}{'model':>10}"]
    for row in measured:
        gigabits = row["gigabits"] or 1000.0
        seconds = step.on(row["hosts"], sent, gigabits, engine)
        rows.append(
            {"hosts": row["hosts"], "gigabits": row["gigabits"], "model": seconds, "measured": row["step_seconds"]}
        )
        lines.append(f"{line(row).split(':')[0]:<28}{row['step_seconds']:>9.2f}s{seconds:>9.2f}s")
    lines += ["", f"reviews a second by the model, relative to one host; delay {DELAYS_MS[0]} ms"]
    lines.append(f"{'':<16}{'batch':>7}" + "".join(f"{hosts:>8}" for hosts in (2, 4, 8, 16)))
    for instance in INSTANCES:
        faster = instance.cores / cores * PARALLEL_EFFICIENCY
        for batch in (batch_size, 4 * batch_size, 16 * batch_size):
            here = step.times(batch / batch_size, faster)
            alone = here.on(1, sent, instance.gigabits, engine)
            gains = {
                hosts: alone / here.on(hosts, sent, instance.gigabits, engine * faster, DELAYS_MS[0])
                for hosts in (2, 4, 8, 16)
            }
            rows.append({"instance": instance.name, "batch_size": batch, "speed_up": gains})
            lines.append(f"{instance.name:<16}{batch:>7}" + "".join(f"{gain:>8.2f}" for gain in gains.values()))
    return {"rows": rows, "lines": lines}


if __name__ == "__main__":
    sys.exit(main())
