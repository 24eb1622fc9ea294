"""What `launcher train --local` lets go wrong with the job that it submits.

interrupt_later(request, "5..20")
"""

from __future__ import annotations

from typing import Any

from launcher.errors import UsageError
from local_sagemaker.client import control, running_local


def interrupt_later(request: dict[str, Any], after: str) -> None:
    """Have the spot hosts of a job reclaimed once, so many seconds after training has begun."""
    server = running_local()
    if server is None:
        raise UsageError("--interrupt-after needs --local: SageMaker itself interrupts when it likes")
    if not request.get("EnableManagedSpotTraining"):
        raise UsageError("--interrupt-after needs a spot job: --set compute.enable_managed_spot_training=true")
    fault = {"kind": "interrupt", "job": request["TrainingJobName"], "after": moments(after)}
    control(server, "POST", "faults", fault)


def moments(text: str) -> tuple[float, float]:
    """Return the two ends of `5..20`, or of `20`; raise UsageError."""
    first, dots, last = text.partition("..")
    try:
        return float(first), float(last if dots else first)
    except ValueError:
        raise UsageError(f"{text!r} is no time: write seconds, 20, or two, 5..20") from None
