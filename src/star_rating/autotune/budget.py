"""Whether measuring pays: what a run is expected to take on this machine, and what part of that a trial may cost.

    rate = matmul_rate("float32")                       # below a tenth of a second
    seconds = budget(trial, modes, rate, share=0.05)

The expectation is rough, within a factor of two: it decides whether to measure, not what is taken.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import tensorflow as tf

from star_rating.autotune.autotuner import FIRST_STEPS, ROUNDS, Trial
from star_rating.autotune.benchmark import Mode
from star_rating.data.channel import Channel
from star_rating.data.pipeline import evaluation_batches
from star_rating.hardware import cgroup
from star_rating.hyperparameters import Hyperparameters
from star_rating.model.config import DistilBertConfig

MOST_SECONDS = 180.0
"""Of a trial, however long the run."""
START_SECONDS = 8.0
"""Of a trial until its first step: imports, weights, data."""
TRACE_SECONDS = 6.0
"""Of a first step without XLA, above the other steps."""

ROWS, INNER, COLUMNS = 1024, 384, 1536
"""Of the matrix product: the tokens of a batch in the feed-forward network of the shipped model."""
REPETITIONS = 6
REACHED = 0.6
"""Share of the matrix product's rate that a training step was seen to reach."""
SAMPLE = 256
"""Records whose tokens are counted."""

PROCESS_BYTES = 1_200_000_000
"""TensorFlow, and what it makes of a graph."""
PARAMETER_BYTES = 4 * 4
"""Value, gradient, and Adam's two moments, in float32."""


class NotWorthItError(Exception):
    """Says in words why nothing is measured."""


def budget(trial: Trial, modes: Sequence[Mode], matmul_rate: float, share: float) -> float:
    """Return the seconds that a trial may take; raise NotWorthItError if the run is too short, or memory too small."""
    config, hyperparameters = trial.pretrained.config, trial.hyperparameters
    tokens = tokens_per_record(trial.channel, hyperparameters.max_seq_length)
    step = seconds_per_step(config, hyperparameters, tokens, matmul_rate)
    run = step * trial.steps
    needed, allowed = _seconds_to_compare(modes, step), min(MOST_SECONDS, share * run)
    if needed > allowed:
        limit = f"{share:.0%} of it" if allowed < MOST_SECONDS else f"the {MOST_SECONDS:.0f} s allowed"
        raise NotWorthItError(
            f"the run may take about {_duration(run)}, and measuring about {_duration(needed)}, which is more than "
            f"{limit}"
        )
    wanted, free = memory(config, hyperparameters, modes), cgroup.free_memory()
    if wanted > free:
        raise NotWorthItError(f"measuring may take {wanted / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free")
    return allowed


def _seconds_to_compare(modes: Sequence[Mode], step: float) -> float:
    """Return what a trial takes to have two modes to compare: those without XLA, or the only one and a compiled one."""
    first_step = TRACE_SECONDS + step
    without_xla = sum(not mode.xla for mode in modes)
    compiled = FIRST_STEPS[True] * first_step if without_xla == 1 else 0.0
    return START_SECONDS + without_xla * (first_step + ROUNDS * step) + compiled


def matmul_rate(dtype: str) -> float:
    """Return the GFLOP/s of a matrix product, the best of a few."""
    left, right = tf.ones([ROWS, INNER], dtype), tf.ones([INNER, COLUMNS], dtype)
    seconds = []
    for _ in range(REPETITIONS):
        started = time.perf_counter()
        tf.matmul(left, right)[0, 0].numpy()
        seconds.append(time.perf_counter() - started)
    return 2 * ROWS * INNER * COLUMNS / min(seconds) / 1e9


def tokens_per_record(channel: Channel, max_seq_length: int) -> float:
    """Return the mean number of real tokens in the channel's first records."""
    features, _ = next(iter(evaluation_batches(channel, SAMPLE, max_seq_length, steps=1)))
    mask = features["input_mask"].numpy()
    return float(mask.sum()) / len(mask)


def seconds_per_step(
    config: DistilBertConfig, hyperparameters: Hyperparameters, tokens: float, matmul_rate: float
) -> float:
    """Return what a step in float32 takes, from the FLOPs of its dense layers.

    `tokens` are those of a record, `matmul_rate` is in GFLOP/s.
    """
    # Forward is a multiplication and an addition a weight; backward twice that, for the weights and for the inputs.
    passes = 1 if hyperparameters.freeze_bert_layer else 3
    flops = 2 * passes * _dense_weights(config) * tokens * hyperparameters.reviews_per_step
    return flops / (REACHED * matmul_rate * 1e9)


def memory(config: DistilBertConfig, hyperparameters: Hyperparameters, modes: Sequence[Mode]) -> int:
    """Return the bytes that a process takes at most which trains a model a mode, in turns."""
    parameters = _dense_weights(config) + (config.vocab_size + config.max_position_embeddings) * config.dim
    # Kept for backward, in float32: a token's vectors in each layer, and attention's matrices, with what dropout and
    # softmax make of them.
    positions = hyperparameters.reviews_per_step * hyperparameters.max_seq_length
    vectors = 6 * config.dim + 2 * config.hidden_dim + 3 * config.n_heads * hyperparameters.max_seq_length
    kept = 4 * positions * config.n_layers * vectors
    # TensorFlow gives it back after the step; XLA holds it, for each compiled step.
    steps_kept = 1 + sum(mode.xla for mode in modes)
    return PROCESS_BYTES + len(modes) * PARAMETER_BYTES * parameters + steps_kept * kept


def _dense_weights(config: DistilBertConfig) -> int:
    return config.n_layers * (4 * config.dim * config.dim + 2 * config.dim * config.hidden_dim)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
