"""What more hosts bring: a step on 1, 2 and 4 containers of equal size, the exchange on slower networks, and a model.

    python -m benchmarks.hosts --image distilbert-trainer:local           # as root: the networks are shaped with tc

Each host is a container with a fixed share of the machine's cores, on a network of measuring/networks.py: as Docker
makes it, with a rate, or with a delay. Prints two tables and writes benchmarks/results/hosts.json.

The model: a step of N hosts takes what computing its share of the batch takes (part of which is the same for any batch,
as one host beside two shows), 2 (N - 1) / N of the gradients' bytes at the rate of the network or, where that is lower,
of the engine on that many cores, and for each of the ring's 2 (N - 1) rounds a number of delays, which the longest
delay that was measured gives: TensorFlow asks for each piece that it is sent, and TCP has its windows. Nothing of the
exchange is counted as hidden behind the computation: the measured steps show what is.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.measuring.networks import Network, run_hosts

PROJECT = Path(__file__).resolve().parent.parent
HOSTS = (1, 2, 4)
GIGABITS = (1, 5, 10, 25)
DELAYS_MS = (0.1, 1, 5)
CASES = (
    *((hosts, Network()) for hosts in HOSTS),
    *((2, Network(gigabits=gigabits)) for gigabits in GIGABITS),
    *((2, Network(delay_ms=delay)) for delay in (0, *DELAYS_MS)),
)


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
        parser.error("only root can shape the networks of containers: sudo make bench-hosts")
    environment = run_hosts(options.image, 1, options.cores, Network(), ["-m", "benchmarks.measuring.environment"])
    work = ["-m", "benchmarks.measuring.hosts_step", "--batch-size", f"{options.batch_size}"]
    work += ["--length", f"{options.length}", "--rounds", f"{options.rounds}"]
    measured = []
    for hosts, network in CASES:
        result = run_hosts(options.image, hosts, options.cores, network, work)
        measured.append({"hosts": hosts, **asdict(network), **result})
        print(line(measured[-1]), flush=True)
    predicted = predictions(measured, options.cores, options.batch_size)
    print("\n" + "\n".join(predicted["lines"]))
    options.results.write_text(
        json.dumps(
            {
                "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
                **environment,
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


def network_of(row: dict[str, Any]) -> Network:
    """Return the network of a measured case."""
    return Network(row["gigabits"], row["delay_ms"])


def line(row: dict[str, Any]) -> str:
    """Return a measured case as a line of text."""
    sent = (
        f", {row['gradient_bytes'] / 1e6:.0f} MB of {row['gradient_bytes_if_dense'] / 1e6:.0f}"
        if row["hosts"] > 1
        else ""
    )
    return (
        f"{row['hosts']} host(s), network {network_of(row)}: part {row['compute_seconds']:.2f} s, exchange "
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

    def on(self, hosts: int, exchange: Exchange, network: Network) -> float:
        """Return the model's seconds on several hosts."""
        alone = self.fixed_seconds + self.growing_seconds / hosts
        return alone if hosts == 1 else alone + exchange.seconds(hosts, network)


@dataclass(frozen=True)
class Exchange:
    """What adding up the gradients takes."""

    sent_bytes: float
    engine: float
    """Bytes a second that a host's cores can send and add up."""
    delays_a_round: float

    def on_cores(self, speed: float) -> Exchange:
        """Return the exchange between hosts that are so many times as fast."""
        return replace(self, engine=self.engine * speed)

    def seconds(self, hosts: int, network: Network) -> float:
        """Return the model's seconds."""
        bytes_a_second = min(network.gigabits * 1e9 / 8 if network.gigabits else math.inf, self.engine)
        rounds = 2 * (hosts - 1)
        travelling = rounds / hosts * self.sent_bytes / bytes_a_second
        return travelling + rounds * self.delays_a_round * (network.delay_ms or 0.0) / 1000


def exchange_of(measured: Sequence[dict[str, Any]]) -> Exchange:
    """Return the exchange that two hosts on Docker's own network and on the longest delay tell of."""
    near = next(row for row in measured if row["hosts"] == 2 and network_of(row) == Network())
    wire = {row["delay_ms"]: row["exchange_seconds"] for row in measured if row["delay_ms"] is not None}
    longest = max(wire)
    delays = max(wire[longest] - wire[0], 0.0) / (2 * longest / 1000)
    # Between two hosts, each sends the bytes once.
    return Exchange(near["gradient_bytes"], near["gradient_bytes"] / near["exchange_seconds"], delays)


def predictions(measured: Sequence[dict[str, Any]], cores: float, batch_size: int) -> dict[str, Any]:
    """Return the model beside what was measured, and for the instances, as rows and as lines of text."""
    one, two = measured[0], measured[1]
    exchange = exchange_of(measured)
    growing = max(2 * (one["compute_seconds"] - two["compute_seconds"]), 0.0)  # half the batch on each of two
    step = Step(one["step_seconds"] - growing, growing)
    rows: list[dict[str, Any]] = []
    lines = [f"{exchange.delays_a_round:.0f} delays in each round of the ring"]
    lines += ["the model, beside what was measured", f"{'':<28}{'measured':>10}{'model':>10}"]
    for row in measured:
        network = network_of(row)
        seconds = step.on(row["hosts"], exchange, network)
        named = {"hosts": row["hosts"], **asdict(network)}
        rows.append({**named, "model": seconds, "measured": row["step_seconds"]})
        lines.append(f"{line(row).split(':')[0]:<28}{row['step_seconds']:>9.2f}s{seconds:>9.2f}s")
    lines += ["", f"reviews a second by the model, relative to one host; delay {DELAYS_MS[0]} ms"]
    lines.append(f"{'':<16}{'batch':>7}" + "".join(f"{hosts:>8}" for hosts in (2, 4, 8, 16)))
    for instance in INSTANCES:
        faster = instance.cores / cores * PARALLEL_EFFICIENCY
        network = Network(instance.gigabits, DELAYS_MS[0])
        for batch in (batch_size, 4 * batch_size, 16 * batch_size):
            here, there = step.times(batch / batch_size, faster), exchange.on_cores(faster)
            alone = here.on(1, there, network)
            gains = {hosts: alone / here.on(hosts, there, network) for hosts in (2, 4, 8, 16)}
            rows.append({"instance": instance.name, "batch_size": batch, "speed_up": gains})
            lines.append(f"{instance.name:<16}{batch:>7}" + "".join(f"{gain:>8.2f}" for gain in gains.values()))
    return {"rows": rows, "lines": lines}


if __name__ == "__main__":
    sys.exit(main())
