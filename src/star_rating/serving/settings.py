"""What the environment says of a server: SageMaker's variables and ours.

settings = Settings.from_environment(os.environ)
settings.port, settings.max_batch
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from star_rating.contract import ROOT
from star_rating.failures import ConfigurationError, quote

MEBIBYTE = 1 << 20
LARGEST_PAYLOAD_MB = 25
"""What InvokeEndpoint lets through; a batch transform job says its own limit."""
ANSWER_SECONDS = 58
"""Two less than SageMaker waits for an endpoint's answer."""
ANSWER_SECONDS_IN_BATCH = 598
"""Two less than InvocationsTimeoutInSeconds of a batch transform job, where it says none."""
ROUND = 32
"""The default of SERVE_MAX_BATCH."""


@dataclass(frozen=True)
class Settings:
    """How to serve."""

    model: Path
    port: int = 8080
    max_batch: int = ROUND
    """Reviews."""
    max_delay: float = 0.005
    """Seconds that a batch may wait for others, while several clients ask at once."""
    max_queue: int = 4096
    """Reviews that wait; a request that does not fit gets 429."""
    max_payload: int = LARGEST_PAYLOAD_MB * MEBIBYTE
    """Bytes."""
    answer_seconds: int = ANSWER_SECONDS
    """How long a request may take, from its first line to its answer."""
    drain_seconds: int = 25
    """For the requests that are being answered at a SIGTERM; SageMaker kills the container 30 s after it."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        """Read them; raise ConfigurationError that names the variable, its value and what is allowed."""
        is_batch = environ.get("SAGEMAKER_BATCH", "").strip().lower() in ("true", "1")
        payload = _whole(environ, "SAGEMAKER_MAX_PAYLOAD_IN_MB", 6 if is_batch else LARGEST_PAYLOAD_MB, 0, 100)
        _check_range(environ.get("SAGEMAKER_SAFE_PORT_RANGE", ""))
        return cls(
            model=Path(environ.get("SAGEMAKER_BASE_DIR", str(ROOT))) / "model",
            port=_whole(environ, "SAGEMAKER_BIND_TO_PORT", cls.port, 0, 65535),
            max_batch=_whole(environ, "SERVE_MAX_BATCH", cls.max_batch, 1, 1024),
            max_delay=_whole(environ, "SERVE_MAX_DELAY_MS", round(cls.max_delay * 1000), 0, 10_000) / 1000,
            # A batch transform job's one client waits for its turn as long as it takes.
            max_queue=_whole(environ, "SERVE_MAX_QUEUE", 1_000_000 if is_batch else cls.max_queue, 1, 10_000_000),
            # 0: without a limit, as SageMaker has it; a body is held in memory.
            max_payload=(payload or 100) * MEBIBYTE,
            answer_seconds=_whole(
                environ, "SERVE_ANSWER_SECONDS", ANSWER_SECONDS_IN_BATCH if is_batch else ANSWER_SECONDS, 1, 3600
            ),
            drain_seconds=_whole(environ, "SERVE_DRAIN_SECONDS", cls.drain_seconds, 0, 3600),
        )


def _whole(environ: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = environ.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 9 and low <= int(text) <= high):
        raise ConfigurationError(
            f"The environment variable {name} is {quote(text)}: write a whole number from {low} to {high}, or leave it "
            "out."
        )
    return int(text)


def _check_range(text: str) -> None:
    """Refuse a SAGEMAKER_SAFE_PORT_RANGE that is none; the server opens SAGEMAKER_BIND_TO_PORT and no other port."""
    first, _, last = text.strip().partition("-")
    if text.strip() and not (first.isdecimal() and last.isdecimal() and int(first) <= int(last) <= 65535):
        raise ConfigurationError(
            f"The environment variable SAGEMAKER_SAFE_PORT_RANGE is {quote(text)}: write FIRST-LAST, such as 8081-8090."
        )
