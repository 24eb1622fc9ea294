"""One training job of the kill matrix in a container, followed line by line, with its checkpoints outside.

run = Run(containers, folder, channels)
run.wait_for(r" step 3/")
exit_code, seconds = run.end("SIGTERM")
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from tests.helpers.containers import Containers

EPOCHS, STEPS_PER_EPOCH, CHECKPOINT_EVERY = 2, 6, 3
STEPS = EPOCHS * STEPS_PER_EPOCH
HYPERPARAMETERS = {
    "epochs": str(EPOCHS),
    "train_steps_per_epoch": str(STEPS_PER_EPOCH),
    "train_batch_size": "4",
    "max_seq_length": "32",
    "checkpoint_every_steps": str(CHECKPOINT_EVERY),
    "log_every_steps": "1",
    # Two runs are compared to the last bit: what `auto` measures may come out otherwise.
    "use_xla": "False",
    "use_amp": "False",
}
SIGNALS = ("SIGTERM", "SIGKILL", "docker kill")
"""To PID 1; to train.py, as the kernel does where memory runs out; to the whole container."""

LONGEST_RUN = 600.0
"""Seconds."""

_KILL_TRAINING = "for p in /proc/[0-9]*; do if grep -qzx train.py $p/cmdline; then kill -9 ${p#/proc/}; fi; done"
_STEP = re.compile(r" step (\d+)/\d+ train:loss=(\S+) ")


class Run:
    """A container, and what it has shown so far."""

    def __init__(self, containers: Containers, folder: Path, channels: Path) -> None:
        self.containers = containers
        self.folder = folder
        for name in ("checkpoints", "model", "output", "input/config"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "input" / "config" / "hyperparameters.json").write_text(json.dumps(HYPERPARAMETERS))
        mounts = {folder: "/opt/ml", folder / "checkpoints": "/opt/ml/checkpoints", channels: "/opt/ml/input/data:ro"}
        self.started = time.monotonic()
        self.container = containers.start(["train"], [f"--volume={path}:{inside}" for path, inside in mounts.items()])
        self.lines: list[tuple[float, str]] = []
        self._changed = threading.Condition()
        self._ended = False
        self._follower = threading.Thread(target=self._follow, daemon=True)
        self._follower.start()

    def _follow(self) -> None:
        command = ["docker", "logs", "--follow", self.container]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as logs:
            for line in logs.stdout or ():
                with self._changed:
                    self.lines.append((time.monotonic(), line))
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait_for(self, pattern: str) -> float:
        """Wait for a line with the pattern, or for the end; return the time of the line."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._time_of(pattern) is not None, LONGEST_RUN)
            return self._time_of(pattern) or time.monotonic()

    def wait_for_writing(self) -> None:
        """Wait until a checkpoint is being written."""
        deadline = time.monotonic() + LONGEST_RUN
        while not (self.folder / "checkpoints" / ".writing").exists() and not self._ended:
            assert time.monotonic() < deadline, self.log
            time.sleep(0.005)

    def _time_of(self, pattern: str) -> float | None:
        return next((when for when, line in self.lines if re.search(pattern, line)), None)

    def end(self, signal: str) -> tuple[int, float]:
        """Send one of SIGNALS; return the exit code, and the seconds until it was there."""
        sent = time.monotonic()
        if signal == "SIGKILL":
            # As long as train.py has not started, there is nothing to kill: try again.
            while not self._ended:
                command = ["docker", "exec", self.container, "sh", "-c", _KILL_TRAINING]
                subprocess.run(command, capture_output=True, check=False)
                self._follower.join(0.2)
        else:
            name = "SIGKILL" if signal == "docker kill" else signal
            # The job may have ended by itself.
            subprocess.run(["docker", "kill", "--signal", name, self.container], capture_output=True, check=False)
        return self.wait(), time.monotonic() - sent

    def wait(self) -> int:
        """Return the exit code."""
        exit_code = self.containers.wait(self.container, LONGEST_RUN).exit_code
        self._follower.join()
        return exit_code

    @property
    def log(self) -> str:
        return "".join(line for _, line in self.lines)

    @property
    def losses(self) -> dict[int, str]:
        """Step -> train:loss, as the log shows it."""
        return {int(step): loss for step, loss in _STEP.findall(self.log)}

    @property
    def record(self) -> dict[str, Any]:
        """run.json, {} where there is none."""
        file = self.folder / "model" / "run.json"
        document: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        return document

    @property
    def history(self) -> dict[str, Any]:
        """Every loss and accuracy of the run, to the last digit; without the times."""
        return {name: values for name, values in self.record["history"].items() if not name.endswith("seconds")}

    @property
    def weights(self) -> str:
        """sha256 of the exported weights."""
        file = self.folder / "model" / "transformers" / "fine-tuned" / "model.safetensors"
        return hashlib.sha256(file.read_bytes()).hexdigest()
