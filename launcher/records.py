"""What the launcher remembers of each submission: request, image digest, git commit, job ARN; no secrets.

    records = Records()
    records.write(request, "us-east-1", arn)
    records.latest().job_name

One JSON file per job, in $XDG_STATE_HOME/distilbert-launcher (by default ~/.local/state). Nothing depends on it but
`latest`, and what `diff` says of commits: SageMaker itself remembers the rest, for every machine.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.checks.combinations import is_secret
from launcher.errors import LauncherError, os_error_text

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


class Records:
    """The records of one folder: those of the local SageMaker are never AWS's `latest`, nor the other way round."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    @property
    def folder(self) -> Path:
        """Where the records are; by default below the user's state home."""
        return self._folder or state_home() / "distilbert-launcher"

    def why_unwritable(self) -> str | None:
        """Return why no record can be kept here, None if one can: asked before a job is submitted and costs money."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.TemporaryFile(dir=self.folder) as probe:
                probe.write(b" " * 65536)
        except OSError as error:
            return os_error_text(error)
        except LauncherError as error:
            return str(error)
        return None

    def write(self, request: dict[str, Any], region: str, arn: str, image: str | None = None) -> Record:
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
        self._write(record)
        return record

    def add_image(self, job_name: str, image: str) -> None:
        """Put the image's name with its digest into a job's record, if there is one."""
        record = self.find(job_name)
        if record is not None:
            self._write(dataclasses.replace(record, image=image))

    def find(self, job_name: str) -> Record | None:
        """Return a job's record, or None if it was submitted elsewhere."""
        try:
            return _read(self.folder / f"{job_name}.json") if "/" not in job_name else None
        except LauncherError:
            return None

    def latest(self, region: str | None = None) -> Record | None:
        """Return the newest record, of a region if one is given."""
        try:
            records = [record for path in self.folder.glob("*.json") if (record := _read(path)) is not None]
        except LauncherError:
            return None
        here = [record for record in records if region in (None, record.region)]
        return max(here, key=lambda record: record.submitted_at, default=None)

    def _write(self, record: Record) -> None:
        """Write a record aside and rename it: a disk that fills up leaves the old one, or none."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self.folder / f"{record.job_name}.json"
        aside = path.with_suffix(".json.new")
        try:
            with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                json.dump(dataclasses.asdict(record), file, indent=1)
            aside.replace(path)
        except OSError:
            aside.unlink(missing_ok=True)
            raise


def state_home() -> Path:
    """Return $XDG_STATE_HOME, by default ~/.local/state; raise LauncherError if there is no home."""
    named = os.environ.get("XDG_STATE_HOME")
    try:
        return Path(named) if named else Path.home() / ".local" / "state"
    except RuntimeError:  # a user id without a name and without HOME, as in many a container
        raise LauncherError("there is no home folder to remember anything in; set HOME or XDG_STATE_HOME") from None


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
