"""`{account}`, `{region}`, `{bucket}` and `{job_name}` in S3 URIs, ARNs and the training image.

fill({"S3Uri": "s3://{bucket}/train"}, job, "star-rating-1")  # {"S3Uri": "s3://sagemaker-us-east-1-123456789012/train"}
"""

from __future__ import annotations

import re
from typing import Any

from launcher.errors import JobFileError, Problem, advice
from launcher.job_file.diagnostics import Source
from launcher.job_file.schema import Job
from launcher.request.keys import Path, Value, toml_key_for

NAMES = ("account", "region", "bucket", "job_name")

FREE_TEXTS = frozenset(
    {
        "CollectionParameters",
        "ContainerArguments",
        "ContainerEntrypoint",
        "Environment",
        "HookParameters",
        "HyperParameters",
        "MetricDefinitions",
        "ProfilingParameters",
        "RuleParameters",
        "Tags",
    }
)
"""Fields whose values are the job's own business: they are sent as they were written, braces included."""

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


def fill(request: dict[str, Any], job: Job, job_name: str) -> dict[str, Any]:
    """Return the request with every placeholder replaced; raise JobFileError that names those without a value."""
    filler = _Filler(request, job, job_name)
    filled: dict[str, Any] = filler.walk(request, ())
    if filler.problems:
        raise JobFileError(list(filler.problems.values()))
    return filled


class _Filler:
    def __init__(self, request: dict[str, Any], job: Job, job_name: str) -> None:
        self.problems: dict[str, Problem] = {}
        self._request = request
        self._source: Source = getattr(job, "source", Source())
        self._values = {"account": job.account, "region": job.region, "bucket": job.bucket, "job_name": job_name}

    def walk(self, value: Value, path: Path) -> Value:
        if isinstance(value, dict):
            return {
                name: inner if name in FREE_TEXTS else self.walk(inner, (*path, name)) for name, inner in value.items()
            }
        if isinstance(value, list):
            return [self.walk(inner, (*path, index)) for index, inner in enumerate(value)]
        is_image = bool(path) and str(path[-1]).endswith(("Image", "ImageUri"))
        if isinstance(value, str) and (is_image or value.startswith(("s3://", "arn:"))):
            return self._fill(value, toml_key_for(path, self._request))
        return value

    def _fill(self, text: str, key: str) -> str:
        def replacement(match: re.Match[str]) -> str:
            name = match[1]
            value = self._values.get(name)
            if name not in self._values:
                self._report(key, f"is {text!r}, where {match[0]} stands for nothing; {advice(name, NAMES)}")
            elif value is None:
                self._report(name, f"is missing, and {text!r} needs it; twelve digits, in quotes")
            elif match[0] in value:
                self._report(name, f"is {value!r}, which stands for itself; write it out")
            else:
                return self._fill(value, name)
            return match[0]

        return _PLACEHOLDER.sub(replacement, text)

    def _report(self, key: str, message: str) -> None:
        self.problems.setdefault(key, Problem(self._source.locate(key), message))
