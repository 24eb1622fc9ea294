"""Everything that can be known to be wrong with a job before AWS is asked: no network, no credentials.

    for problem in offline_problems(job, request): print(problem)

AWS's own model is asked first (request/shapes.py), then the rules that it does not know, one file each.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from launcher.checks import channels, combinations, debugger, hyperparameters, image, metric_patterns
from launcher.errors import JobFileError, Problem
from launcher.job_file.diagnostics import Diagnostics
from launcher.job_file.load import LoadedJob
from launcher.job_file.schema import Job, Processing
from launcher.request.keys import toml_key_for
from launcher.request.processing import processing_request
from launcher.request.shapes import violations
from launcher.request.training import is_generated_name, new_job_name, training_request


def build_request(job: Job, job_name: str | None = None) -> dict[str, Any]:
    """Return CreateTrainingJob's request for a job; raise JobFileError with every mistake that can be found offline.

    Without a name the job gets base_job_name and the time.
    """
    request = training_request(job, job_name or new_job_name(job.base_job_name))
    errors = [problem for problem in offline_problems(job, request) if not problem.is_warning]
    if errors:
        raise JobFileError(errors)
    return request


def build_processing_request(job: Job, job_name: str | None = None) -> dict[str, Any]:
    """Return CreateProcessingJob's request; raise JobFileError with everything that is wrong with it."""
    diagnostics = Diagnostics(job)
    if job.processing is None:
        diagnostics.error("processing", "is missing: a table with s3_input, the prefix of the raw reviews")
        raise JobFileError(diagnostics.problems())
    _processing_preferences(job.processing, diagnostics)
    name = job_name or new_job_name(f"{job.base_job_name}-prepare")
    request = processing_request(job, name)
    add_violations("CreateProcessingJob", request, job, diagnostics)
    if diagnostics.problems():
        raise JobFileError(diagnostics.problems())
    return request


def _processing_preferences(processing: Processing, diagnostics: Diagnostics) -> None:
    preferences = processing.instance_preferences or []
    if preferences and processing.instance_type:
        diagnostics.error("processing.instance_preferences", "excludes processing.instance_type; keep one of them")
    counts = {preference.instance_count is not None for preference in preferences}
    if len(counts) > 1 or (True in counts and processing.instance_count is not None):
        diagnostics.error(
            "processing.instance_preferences",
            "have instance_count on all of them, and none for processing, or only processing.instance_count",
        )


def processing_problems(job: Job, job_name: str | None = None) -> list[Problem]:
    """Return what is wrong with a job's request, without the request."""
    try:
        build_processing_request(job, job_name)
    except JobFileError as error:
        return list(error.problems)
    return []


def offline_problems(job: Job, request: dict[str, Any]) -> list[Problem]:
    """Return errors and warnings, each key's first finding only; errors first."""
    diagnostics = Diagnostics(job)
    for check in (combinations, channels, debugger, hyperparameters, image, metric_patterns):
        check.check(job, diagnostics)
    add_violations("CreateTrainingJob", request, job, diagnostics)
    return diagnostics.problems()


def further_problems(error: JobFileError, build: Callable[[LoadedJob], list[Problem]]) -> JobFileError:
    """Return an error about keys and types with the other mistakes of the same job file, as far as they are certain.

    `build` makes the request and returns what is wrong with it, or raises JobFileError.
    """
    job = error.rest
    if job is None:
        return error
    try:
        found = build(job)
    except JobFileError as further:
        found = list(further.problems)
    places = {problem.location for problem in error.problems}
    certain = (
        problem
        for problem in found
        if not problem.is_warning
        and problem.location not in places
        and not job.uncertain & set(re.findall(r"\w+", f"{problem.location} {problem.message}"))
    )
    return JobFileError([*error.problems, *certain])


def add_violations(operation: str, request: dict[str, Any], job: Job, diagnostics: Diagnostics) -> None:
    """Add what AWS's model has against a request, at the job file's keys."""
    for violation in violations(operation, request):
        key = toml_key_for(violation.path, request)
        if key == "--job-name" and is_generated_name(str(violation.value), job.base_job_name):
            diagnostics.error(
                "base_job_name", f"is {job.base_job_name!r}; names are letters, digits and hyphens between them"
            )
        else:
            diagnostics.error(key, violation.message)
