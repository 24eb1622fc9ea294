"""Hyperparameters against the image's own table of them; a wrong one would end the job after the host has started.

check(job, findings)
"""

from __future__ import annotations

import math
from typing import Any

from launcher.checks.findings import Findings
from launcher.data import hyperparameters
from launcher.errors import advice
from launcher.job_file.schema import Job
from launcher.job_file.section import Scalar


def check(job: Job, findings: Findings) -> None:
    """Add hyperparameters that the image does not know, or would refuse."""
    if not job.check_image_contract:
        return
    known = hyperparameters()
    for name, value in job.hyperparameters.items():
        key = f"hyperparameters.{name}"
        if name not in known:
            findings.error(key, f"is unknown to the image; {advice(name, known)}")
        elif wrong := _wrong(value, known[name]):
            findings.error(key, f"is {value!r}; {wrong}")


def image_setting(job: Job, name: str) -> str:
    """Return a hyperparameter's value in lower case, or the image's default for it."""
    return str(job.hyperparameters.get(name, hyperparameters()[name]["default"])).lower()


def _wrong(value: Scalar, field: dict[str, Any]) -> str | None:
    match field["kind"]:
        case "boolean":
            return _choice(value, ["true", "false"])
        case "choice":
            return _choice(value, field["choices"])
        case "integer" | "number":
            return _number(value, field)
        case _:
            return None if str(value).strip() else "it has no value; leave it out for the default"


def _choice(value: Scalar, choices: list[str]) -> str | None:
    if str(value).lower() in (choice.lower() for choice in choices):
        return None
    return f"allowed are {', '.join(choices)}"


def _number(value: Scalar, field: dict[str, Any]) -> str | None:
    minimum, maximum, whole = field["minimum"], field["maximum"], field["kind"] == "integer"
    needed = f"{'a whole number' if whole else 'a number'} from {minimum:.10g} to {maximum:.10g} is needed"
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except ValueError:
        return needed
    in_range = math.isfinite(number) and minimum <= number <= maximum
    return None if in_range and (not whole or number == int(number)) else needed
