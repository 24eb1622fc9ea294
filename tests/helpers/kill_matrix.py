"""The kill matrix: in the real image, jobs are ended at random moments and go on; nothing finished may be lost.

    PYTHONPATH=.:src python -m tests.helpers.kill_matrix --trials 48       # make kill-matrix

Prints a line a trial and a summary, and exits with 1 if a trial lost more than the steps since the last checkpoint,
left a broken checkpoint, or ended with other losses or weights than the run that nothing interrupted.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from tests.helpers.containers import Containers
from tests.helpers.kill_run import SIGNALS, Run
from tests.helpers.kill_trial import PHASES, Plan, Reference, Trial, run_trial
from tests.helpers.training_job import examples, write_records

AT_A_TIME = 2
HEADER = (
    f"{'phase':12} {'signal':12} {'exit':>4} {'seconds':>8} {'steps done':>11} {'checkpoint':>11} {'lost':>5}  result"
)


def make_plans(trials: int, seed: int) -> list[Plan]:
    """Return trials of every phase with every signal in turn, at random moments."""
    chance = random.Random(seed)
    pairs = itertools.cycle(itertools.product(PHASES, SIGNALS))
    return [Plan(phase, signal, chance.random()) for phase, signal in itertools.islice(pairs, trials)]


def run_matrix(containers: Containers, plans: Sequence[Plan], folder: Path) -> Iterator[Trial]:
    """Run an uninterrupted job, then the trials, two at a time; yield them in the order of the plans."""
    channels = make_channels(folder / "channels")
    reference = Reference.of(Run(containers, folder / "reference", channels))
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        yield from pool.map(
            lambda number, plan: run_trial(containers, plan, reference, folder / f"trial-{number}", channels),
            range(len(plans)),
            plans,
        )


def make_channels(folder: Path) -> Path:
    """Write small channels, of several files for train; return the folder."""
    for seed, (channel, files) in enumerate({"train": 3, "validation": 1, "test": 1}.items()):
        for number in range(files):
            write_records(folder / channel / f"part-{number}.tfrecord", examples(11, 32, seed=10 * seed + number))
    return folder


def line(trial: Trial) -> str:
    """Return a trial's row of the table."""
    return (
        f"{trial.phase:12} {trial.signal:12} {trial.exit_code:4} {trial.seconds_to_exit:8.1f} {trial.steps_done:11} "
        f"{trial.checkpoint_step:11} {trial.steps_lost:5}  {'; '.join(trial.problems) or 'same losses and weights'}"
    )


def summary(trials: Sequence[Trial]) -> str:
    """Return what the table comes to."""
    bad = sum(bool(trial.problems) for trial in trials)
    stops = [trial.seconds_to_exit for trial in trials if trial.signal == "SIGTERM"]
    return (
        f"{len(trials)} trials, {bad} with problems; at most {max(trial.steps_lost for trial in trials)} steps lost; "
        f"from SIGTERM to exit at most {max(stops, default=0.0):.1f} s"
    )


def main() -> int:
    """Run the matrix from the command line."""
    parser = argparse.ArgumentParser(description="End training jobs at random moments and let them go on.")
    parser.add_argument("--trials", type=int, default=48, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="of the moments; default: %(default)s")
    parser.add_argument("--output", type=Path, help="a JSON file for the table")
    options = parser.parse_args()
    containers = Containers(os.environ.get("IMAGE", "distilbert-trainer:local"))
    trials: list[Trial] = []
    say(HEADER)
    with tempfile.TemporaryDirectory(prefix="kill-matrix-") as folder:
        try:
            for trial in run_matrix(containers, make_plans(options.trials, options.seed), Path(folder)):
                trials.append(trial)
                say(line(trial))
        finally:
            containers.remove_all()
    say(summary(trials))
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        document = {"seed": options.seed, "summary": summary(trials), "trials": [asdict(trial) for trial in trials]}
        options.output.write_text(json.dumps(document, indent=1) + "\n")
    return int(any(trial.problems for trial in trials))


def say(text: str) -> None:
    """Print now: a trial takes a minute."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
