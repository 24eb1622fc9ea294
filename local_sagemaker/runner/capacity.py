"""Waiting for machines: there are always some here, unless a fault says otherwise.

wait_for_capacity(life)     # raises NoCapacityError, WaitTooLongError, CancelledError
"""

from __future__ import annotations

import math

from local_sagemaker.container_contract.outcome import MAX_WAIT, STOPPED, failed
from local_sagemaker.document import Outcome
from local_sagemaker.runner.job_life import JobLife
from local_sagemaker.volumes.pace import CancelledError


class NoCapacityError(Exception):
    """There are no machines, and there will be none."""

    outcome = failed(
        "CapacityError",
        "Unable to provision requested ML compute capacity. Please retry using a different ML instance type.",
    )


class WaitTooLongError(Exception):
    """There were no machines in time."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome


def wait_for_capacity(life: JobLife) -> None:
    """Return when there are machines."""
    if life.cancelled.is_set():
        raise CancelledError
    condition = life.job.request.get("StoppingCondition", {})
    limits: dict[float, Outcome] = {}
    if "MaxWaitTimeInSeconds" in condition:
        limits[condition["MaxWaitTimeInSeconds"] - life.age()] = MAX_WAIT
    if "MaxPendingTimeInSeconds" in condition:
        limits[condition["MaxPendingTimeInSeconds"] - life.age()] = STOPPED
    first = min(limits, default=math.inf)
    if first <= 0:
        raise WaitTooLongError(limits[first])
    fault = life.world.faults.take("capacity", life.name)
    if fault is None:
        return
    if fault.seconds is None:
        raise NoCapacityError
    life.enter("Starting", "Insufficient capacity error from EC2 while launching instances, retrying!")
    if life.cancelled.wait(min(first, fault.seconds)):
        raise CancelledError
    if first <= fault.seconds:
        raise WaitTooLongError(limits[first])
