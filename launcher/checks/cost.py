"""What a job can cost at most, and what it has cost. On-demand prices; spot is charged by the billable seconds.

max_cost_scenario(job)      # "at most $0.86: 1 x ml.c7i.2xlarge for 2 h (prices of 2026-11-22)"
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from launcher.data import hourly_price, prices_as_of
from launcher.errors import JobFileError
from launcher.job_file.diagnostics import Source
from launcher.job_file.schema import Job


def max_cost(job: Job) -> float | None:
    """Return the dollars of the whole max_runtime_in_seconds on all hosts; None if a price is unknown."""
    hourly = [_times(hourly_price(job.region, instance_type), count) for instance_type, count in _hosts(job)]
    known = [price for price in hourly if price is not None]
    if not hourly or len(known) < len(hourly):
        return None
    # Of several preferences one is taken: the dearest is the bound.
    total = max(known) if job.compute.instance_preferences else sum(known)
    return total * job.stopping_condition.max_runtime_in_seconds / 3600


def max_cost_scenario(job: Job) -> str:
    """Return the highest cost as a sentence, also where the price is unknown."""
    hosts = " + ".join(f"{count} x {instance_type}" for instance_type, count in _hosts(job))
    hours = f"{job.stopping_condition.max_runtime_in_seconds / 3600:.3g} h"
    cost = max_cost(job)
    if cost is None:
        return f"unknown: no price for {hosts} in {job.region} (launcher/data/prices.json)"
    return f"at most ${cost:.2f}: {hosts} for {hours} (prices of {prices_as_of()})"


def enforce_max_cost(job: Job, ceiling: float | None) -> None:
    """Raise JobFileError if the job can cost more than the ceiling, or if that cannot be known."""
    if ceiling is None:
        return
    source: Source = getattr(job, "source", Source())
    location = source.locate("stopping_condition.max_runtime_in_seconds")
    cost = max_cost(job)
    if cost is None:
        raise JobFileError.of("--max-cost", f"cannot be held: {max_cost_scenario(job)}; take it out, or add the price")
    if cost > ceiling:
        raise JobFileError.of(location, f"allows {max_cost_scenario(job)}; --max-cost is ${ceiling:g}: shorten it")


def spent(description: Mapping[str, Any], region: str) -> float | None:
    """Return the dollars that an ended job has cost; None if unknown."""
    resources, seconds = description["ResourceConfig"], description.get("BillableTimeInSeconds")
    price = hourly_price(region, resources.get("InstanceType", ""))
    if price is None or seconds is None:
        return None
    return float(price * resources.get("InstanceCount", 1) * seconds / 3600)


def _hosts(job: Job) -> list[tuple[str, int]]:
    compute = job.compute
    if compute.instance_groups:
        return [(group.instance_type, group.instance_count) for group in compute.instance_groups]
    shared = compute.instance_count or 1
    if compute.instance_preferences:
        return [(wanted.instance_type, wanted.instance_count or shared) for wanted in compute.instance_preferences]
    return [(compute.instance_type or "", shared)]


def _times(price: float | None, count: int) -> float | None:
    return None if price is None else price * count
