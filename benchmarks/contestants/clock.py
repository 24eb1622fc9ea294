"""The clock of a contestant: when each training step ended, printed as one JSON line at the end.

    clock = StepClock()
    clock.step_ended(loss)              # after each step
    clock.report(versions=...)          # the last line of the process's output

Imports the standard library alone, as every environment has to load it. The times are of CLOCK_MONOTONIC, which is one
clock for all processes of the machine: measuring/children.py notes on it when it starts the process.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path


class StepClock:
    """Notes the end and the loss of each step."""

    def __init__(self) -> None:
        self.step_ends: list[float] = []
        self.losses: list[float] = []

    def step_ended(self, loss: float) -> None:
        """Note a step; `loss` is a number, which no framework is still computing. Keras's is a running mean."""
        self.step_ends.append(time.monotonic())
        self.losses.append(loss)

    def report(self, **facts: object) -> None:
        """Print the line that the parent reads."""
        line = {"step_ends": self.step_ends, "losses": self.losses, **facts}
        print("\n" + json.dumps(line), flush=True)


def arguments() -> argparse.Namespace:
    """Read what every contestant is told: the folder of the case, of the weights, and how many steps to take."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--case", type=Path, required=True, help="what measuring/inputs.py has written for the case")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--length", type=int, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True, help="the warm-up included")
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--grouped", action="store_true", help="batches grouped by length (PyTorch)")
    parser.add_argument("--compile", action="store_true", help="torch.compile(dynamic=True) (PyTorch)")
    precision = parser.add_mutually_exclusive_group()
    precision.add_argument("--float32", action="store_true", help="use_xla=False and use_amp=False (ours)")
    precision.add_argument("--bfloat16", action="store_true", help="use_xla=False and use_amp=True; autocast (PyTorch)")
    parser.add_argument("--trace", type=Path, help="a folder for a trace of a few more steps (ours)")
    return parser.parse_args()


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))
