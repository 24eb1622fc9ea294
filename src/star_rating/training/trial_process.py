"""Train a few steps in each of several modes, in turns, and print how long each took; the child process of trial.py.

    python -m star_rating.training.trial_process < request.json

The request is what Trial.measure writes. Prints an event a line: {"mode": 1, "seconds": 2.3, "loss": 1.61} after a
step, the loss being the mean so far; {"mode": 2, "reason": "..."} for a mode that is left out. All modes start from the
same weights and the same random state, and see the same batches. Ends by SIGALRM when its time is over.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras

from star_rating.data.channel import Channel
from star_rating.data.pipeline import training_batches
from star_rating.hyperparameters import Hyperparameters
from star_rating.model import checkpoint
from star_rating.training.buckets import bucketed
from star_rating.training.compiled_step import CompiledStep
from star_rating.training.fit import build_model
from star_rating.training.mode import Mode
from star_rating.training.trial import ROUNDS

BATCHES = 12
"""Looked at, for some that have one shape: XLA compiles anew for each."""
FACTOR = {False: 3.0, True: 7.0}
"""How many times the first mode's first step another mode may take with its rounds, without XLA and with it."""

Event = Mapping[str, Any]
Step = Callable[[], float]
"""Trains on the next batch and returns the mean loss so far."""


def main() -> None:
    """Carry out the request on stdin."""
    request = json.load(sys.stdin)
    # The clock counts from the machine's start, the same for every process.
    signal.setitimer(signal.ITIMER_REAL, max(request["until"] - time.monotonic(), 0.001))
    # Where memory runs out, the kernel shall take this process and not the job.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="utf-8")
    modes = [Mode(**mode) for mode in request["modes"]]
    files = tuple(Path(path) for path in request["channel"].pop("files"))
    hyperparameters = Hyperparameters(**request["hyperparameters"])
    pretrained = checkpoint.load(Path(request["weights"]))
    channel = Channel(files=files, **request["channel"])

    def start(mode: Mode) -> Step:
        return start_training(mode, hyperparameters, pretrained, channel, request["steps"])

    for event in run(modes, start, request["until"]):
        sys.stdout.write(f"{json.dumps(event)}\n")
        sys.stdout.flush()


def run(modes: Sequence[Mode], start: Callable[[Mode], Step], until: float) -> Iterator[Event]:
    """Yield the events of `modes`, those without XLA first; `start` makes a mode's model.

    A mode that may not be done `until` then, a value of time.monotonic(), is left out. Rounds follow once all modes
    without XLA have started, and again after each that XLA compiles: a compilation that outlasts the trial takes
    nothing away.
    """
    running: dict[int, Step] = {}
    first_step = 0.0
    last_without_xla = sum(not mode.xla for mode in modes) - 1
    for index, mode in enumerate(modes):
        needed, left = FACTOR[mode.xla] * first_step, until - time.monotonic()
        if needed > left:
            yield {"mode": index, "reason": f"may take {needed:.0f} s, and {left:.0f} s are left for measuring"}
        else:
            try:
                step = start(mode)
                event = _timed(index, step)
            except Exception as error:  # noqa: BLE001 - a mode that fails, however it does, is one that is not taken
                yield {"mode": index, "reason": _one_line(error)}
            else:
                yield event
                running[index] = step
                first_step = first_step or event["seconds"]
        if index == last_without_xla or (mode.xla and index in running):
            for _, (number, train) in itertools.product(range(ROUNDS), running.items()):
                yield _timed(number, train)


def _one_line(error: Exception) -> str:
    # What tf.function adds to an error stands before it.
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[-1].strip()}"


def _timed(index: int, step: Step) -> dict[str, Any]:
    started = time.monotonic()
    loss = step()
    return {"mode": index, "seconds": time.monotonic() - started, "loss": loss}


def start_training(
    mode: Mode, hyperparameters: Hyperparameters, pretrained: checkpoint.Checkpoint, channel: Channel, steps: int
) -> Step:
    """Make the model as `fit` makes it, and return what trains it on the trial's batches."""
    tf_keras.utils.set_random_seed(hyperparameters.seed)
    tf_keras.mixed_precision.set_global_policy(mode.policy)
    model = build_model(hyperparameters, pretrained, steps)
    if mode.xla:
        CompiledStep(model)
    train, batches = model.make_train_function(), iter(trial_batches(mode, hyperparameters, channel))
    return lambda: float(train(batches)["loss"])


def trial_batches(mode: Mode, hyperparameters: Hyperparameters, channel: Channel) -> tf.data.Dataset:
    """Return the first batches of the run that XLA sees in one shape, the commonest one, over and over."""
    batch_size = hyperparameters.train_batch_size
    plain = training_batches(channel, batch_size, hyperparameters.max_seq_length, seed=hyperparameters.seed)
    for_xla = bucketed(plain, batch_size)
    shapes = [tuple(tuple(tensor.shape) for tensor in tf.nest.flatten(batch)) for batch in for_xla.take(BATCHES)]
    (commonest, _), *_ = Counter(shapes).most_common(1)
    source = for_xla if mode.xla else plain
    chosen = [batch for batch, shape in zip(source.take(BATCHES), shapes, strict=True) if shape == commonest]
    return tf.data.Dataset.from_generator(lambda: itertools.cycle(chosen), output_signature=source.element_spec)


if __name__ == "__main__":
    main()
