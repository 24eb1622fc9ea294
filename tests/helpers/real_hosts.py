"""A job of several containers of the image on a private network, each with its own folders, as the platform gives them.

hosts = RealHosts(containers, tmp_path, hosts=2, epochs="2")
results = hosts.run()
hosts.run_record["steps"]["done"]
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.helpers.containers import Containers, Result
from tests.helpers.real_job import RealJob
from tests.helpers.training_job import examples, write_records

LENGTH = 64
LONGEST_RUN = 600.0
"""Seconds."""


class RealHosts:
    """Hosts algo-1, algo-2, ...: the first has the checkpoints and the model."""

    def __init__(self, containers: Containers, folder: Path, hosts: int = 2, **hyperparameters: str) -> None:
        self.containers = containers
        self.network = containers.network()
        self.names = [f"algo-{rank + 1}" for rank in range(hosts)]
        self.jobs = [RealJob(containers, folder / name, LENGTH) for name in self.names]
        self.options: list[str] = []
        """Docker's, for each container."""
        for name, job in zip(self.names, self.jobs, strict=True):
            job.configure(use_xla="False", use_amp="False", log_every_steps="1", **hyperparameters)
            config = job.root / "input" / "config" / "resourceconfig.json"
            config.write_text(json.dumps({"current_host": name, "hosts": self.names}))
        (self.jobs[0].root / "checkpoints").mkdir()

    def shard(self, rank: int, records: int) -> None:
        """Give a host records of its own to train on, as ShardedByS3Key does."""
        self.jobs[rank].file("train").unlink()
        file = self.jobs[rank].file("train").with_name(f"part-{rank}-of-{len(self.jobs)}.tfrecord")
        write_records(file, examples(records, LENGTH, seed=rank))

    def start(self, rank: int) -> str:
        """Start a host; return its container."""
        checkpoints = ["--volume", f"{self.jobs[0].root}/checkpoints:/opt/ml/checkpoints"] if rank == 0 else []
        placed = ["--network", self.network, "--network-alias", self.names[rank], "--hostname", self.names[rank]]
        return self.jobs[rank].start(*placed, *checkpoints, *self.options)

    def start_all(self) -> list[str]:
        """Start the hosts; return their containers by rank."""
        return [self.start(rank) for rank in range(len(self.jobs))]

    def wait(self, container: str) -> Result:
        """Wait for a container's end."""
        return self.containers.wait(container, timeout=LONGEST_RUN)

    def run(self) -> list[Result]:
        """Run the hosts to their end, which must be a good one; return what they said, by rank."""
        results = [self.wait(container) for container in self.start_all()]
        assert [result.exit_code for result in results] == [0] * len(results), "\n".join(
            result.log for result in results
        )
        return results

    @property
    def run_record(self) -> dict[str, Any]:
        """The job's run.json."""
        document: dict[str, Any] = json.loads((self.jobs[0].root / "model" / "run.json").read_text())
        return document
