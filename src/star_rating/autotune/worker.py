"""Train a few steps in each of several modes, in turns, and print how long each took; the child process of trial.py.

    python -m star_rating.autotune.worker < request.json

The request is what Trial.measure writes. Prints an event a line: {"mode": 1, "seconds": 2.3, "loss": 1.61} after a
step, the loss being the mean so far; {"mode": 2, "reason": "..."} for a mode that is left out. All modes start from the
same weights and the same random state, and see the same batches. Ends by SIGALRM when its time is over.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import signal
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras

from star_rating.autotune.autotuner import FIRST_STEPS, ROUNDS
from star_rating.autotune.benchmark import Mode
from star_rating.data.channel import Channel
from star_rating.data.pipeline import training_batches
from star_rating.data.records import without_autotune
from star_rating.distributed.strategy import SingleHostStrategy
from star_rating.hyperparameters import Hyperparameters
from star_rating.model import pretrained_weights
from star_rating.model.train_step import build_model
from star_rating.model.xla import pad_to_buckets

BATCHES = 12
"""Looked at, for some that have one shape: XLA compiles anew for each."""
ENOUGH_ROUNDS = 2
"""Rounds after which a mode may have lost, if they take their time."""
CHEAP_SECONDS = 0.2
"""Of a step: up to it all rounds are made, as noise is large there and a round costs little."""
LOST = 1.5
"""How many times the fastest mode's time a step may take; what takes more, no compiler was seen to make up for."""

Event = Mapping[str, Any]
Step = Callable[[], float]
"""Trains on the next batch and returns the mean loss so far."""


def main() -> None:
    """Carry out the request on stdin."""
    request = json.load(sys.stdin)
    # The clock counts from the machine's start, the same for every process.
    left = request["until"] - time.monotonic()
    if left <= 0:
        signal.raise_signal(signal.SIGALRM)
    signal.setitimer(signal.ITIMER_REAL, left)
    # Where memory runs out, the kernel shall take this process and not the job.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="utf-8")
    modes = [Mode(**mode) for mode in request["modes"]]
    files = tuple(Path(path) for path in request["channel"].pop("files"))
    hyperparameters = Hyperparameters(**request["hyperparameters"])
    loaded = pretrained_weights.load(Path(request["weights"]))
    pretrained = loaded.with_pooling(hyperparameters.pooling, hyperparameters.seed)
    channel = Channel(files=files, **request["channel"])

    def start(mode: Mode) -> Step:
        return start_training(mode, hyperparameters, pretrained, channel, request["steps"])

    def until_for(seconds_per_step: float) -> float:
        return float(request["began"] + request["share"] * request["steps"] * seconds_per_step)

    for event in run(modes, start, request["until"], until_for):
        sys.stdout.write(f"{json.dumps(event)}\n")
        sys.stdout.flush()


def run(
    modes: Sequence[Mode], start: Callable[[Mode], Step], until: float, until_for: Callable[[float], float]
) -> Iterator[Event]:
    """Yield the events of `modes`, those without XLA first; `start` makes a mode's model.

    A mode that may not be done `until` then, a value of time.monotonic(), is left out; once rounds have shown what a
    step of the first mode takes, `until_for` that is the limit if it is sooner. Rounds follow once all modes without
    XLA have started, and again after each that XLA compiles: a compilation that outlasts the trial takes nothing away.
    A mode that has lost takes no part in later rounds, and XLA is not tried for its dtype; a mode that is alone is
    measured no further than the one round that tells what the run will take.
    """
    running: dict[int, Step] = {}
    first_step = 0.0
    seconds: dict[int, list[float]] = defaultdict(list)
    last_without_xla = sum(not mode.xla for mode in modes) - 1
    for index, mode in enumerate(modes):
        needed, left = FIRST_STEPS[mode.xla] * first_step, until - time.monotonic()
        if mode.xla and (lost := _lost(mode.compute_dtype, modes, seconds)):
            yield {"mode": index, "reason": lost}
        elif needed > left:
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
            yield from _rounds(running, seconds)
            if 0 in seconds:
                until = min(until, until_for(statistics.median(seconds[0])))


def _rounds(running: dict[int, Step], seconds: dict[int, list[float]]) -> Iterator[Event]:
    """Yield rounds of steps in turns, and keep their seconds; take those that have lost out of `running`."""
    for finished in range(1, ROUNDS + 1):
        for number, train in running.items():
            event = _timed(number, train)
            seconds[number].append(event["seconds"])
            yield event
        fastest = {number: min(seconds[number]) for number in running}  # of so few, a median has what is odd in it
        best = min(fastest.values(), default=0.0)
        if finished >= (ENOUGH_ROUNDS if best > CHEAP_SECONDS else ROUNDS):
            for number, own in fastest.items():
                if own > LOST * best:
                    del running[number]
        if len(running) < 2:
            return


def _lost(dtype: str, modes: Sequence[Mode], seconds: Mapping[int, Sequence[float]]) -> str | None:
    """Say why XLA need not be tried for a dtype: without XLA it is too far behind another one."""
    without_xla = {
        modes[index].compute_dtype: statistics.median(own) for index, own in seconds.items() if not modes[index].xla
    }
    best = min(without_xla, key=without_xla.__getitem__, default=dtype)
    if dtype not in without_xla or without_xla[dtype] <= LOST * without_xla[best]:
        return None
    return f"without XLA {best} takes {without_xla[best]:.3g} s a step, and {dtype} {without_xla[dtype]:.3g} s"


def _one_line(error: Exception) -> str:
    # What tf.function adds to an error stands before it.
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[-1].strip()}"


def _timed(index: int, step: Step) -> dict[str, Any]:
    started = time.monotonic()
    loss = step()
    return {"mode": index, "seconds": time.monotonic() - started, "loss": loss}


def start_training(
    mode: Mode,
    hyperparameters: Hyperparameters,
    pretrained: pretrained_weights.PretrainedWeights,
    channel: Channel,
    steps: int,
) -> Step:
    """Make the model as `fit` makes it, and return what trains it on the trial's batches."""
    tf_keras.utils.set_random_seed(hyperparameters.seed)
    tf_keras.mixed_precision.set_global_policy(mode.policy)
    model = build_model(hyperparameters, pretrained, steps, SingleHostStrategy(), channel.label_histogram)
    if mode.xla:
        model.compile_with_xla(lambda _: None)
    train, batches = model.make_train_function(), iter(trial_batches(mode, hyperparameters, channel))
    return lambda: float(train(batches)["loss"])


def trial_batches(mode: Mode, hyperparameters: Hyperparameters, channel: Channel) -> tf.data.Dataset:
    """Return the first batches of the run that XLA sees in one shape, the commonest one, over and over."""
    batch_size = hyperparameters.train_batch_size
    plain = training_batches(channel, batch_size, hyperparameters.max_seq_length, seed=hyperparameters.seed)
    for_xla = pad_to_buckets(plain, batch_size)
    shapes = [tuple(tuple(tensor.shape) for tensor in tf.nest.flatten(batch)) for batch in for_xla.take(BATCHES)]
    (commonest, _), *_ = Counter(shapes).most_common(1)
    source = for_xla if mode.xla else plain
    chosen = [batch for batch, shape in zip(source.take(BATCHES), shapes, strict=True) if shape == commonest]
    endless = tf.data.Dataset.from_generator(lambda: itertools.cycle(chosen), output_signature=source.element_spec)
    return without_autotune(endless)


if __name__ == "__main__":
    main()
