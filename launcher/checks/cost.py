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
from launcher.request import instance_counts
from launcher.request.hosting import TRANSFORM_INSTANCE, Instances, Serverless, cost_per_hour
from launcher.request.training import resource_config


def max_cost(job: Job) -> float | None:
    """Return the dollars of the whole max_runtime_in_seconds on all hosts; None if a price is unknown."""
    costs = [cost for _, cost in _costs(job)]
    known = [cost for cost in costs if cost is not None]
    if len(known) < len(costs):
        return None
    # SageMaker takes one of several preferences: the dearest is the bound.
    return max(known) if job.compute.instance_preferences else sum(known)


def max_cost_scenario(job: Job) -> str:
    """Return the highest cost as a sentence with the price of every listed type, also if one is unknown."""
    costs = _costs(job)
    hours = f"{job.stopping_condition.max_runtime_in_seconds / 3600:.3g} h"
    cost = max_cost(job)
    if cost is None:
        without = " or ".join(hosts for hosts, known in costs if known is None)
        return f"unknown: no price for {without} in {job.region} (launcher/data/prices.json)"
    several = len(costs) > 1
    named = [f"{hosts} (${known:.2f})" if several and known is not None else hosts for hosts, known in costs]
    joined = (" or " if job.compute.instance_preferences else " + ").join(named)
    return f"at most ${cost:.2f}: {joined} for {hours} (prices of {prices_as_of()})"


def serving_costs(job: Job) -> list[tuple[str, str]]:
    """Return what serving the trained model costs, as names and sentences: what deploy and transform would say."""
    return [
        ("endpoint cost", Instances().cost(job.region)),
        ("serverless cost", Serverless().cost(job.region)),
        ("transform cost", f"{cost_per_hour(job.region, TRANSFORM_INSTANCE)}, while it runs"),
    ]


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
    """Return the dollars that an ended job has cost; None if unknown.

    With several instance preferences, SageMaker says which one it selected; without that the cost is unknown.
    """
    resources, seconds = description["ResourceConfig"], description.get("BillableTimeInSeconds")
    if "SelectedInstanceType" in resources:
        hosts = [(resources["SelectedInstanceType"], resources.get("SelectedInstanceCount", 1))]
    elif len(resources.get("InstancePreferences", ())) > 1:
        return None
    else:
        hosts = instance_counts(resources)
    prices = [(hourly_price(region, instance_type), count) for instance_type, count in hosts]
    if seconds is None or any(price is None for price, _ in prices):
        return None
    return float(sum(price * count for price, count in prices if price is not None) * seconds / 3600)


def _costs(job: Job) -> list[tuple[str, float | None]]:
    """Return each listed type as `2 x ml.c5.xlarge`, with the dollars of the whole max_runtime_in_seconds."""
    hours = job.stopping_condition.max_runtime_in_seconds / 3600
    listed = [
        (f"{count} x {instance_type}", count, hourly_price(job.region, instance_type))
        for instance_type, count in instance_counts(resource_config(job.compute))
    ]
    return [(hosts, None if price is None else price * count * hours) for hosts, count, price in listed]
