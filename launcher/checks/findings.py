"""A list of findings under construction; it knows the job, and so where each key stands.

findings = Findings(job)
findings.error("compute.volume_size_in_gb", "is 0; at least 1 is needed")
"""

from __future__ import annotations

from launcher.errors import Problem
from launcher.job_file.schema import Job
from launcher.job_file.source import Source


class Findings:
    """Errors and warnings by key; the first finding of a key is the one that is shown."""

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
        """Return the findings, errors first."""
        return sorted(self._by_key.values(), key=lambda problem: problem.is_warning)
