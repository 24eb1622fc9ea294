"""What the launcher remembers of each submission: request, image digest, git commit, job ARN. Secrets never enter it.

    write_record(request, "us-east-1", arn)
    latest_record().job_name

One JSON file a job, in $XDG_STATE_HOME/distilbert-launcher (by default ~/.local/state). Nothing depends on it but
`latest`, and what `diff` says of commits: SageMaker itself remembers the rest, for every machine.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.checks.combinations import is_secret

HIDDEN = "(not recorded)"


@dataclass(frozen=True)
class Record:
    """One submission."""

    job_name: str
    job_arn: str
    region: str
    submitted_at: str
    image: str
    git_commit: str | None
    request: dict[str, Any]


kept_in: Path | None = None
"""If set, where the records are: what the local SageMaker has run is never AWS's `latest`, nor the other way round."""


def folder() -> Path:
    """Return where the records are."""
    if kept_in is not None:
        return kept_in
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "distilbert-launcher"


def write_record(request: dict[str, Any], region: str, arn: str, image: str | None = None) -> Record:
    """Keep a submission, without values that could be secret; `image` is the name with its digest, where known."""
    record = Record(
        job_name=request["TrainingJobName"],
        job_arn=arn,
        region=region,
        submitted_at=dt.datetime.now(dt.UTC).isoformat(),
        image=image or request["AlgorithmSpecification"]["TrainingImage"],
        git_commit=_git_commit(),
        request=without_secrets(request),
    )
    folder().mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder() / f"{record.job_name}.json"
    path.write_text(json.dumps(dataclasses.asdict(record), indent=1), encoding="utf-8")
    path.chmod(0o600)
    return record


def find_record(job_name: str) -> Record | None:
    """Return a job's record, or None if it was submitted elsewhere."""
    return _read(folder() / f"{job_name}.json")


def latest_record(region: str | None = None) -> Record | None:
    """Return the newest record, of a region if one is given."""
    records = (record for path in folder().glob("*.json") if (record := _read(path)) is not None)
    here = [record for record in records if region in (None, record.region)]
    return max(here, key=lambda record: record.submitted_at, default=None)


def without_secrets(request: dict[str, Any]) -> dict[str, Any]:
    """Return the request without the environment's values and those of hyperparameters that look like credentials."""
    hyperparameters = request.get("HyperParameters", {})
    hidden = {
        "Environment": dict.fromkeys(request.get("Environment", {}), HIDDEN),
        "HyperParameters": {
            name: HIDDEN if is_secret(name, value) else value for name, value in hyperparameters.items()
        },
    }
    return {name: hidden.get(name, value) for name, value in request.items()}


def _read(path: Path) -> Record | None:
    try:
        return Record(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None  # none there, or another version's: SageMaker is asked instead


def _git_commit() -> str | None:
    """Return the commit of the working directory, `-dirty` if files differ from it; None outside git."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],  # noqa: S607 - git of the PATH
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip()
