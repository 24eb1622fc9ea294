"""Measure ways to compute the training step on this machine, with the run's own weights and batches, within a budget.

    trial = Trial(hyperparameters, pretrained, channel, steps)
    modes = [Mode(xla=False, compute_dtype="float32"), Mode(xla=False, compute_dtype="bfloat16")]
    measured = trial.measure(modes, seconds=60, share=0.05)

The steps run in a child process (worker.py): the memory that they took is given back, no random number of the
run is drawn, and a mode that ends its process (an instruction that traps, memory that runs out) is one that is not
taken.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from star_rating.autotune.benchmark import Measurement, Mode, summarize
from star_rating.data.channel import Channel
from star_rating.hyperparameters import Hyperparameters
from star_rating.model.pretrained_weights import PretrainedWeights

ROUNDS = 4
"""Steps of each mode after its first, in turns with the other modes."""
FIRST_STEPS = {False: 3.0, True: 7.0}
"""How many times the first mode's first step another mode may take with its rounds, without XLA and with it."""
GRACE_SECONDS = 10.0
"""Beyond the child's own alarm."""


@dataclass(frozen=True)
class Trial:
    """What a trial trains: the run that it stands for."""

    hyperparameters: Hyperparameters
    pretrained: PretrainedWeights
    channel: Channel
    steps: int
    """Of the whole run."""

    def measure(self, modes: Sequence[Mode], seconds: float, share: float) -> tuple[Measurement, ...]:
        """Return a measurement a mode; after `seconds` the child ends, whatever it is doing.

        `seconds` come from an estimate; once the child knows what a step takes, it begins nothing that would take more
        than `share` of the run.
        """
        began = time.monotonic()
        # What the checks compare is not trained on.
        channel = replace(self.channel, manifests=(), texts=None, tokens=None)
        request = {
            "hyperparameters": self.hyperparameters.as_dict(),
            "weights": str(self.pretrained.folder),
            "channel": {**asdict(channel), "files": [str(path) for path in channel.files]},
            "steps": self.steps,
            "modes": [asdict(mode) for mode in modes],
            "began": began,
            "until": began + seconds,
            "share": share,
        }
        try:
            child = subprocess.run(
                [sys.executable, "-m", "star_rating.autotune.worker"],
                input=json.dumps(request),
                capture_output=True,
                check=False,
                text=True,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
                timeout=seconds + GRACE_SECONDS,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return summarize(modes, [], f"the trial failed: {error}")
        return summarize(modes, _events(child.stdout), _ending(child, seconds))


def _events(output: str) -> list[dict[str, Any]]:
    # The last line may be one that the child did not finish.
    return [json.loads(line) for line in output.splitlines() if line.startswith("{") and line.endswith("}")]


def _ending(child: subprocess.CompletedProcess[str], seconds: float) -> str:
    """Say why a mode has no steps."""
    if child.returncode == -signal.SIGALRM:
        return f"not finished within the {seconds:.0f} s that a trial may take here"
    if child.returncode < 0:
        return f"the trial was ended by {signal.Signals(-child.returncode).name}"
    return (child.stderr.strip().splitlines() or [f"the trial ended with exit code {child.returncode}"])[-1]
