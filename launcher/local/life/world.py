"""What every job's life works with."""

from __future__ import annotations

from dataclasses import dataclass

from launcher.local.engine.engine import Engine
from launcher.local.faults import Faults
from launcher.local.jobs import Jobs
from launcher.local.services.objects import Objects


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
