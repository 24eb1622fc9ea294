"""A training job of the image's own program, on TFRecords that TensorFlow wrote, without a manifest.

job = RealJob(containers, tmp_path)
job.configure(epochs="2")
result = job.run("--memory", "2g")
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tests.helpers.containers import Containers, Result
from tests.helpers.training_job import examples, write_records

RECORDS = {"train": 64, "validation": 20, "test": 30}


class RealJob:
    """A job's folder, mounted at /opt/ml."""

    def __init__(
        self, containers: Containers, folder: Path, length: int = 64, records: Mapping[str, int] = RECORDS
    ) -> None:
        self.containers = containers
        self.root = folder / "ml"
        for seed, (channel, number) in enumerate(records.items()):
            write_records(self.file(channel), examples(number, length, seed))
        self.configure(epochs="1", train_batch_size="16", max_seq_length=str(length), learning_rate="1e-4")

    def file(self, channel: str) -> Path:
        """The channel's one file."""
        return self.root / "input" / "data" / channel / "made-elsewhere.tfrecord"

    def configure(self, **hyperparameters: str) -> None:
        """Add hyperparameters to those of the job."""
        file = self.root / "input" / "config" / "hyperparameters.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        known = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps(known | hyperparameters))

    def start(self, *options: str) -> str:
        """Start the job and return the container."""
        return self.containers.start(["train"], ["--volume", f"{self.root}:/opt/ml", *options])

    def run(self, *options: str) -> Result:
        """Run the job to its end."""
        return self.containers.wait(self.start(*options))

    def inside(self, *command: str) -> Result:
        """Run another program of the image on what the job has left."""
        entry = ["--entrypoint", command[0], "--volume", f"{self.root}:/opt/ml:ro"]
        return self.containers.run(command[1:], entry)

    @property
    def failure(self) -> str:
        """The failure file's text, "" without one."""
        file = self.root / "output" / "failure"
        return file.read_text() if file.exists() else ""
