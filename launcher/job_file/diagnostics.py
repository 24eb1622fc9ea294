"""What is wrong with a job, and where each of its values came from, so that a message can say what to edit.

source.locate("compute.instance_type")      # job.toml:12: compute.instance_type
source.locate("compute.instance_count")     # --set compute.instance_count

diagnostics = Diagnostics(job)
diagnostics.error("compute.volume_size_in_gb", "is 0; at least 1 is needed")
diagnostics.problems()
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from launcher.errors import Problem
from launcher.job_file.schema import Job

_HEADER = re.compile(r"^\s*\[+\s*([^\]]+?)\s*\]+")
_KEY = re.compile(r"^\s*((?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*'))*)\s*=")


@dataclass(frozen=True)
class Source:
    """The job file and what stood above it."""

    path: Path | None = None
    text: str = ""
    overrides: Mapping[str, str] = field(default_factory=dict)
    """Key -> what set it, say `--set compute.instance_count`."""

    def locate(self, key: str) -> str:
        """Return the place of a key, as `file:line: key`; only the file for a key that is not there."""
        for overridden, by in self.overrides.items():
            if key == overridden or key.startswith(f"{overridden}."):
                return f"{by}:"
        if self.path is None:
            return f"{key}:"
        line = _line_of(self.text, key)
        return f"{self.path}:{line}: {key}" if line else f"{self.path}: {key}"


class Diagnostics:
    """Errors and warnings by key; the first one of a key is the one that is shown."""

    def __init__(self, job: Job) -> None:
        self._source: Source = getattr(job, "source", Source())
        self._by_key: dict[str, Problem] = {}

    def error(self, key: str, message: str) -> None:
        """Add a mistake that has to be mended before the job can run."""
        if key not in self._by_key or self._by_key[key].is_warning:
            self._by_key[key] = Problem(self._source.locate(key), message)

    def warning(self, key: str, message: str, *, about_aws: bool = False) -> None:
        """Add what is allowed, and probably not meant; `about_aws` if it does not matter to the local SageMaker."""
        problem = Problem(self._source.locate(key), message, is_warning=True, is_about_aws=about_aws)
        self._by_key.setdefault(key, problem)

    def problems(self) -> list[Problem]:
        """Return them, errors first."""
        return sorted(self._by_key.values(), key=lambda problem: problem.is_warning)


def _line_of(text: str, key: str) -> int | None:
    """Return the number of the line that sets `key`, or of the nearest table around it that has a line."""
    lines: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = _plain(header[1])
            lines.setdefault(table, number)
        elif assignment := _KEY.match(line):
            name = _plain(assignment[1])
            lines.setdefault(f"{table}.{name}" if table else name, number)
    while key:
        if key in lines:
            return lines[key]
        key = key.rpartition(".")[0]
    return None


def _plain(dotted: str) -> str:
    return re.sub(r"\s*\.\s*", ".", dotted).replace('"', "").replace("'", "")
