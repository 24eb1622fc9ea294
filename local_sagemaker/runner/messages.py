"""What a running job can be told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stop:
    """Its document says `stop_requested`."""


@dataclass(frozen=True)
class Interrupt:
    """Spot capacity is reclaimed, so many seconds from now."""

    after: float = 0.0


@dataclass(frozen=True)
class LoseHost:
    """A host vanishes, so many seconds from now."""

    host: str
    after: float = 0.0


@dataclass(frozen=True)
class HostEnded:
    """A host's container has ended, and its log is complete."""

    host: str


@dataclass(frozen=True)
class Updated:
    """UpdateTrainingJob has changed its request."""


@dataclass(frozen=True)
class Broken:
    """What goes on beside the containers cannot: their log cannot be kept, say."""

    reason: str


@dataclass(frozen=True)
class Shutdown:
    """The server ends."""


Message = Stop | Interrupt | LoseHost | HostEnded | Updated | Broken | Shutdown
