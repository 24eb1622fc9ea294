"""One trial of the kill matrix: a job that is ended at some moment, and the job that goes on from its checkpoints.

reference = Reference.of(run)                 # of a run that nothing interrupted
trial = run_trial(containers, Plan("validation", "SIGTERM", 0.3), reference, folder, channels)
trial.problems                                # [] if nothing was lost
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.helpers.containers import Containers
from tests.helpers.kill_run import CHECKPOINT_EVERY, EPOCHS, STEPS, STEPS_PER_EPOCH, Run

LONGEST_STOP = 30.0
"""Seconds from SIGTERM to the end, export included."""

_EPOCH_ENDS = range(STEPS_PER_EPOCH, STEPS + 1, STEPS_PER_EPOCH)
_CHECKPOINTS = range(CHECKPOINT_EVERY, STEPS + 1, CHECKPOINT_EVERY)

PHASES: Mapping[str, list[str]] = {
    "start": [""],
    "tracing": [r" training \d+ epoch"],
    "step": [f" step {step}/" for step in range(1, STEPS) if step not in _CHECKPOINTS],
    "validation": [f" step {step}/" for step in _EPOCH_ENDS],
    "checkpoint": [f" step {step}/" for step in _CHECKPOINTS],
    "export": [f"checkpoint .*step-{STEPS:08d}-epochs-{EPOCHS:02d} written"],
}
"""What the log shows when a phase begins, each time that it does."""

EXIT_CODES = {"SIGTERM": (0, 143), "SIGKILL": (0, 137), "docker kill": (0, 137)}
"""0: stopped in good order, or over before the signal came. 143: there was nothing to save yet."""


@dataclass(frozen=True)
class Plan:
    """When to end a job, and how."""

    phase: str
    signal: str
    moment: float
    """From 0 to 1: which of the phases of that name, and where in it."""


@dataclass(frozen=True)
class Reference:
    """A run that nothing interrupted."""

    weights: str
    history: Mapping[str, Any]
    losses: Mapping[int, str]
    lengths: Mapping[str, float]
    """Phase -> its seconds."""

    @classmethod
    def of(cls, run: Run) -> Reference:
        """Wait for the end of a run and measure its phases."""
        assert run.wait() == 0, run.log
        tracing, first_step = run.wait_for(PHASES["tracing"][0]), run.wait_for(" step 1/")
        lengths = {
            "start": tracing - run.started,
            "tracing": first_step - tracing,
            "step": run.wait_for(" step 2/") - first_step,
            "validation": run.wait_for(f" epoch {EPOCHS}/{EPOCHS} ended") - run.wait_for(f" step {STEPS}/"),
            "checkpoint": float(re.findall(r" written in (\S+) s", run.log)[-1]),
            "export": run.wait_for(" done in ") - run.wait_for(PHASES["export"][0]),
        }
        return cls(run.weights, run.history, run.losses, lengths)


@dataclass(frozen=True)
class Trial:
    """What came of a plan."""

    phase: str
    signal: str
    last_line: str
    """What the job said last before the signal."""
    exit_code: int
    seconds_to_exit: float
    steps_done: int
    """By the log."""
    checkpoint_step: int
    """Of the newest checkpoint."""
    broken_checkpoints: list[str]
    resumed_from_step: int
    problems: list[str]

    @property
    def steps_lost(self) -> int:
        """Steps that no checkpoint holds."""
        return self.steps_done - self.checkpoint_step


def run_trial(containers: Containers, plan: Plan, reference: Reference, folder: Path, channels: Path) -> Trial:
    """End a job as planned, look at what it has left, let a second job go on, and compare; the folder is then gone."""
    killed = Run(containers, folder, channels)
    _wait_for_moment(killed, plan, reference)
    last_line = killed.lines[-1][1].strip() if killed.lines else ""
    exit_code, seconds = killed.end(plan.signal)
    steps_done = max(killed.losses, default=0)
    newest, broken = _look_at_checkpoints(folder / "checkpoints")
    record = killed.record
    shutil.rmtree(folder / "model", ignore_errors=True)

    resumed = Run(containers, folder, channels)
    resumed_exit_code = resumed.wait()
    resumed_from = re.search(r"resumed from \S+: step (\d+)", resumed.log)
    resumed_from_step = int(resumed_from[1]) if resumed_from else 0
    losses = {**killed.losses, **resumed.losses}
    orderly = plan.signal == "SIGTERM" and exit_code == 0
    checks = {
        f"exit code {exit_code}": exit_code in EXIT_CODES[plan.signal],
        f"{steps_done - newest} steps lost": steps_done - newest <= (0 if orderly else CHECKPOINT_EVERY),
        f"broken: {broken}": not broken,
        "not marked as stopped": not orderly or bool(record["stopped"]) or " done in " in last_line,
        f"{seconds:.0f} s to the end": plan.signal != "SIGTERM" or seconds < LONGEST_STOP,
        f"resumed from step {resumed_from_step}": resumed_from_step == newest,
        f"resumed run: exit code {resumed_exit_code}\n{resumed.log}": resumed_exit_code == 0,
        "the logs show other losses": all(reference.losses[step] == loss for step, loss in losses.items()),
        "other losses": resumed_exit_code != 0 or resumed.history == reference.history,
        "other weights": resumed_exit_code != 0 or resumed.weights == reference.weights,
    }
    shutil.rmtree(folder)
    return Trial(
        phase=plan.phase,
        signal=plan.signal,
        last_line=last_line,
        exit_code=exit_code,
        seconds_to_exit=round(seconds, 1),
        steps_done=steps_done,
        checkpoint_step=newest,
        broken_checkpoints=broken,
        resumed_from_step=resumed_from_step,
        problems=[problem for problem, good in checks.items() if not good],
    )


def _wait_for_moment(run: Run, plan: Plan, reference: Reference) -> None:
    occasions = PHASES[plan.phase]
    occasion, where = divmod(plan.moment * len(occasions), 1.0)
    run.wait_for(occasions[int(occasion)])
    if plan.phase == "checkpoint":
        run.wait_for_writing()
    time.sleep(where * reference.lengths[plan.phase])


def _look_at_checkpoints(folder: Path) -> tuple[int, list[str]]:
    """Return the newest checkpoint's step, and those whose files are not what their manifests say."""
    broken = []
    newest = 0
    for checkpoint in sorted(folder.glob("step-*")):
        try:
            hashes: dict[str, str] = json.loads((checkpoint / "manifest.json").read_text())["sha256"]
            whole = all(
                hashlib.sha256((checkpoint / name).read_bytes()).hexdigest() == sha256
                for name, sha256 in hashes.items()
            )
        except (OSError, ValueError):
            whole = False
        if whole:
            newest = int(checkpoint.name.split("-")[1])
        else:
            broken.append(checkpoint.name)
    return newest, broken
