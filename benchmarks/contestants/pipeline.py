"""The input pipeline by itself, and how long a training that works at full speed waits for it.

First the trainer's batches are read as fast as they come, then the first batch of a run that goes on near the end of a
pass; then a model trains on them, and the time that each step spends in asking for its batch is kept apart.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import tf_keras

from benchmarks.contestants import clock as clocks
from benchmarks.measuring.channels import SEED, open_case
from benchmarks.measuring.plan import WARM_UP_STEPS
from star_rating.data.pipeline import batches_in_a_pass, training_batches
from star_rating.hyperparameters import Hyperparameters
from star_rating.model import pretrained_weights
from star_rating.model.distilbert import DistilBertClassifier
from star_rating.model.optimizer import build_optimizer


def main() -> None:
    """Print the pipeline's rate, the time to its first batch, and the share of training that is waiting."""
    options = clocks.arguments()
    clock = clocks.StepClock()
    channel = open_case(options.case, options.length)
    count = batches_in_a_pass(channel, options.batch_size)
    dataset = training_batches(channel, options.batch_size, options.length, seed=SEED)
    first_batch, a_pass = read_alone(iter(dataset), count)
    # A thousand passes later: what is not skipped would show.
    resumed = training_batches(channel, options.batch_size, options.length, seed=SEED, first_batch=1000 * count - 1)
    resumed_batch, _ = read_alone(iter(resumed), 1)
    waited, steps = train(compiled_model(options), iter(dataset), options.steps, clock)
    measured = slice(WARM_UP_STEPS, None)
    clock.report(
        first_batch_seconds=first_batch,
        resumed_batch_seconds=resumed_batch,
        pipeline_examples_per_second=channel.records / a_pass,
        waiting_share=sum(waited[measured]) / sum(steps[measured]),
    )


def read_alone(batches: Iterator[Any], count: int) -> tuple[float, float]:
    """Return the seconds to the first batch, when the shuffle buffer is full, and to the last one of a pass."""
    started = time.perf_counter()
    next(batches)
    first = time.perf_counter()
    for _ in range(count - 1):
        next(batches)
    return first - started, time.perf_counter() - started


def compiled_model(options: Any) -> tf_keras.Model:  # noqa: ANN401 - argparse's
    """Return the model that the trainer would train, in float32."""
    pretrained = pretrained_weights.load(options.weights)
    model = DistilBertClassifier(pretrained.config, seed=0)
    pretrained_weights.load_into(model, pretrained)
    model.compile(
        optimizer=build_optimizer(Hyperparameters(learning_rate=options.learning_rate), options.steps),
        loss=tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return model


def train(
    model: tf_keras.Model, batches: Iterator[Any], steps: int, clock: clocks.StepClock
) -> tuple[list[float], list[float]]:
    """Return each step's seconds of waiting for its batch, and its seconds in all."""
    waited, whole = [], []
    for _ in range(steps):
        started = time.perf_counter()
        features, labels = next(batches)
        waited.append(time.perf_counter() - started)
        clock.step_ended(float(model.train_on_batch(features, labels)))
        whole.append(time.perf_counter() - started)
    return waited, whole


if __name__ == "__main__":
    main()
