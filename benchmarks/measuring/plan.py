"""Which reviews make up which batch: the same reviews for everyone, so that rates can be compared.

    plan = make_plan(lengths, batch_size=32, steps=10)

A benchmark cannot afford a whole pass, and batches grouped by length differ much in cost. So one megabatch of 50
batches is sorted by length, as Hugging Face's LengthGroupedSampler does it, and batches at even distances are taken
from it: short and long ones in their true shares, each exactly as it would be in a pass. Who does not group gets the
reviews of these very batches in random order.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

MEGABATCH_BATCHES = 50
"""LengthGroupedSampler's own number for a data set of 200 batches or more."""
WARM_UP_STEPS = 2
"""Not measured: tracing, memory that grows, kernels that are made once a shape."""

Batch = list[int]
"""Reviews, by their index."""


@dataclass(frozen=True)
class Plan:
    """The batches of one case, the warm-up's first."""

    mixed: list[Batch]
    """For batches at random."""
    grouped: list[Batch]
    """For batches grouped by length, the longest first, as the sampler yields them; the warm-up's are mixed."""
    megabatch: list[int]
    """What was sorted, in that order."""

    @property
    def measured(self) -> list[int]:
        """The reviews of the measured steps."""
        return [review for batch in self.mixed[WARM_UP_STEPS:] for review in batch]


def make_plan(lengths: Sequence[int], batch_size: int, steps: int, seed: int = 0) -> Plan:
    """Plan `steps` measured batches; `lengths` are the reviews' tokens, cut to max_seq_length."""
    warm_up = WARM_UP_STEPS * batch_size
    batches = min(MEGABATCH_BATCHES, (len(lengths) - warm_up) // batch_size)
    if not 0 < steps <= batches:
        raise ValueError(f"{steps} steps of {batch_size} reviews cannot be taken from {batches} batches")
    megabatch = sorted(range(warm_up, warm_up + batches * batch_size), key=lambda review: -lengths[review])
    taken = [middle_of_share(step, steps, batches) for step in range(steps)]
    grouped = [megabatch[batch * batch_size : (batch + 1) * batch_size] for batch in taken]
    reviews = [review for batch in grouped for review in batch]
    random.Random(seed).shuffle(reviews)
    first = cut(list(range(warm_up)), batch_size)
    return Plan(first + cut(reviews, batch_size), first + grouped, megabatch)


def middle_of_share(share: int, shares: int, batches: int) -> int:
    """Return the middle one of the batches in one of several equal shares."""
    return int((share + 0.5) * batches / shares)


def cut(reviews: Sequence[int], batch_size: int) -> list[Batch]:
    """Cut into batches, in order."""
    return [list(reviews[start : start + batch_size]) for start in range(0, len(reviews), batch_size)]


def case_name(length: int, batch_size: int) -> str:
    """Return the name of a case: its folder's, and its key in the results."""
    return f"length-{length}-batch-{batch_size}"
