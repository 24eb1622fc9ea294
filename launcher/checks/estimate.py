"""How long a training job takes and what it costs, predicted from measurements on two cores. Pure.

    work = Work(train=100_000, max_seq_length=128)
    estimate(work, "ml.c5.9xlarge")             # Estimate(expected=1847.0, fastest=..., slowest=...), in seconds

The model is that of docs/cost.md: the FLOPs of DistilBERT-base on real tokens through what a core was measured to do,
and Amdahl's law from two cores to all. Its constants, with their source, are launcher/data/training_speed.json. No
machine with more than two cores was ever measured: every number is a prediction, and has a range.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from launcher.checks.hyperparameters import image_setting
from launcher.data import hourly_price, load, spot_price_share
from launcher.job_file.schema import Job

Case = Literal["expected", "fastest", "slowest"]
_TYPE = re.compile(r"ml\.(?P<family>[a-z]\d[a-z]*)\.(?P<times>\d*)x?large")


@dataclass(frozen=True)
class Work:
    """What a job computes."""

    train: int
    """Records trained on, over all epochs."""
    max_seq_length: int
    evaluated: int = 0
    """Records of validation and test, over all epochs."""


@dataclass(frozen=True)
class Estimate:
    """Seconds from the container's start to the model on disk."""

    expected: float
    fastest: float
    slowest: float

    def dollars(self, per_hour: float) -> Estimate:
        """Return what these seconds cost."""
        return Estimate(*(seconds / 3600 * per_hour for seconds in (self.expected, self.fastest, self.slowest)))


def work_of(job: Job, records: Mapping[str, int], max_seq_length: int) -> Work:
    """Return a job's work; `records` are those of its channels' manifests, and `max_seq_length` is theirs."""

    def setting(name: str) -> int:
        return int(float(image_setting(job, name)))

    def evaluated(channel: str) -> int:
        if image_setting(job, f"run_{channel}") != "true":
            return 0
        known, steps = records.get(channel, 0), setting(f"{channel}_steps")
        return min(known, steps * setting(f"{channel}_batch_size")) if steps else known

    epochs, steps = setting("epochs"), setting("train_steps_per_epoch")
    train = steps * setting("train_batch_size") if steps else records["train"]
    return Work(epochs * train, max_seq_length, epochs * evaluated("validation") + evaluated("test"))


def estimate(work: Work, instance_type: str) -> Estimate | None:
    """Return the seconds on one host of a type; None if its family is not in training_speed.json."""
    machine = cores_and_rate(instance_type)
    if machine is None:
        return None
    cores, rate = machine
    speed = load("training_speed.json")
    per_record = (
        speed["flops_per_token"] * _at_length(speed["tokens_per_record"], work.max_seq_length)
        + speed["flops_per_record"]
    )
    flops = per_record * (work.train + speed["forward_share"] * work.evaluated)
    share = _at_length(speed["share_of_product_rate"], work.max_seq_length)
    measured = flops / (share * speed["measured_cores"] * rate)

    def seconds(case: Case) -> float:
        scaled = measured / speed["core_rate_factor"][case]
        serial = speed["serial_share"][case]
        return float(scaled * _amdahl(serial, cores) / _amdahl(serial, speed["measured_cores"]))

    start = float(speed["start_and_export_seconds"])
    return Estimate(start + seconds("expected"), start + seconds("fastest"), start + seconds("slowest"))


def cores_and_rate(instance_type: str) -> tuple[float, float] | None:
    """Return a type's physical cores, and the float32 FLOPs a second of one of them; None if unknown."""
    speed = load("training_speed.json")
    found = _TYPE.fullmatch(instance_type)
    family: dict[str, Any] | None = speed["gflops_per_core"].get(found["family"]) if found else None
    if found is None or family is None:
        return None
    # large, xlarge, 2xlarge, ... have 2, 4, 8, ... virtual CPUs.
    times = int(found["times"]) if found["times"] else (1 if "xlarge" in instance_type else 0.5)
    return 4 * times / speed["vcpus_per_core"], family["rate"] * 1e9


def describe(job: Job, work: Work) -> str | None:
    """Return time and cost of a job on one host as a sentence; None where nothing can be said of its machine."""
    instance_type = job.compute.instance_type
    predicted = estimate(work, instance_type) if instance_type else None
    if predicted is None:
        return None
    said = f"predicted: {_minutes(predicted.expected)} ({_minutes(predicted.fastest)} to {_minutes(predicted.slowest)})"
    price = hourly_price(job.region, instance_type or "")
    if price is not None:
        spot = job.compute.enable_managed_spot_training
        cost = predicted.dollars(price * (spot_price_share() if spot else 1))
        where = ", if spot costs what docs/cost.md assumes" if spot else ""
        said += f", ${cost.expected:.2f} (${cost.fastest:.2f} to ${cost.slowest:.2f}){where}"
    return (
        f"{said}; {work.train:,} records to train on and {work.evaluated:,} to evaluate at max_seq_length "
        f"{work.max_seq_length}, DistilBERT-base in float32; docs/cost.md"
    )


def _minutes(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 2 * 3600 else f"{max(1, round(seconds / 60))} min"


def _amdahl(serial: float, cores: float) -> float:
    """Return the time on so many cores as a share of the time on one."""
    return serial + (1 - serial) / cores


def _at_length(known: Mapping[str, float], length: int) -> float:
    """Interpolate what is known at some lengths; beyond them it is that of the nearest."""
    points = sorted((int(name), value) for name, value in known.items())
    for (low, below), (high, above) in itertools.pairwise(points):
        if length <= high:
            return below + (above - below) * (max(length, low) - low) / (high - low)
    return points[-1][1]
