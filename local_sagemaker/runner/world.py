"""What every job's life works with."""

from __future__ import annotations

from dataclasses import dataclass

from local_sagemaker.docker_client.engine import Engine
from local_sagemaker.faults import Faults
from local_sagemaker.jobs import Jobs
from local_sagemaker.services.objects import Objects


@dataclass(frozen=True)
class HostLimits:
    """What a host may use of this machine; None: all of it."""

    cpus: float | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True)
class World:
    """The services of one server."""

    jobs: Jobs
    objects: Objects
    engine: Engine
    faults: Faults
    limits: HostLimits = HostLimits()
    stop_seconds: float = 120.0
    """Between SIGTERM and SIGKILL."""
