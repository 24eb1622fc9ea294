"""What SageMaker starts a container with: command and environment.

command(request["AlgorithmSpecification"], default=["train"])      # Command(entrypoint=None, arguments=["train"])
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Request = dict[str, Any]


@dataclass(frozen=True)
class Command:
    """What runs in the container; no entrypoint: the image's own."""

    entrypoint: list[str] | None
    arguments: list[str]


def command(specification: Request, default: list[str]) -> Command:
    """Return the command of an AlgorithmSpecification or AppSpecification; `default` are the arguments without one."""
    entrypoint = specification.get("ContainerEntrypoint")
    arguments = specification.get("ContainerArguments")
    if arguments is None:
        arguments = [] if entrypoint else default
    return Command(entrypoint, arguments)


def training_environment(request: Request, arn: str, region: str) -> dict[str, str]:
    """Return a training container's environment; the request's own values win, as on SageMaker."""
    platform = {
        "AWS_REGION": region,
        "TRAINING_JOB_ARN": arn,
        "TRAINING_JOB_NAME": request["TrainingJobName"],
    }
    return {**platform, **request.get("Environment", {})}


def processing_environment(request: Request, arn: str, region: str) -> dict[str, str]:
    """Return a processing container's environment."""
    platform = {
        "AWS_REGION": region,
        "PROCESSING_JOB_ARN": arn,
        "PROCESSING_JOB_NAME": request["ProcessingJobName"],
    }
    return {**platform, **request.get("Environment", {})}
