"""SageMaker's contract for Processing jobs, which is not the one of training jobs.

    job = ProcessingJob.from_environment(os.environ)
    job.input_dir      # PosixPath('/opt/ml/processing/input'), or None outside a processing job

Inputs and outputs are folders below /opt/ml/processing; /opt/ml/config/resourceconfig.json names the hosts; and what
stands in /opt/ml/output/message when the container ends becomes the job's ExitMessage.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from star_rating.contract import ROOT
from star_rating.failures import FAILURE_MAX_CHARACTERS, ConfigurationError, Failure, write_failure


@dataclass(frozen=True)
class ProcessingJob:
    """Where this process runs; a bare command is a job of one host without folders of its own."""

    input_dir: Path | None
    output_dir: Path | None
    current_host: str
    hosts: tuple[str, ...]

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> ProcessingJob:
        """Look below SAGEMAKER_BASE_DIR, by default /opt/ml; raise ConfigurationError on a damaged resourceconfig."""
        base = base_dir(environ)
        current_host, hosts = _hosts(base / "config" / "resourceconfig.json")
        return cls(
            input_dir=_existing(base / "processing" / "input"),
            output_dir=_existing(base / "processing" / "output"),
            current_host=current_host,
            hosts=hosts,
        )


def base_dir(environ: Mapping[str, str]) -> Path:
    """Return /opt/ml, or what stands in for it."""
    return Path(environ.get("SAGEMAKER_BASE_DIR", str(ROOT)))


def leave_message(failure: Failure, base: Path) -> None:
    """Write the failure file, and the message that DescribeProcessingJob shows; nothing where `base` is missing."""
    if not base.is_dir():
        return
    write_failure(failure, base / "output")
    try:
        # A file's name that the sentence repeats may hold what is not UTF-8.
        text = str(failure).encode("utf-8", "backslashreplace").decode()
        (base / "output" / "message").write_text(text[:FAILURE_MAX_CHARACTERS], encoding="utf-8")
    except OSError:
        return  # the same sentence goes to stderr, and the exit code still tells


def _existing(folder: Path) -> Path | None:
    return folder if folder.is_dir() else None


def _hosts(path: Path) -> tuple[str, tuple[str, ...]]:
    try:
        config = json.loads(path.read_bytes())
        current_host, hosts = config["current_host"], tuple(config["hosts"])
    except FileNotFoundError:
        return "algo-1", ("algo-1",)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{path} is damaged ({type(error).__name__}: {error}). It needs current_host, and hosts, a list."
        ) from error
    if current_host not in hosts:
        raise ConfigurationError(f"{path}: current_host {current_host!r} is not among its hosts {list(hosts)}.")
    return current_host, hosts
