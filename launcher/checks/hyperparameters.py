"""Hyperparameters against the image's own table of them; a wrong one would end the job after the host has started.

check(job, diagnostics)

use_amp and use_xla get a warning on machines that they do not help. fp16 is not supported on CPUs. Of the processors
that SageMaker trains on, those with AMX compute bfloat16 fast; AMD's with AVX512_BF16 do too (docs), and are not among
them. XLA made the training step 1.34 times slower on two cores of Sapphire Rapids. `auto` lets the image decide.
"""

from __future__ import annotations

import math
import re
from typing import Any

from launcher.data import hyperparameters
from launcher.errors import advice
from launcher.job_file.diagnostics import Diagnostics
from launcher.job_file.schema import Job, Scalar

_GPU = re.compile(r"ml\.(?:p\d|g\d)")
_AMX = re.compile(r"ml\.[cmr][78]i(?:-flex)?\.")


def check(job: Job, diagnostics: Diagnostics) -> None:
    """Add hyperparameters that the image does not know, or would refuse."""
    if not job.check_image_contract:
        return
    known = hyperparameters()
    for name, value in job.hyperparameters.items():
        key = f"hyperparameters.{name}"
        if name not in known:
            diagnostics.error(key, f"is unknown to the image; {advice(name, known)}")
        elif wrong := _wrong(value, known[name]):
            diagnostics.error(key, f"is {value!r}; {wrong}")
    _acceleration(job, diagnostics)


def image_setting(job: Job, name: str) -> str:
    """Return a hyperparameter's value in lower case, or the image's default for it."""
    return str(job.hyperparameters.get(name, hyperparameters()[name]["default"])).lower()


def _acceleration(job: Job, diagnostics: Diagnostics) -> None:
    """Add a warning for acceleration that is forced on without hardware for it."""
    instance_type = job.compute.instance_type
    if instance_type is None or _GPU.match(instance_type):
        return
    if image_setting(job, "use_amp") == "true" and not _AMX.match(instance_type):
        diagnostics.warning(
            "hyperparameters.use_amp",
            f'is true, but {instance_type} computes bfloat16 no faster (no AMX); use ml.c7i or ml.m7i, or "auto"',
        )
    if image_setting(job, "use_xla") == "true":
        diagnostics.warning(
            "hyperparameters.use_xla", f'is true, but XLA slows this model down on a CPU ({instance_type}); use "auto"'
        )


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
