"""How many threads TensorFlow gets: as many as the container may use, not as many as the host has; before it is loaded.

    threads = choose(os.environ)     # sets TF_NUM_INTRAOP_THREADS and TF_NUM_INTEROP_THREADS

By itself TensorFlow counts the cores that it may be scheduled on, which a CPU quota (`docker run --cpus 2`) does not
change: on a host of 64 cores 64 threads would share the time of two. Either variable, set by the user, stays as it is.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import MutableMapping
from dataclasses import asdict, dataclass

from star_rating.failures import ConfigurationError
from star_rating.hardware import cgroup

log = logging.getLogger(__name__)

INTRA_OP = "TF_NUM_INTRAOP_THREADS"
INTER_OP = "TF_NUM_INTEROP_THREADS"


@dataclass(frozen=True)
class Threads:
    """What TensorFlow's pools are made with."""

    cores: int
    """That this process may use at a time."""
    intra_op: int
    """Threads that share one operation, such as a matrix product."""
    inter_op: int
    """Operations that run at a time."""

    def record(self) -> dict[str, int]:
        """Return what run.json keeps."""
        return asdict(self)


def available_cores(kernel: cgroup.Kernel = cgroup.KERNEL) -> int:
    """Return the cores that this process may use: by its affinity and by its CPU quota, a part of a core as one."""
    schedulable = len(os.sched_getaffinity(0))
    quota = cgroup.quota_cores(kernel)
    return schedulable if quota is None else min(schedulable, math.ceil(quota))


def choose(environ: MutableMapping[str, str], kernel: cgroup.Kernel = cgroup.KERNEL) -> Threads:
    """Set in `environ` what the user has not set; raise ConfigurationError for what is not a number of threads.

    One thread a core in both pools is what was fastest (README, "Numbers").
    """
    cores = available_cores(kernel)
    threads = Threads(cores, _wanted(environ, INTRA_OP) or cores, _wanted(environ, INTER_OP) or cores)
    environ[INTRA_OP], environ[INTER_OP] = str(threads.intra_op), str(threads.inter_op)
    return threads


def _wanted(environ: MutableMapping[str, str], name: str) -> int:
    text = environ.get(name, "").strip()
    if text and not text.isdecimal():
        raise ConfigurationError(
            f"The environment variable {name} is {text!r}: write a number of threads, or leave it out."
        )
    return int(text or 0)
