"""A job as the requests that SageMaker takes: pure, and what their builders share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from launcher.job_file.schema import Scalar

Request = dict[str, Any]


def omit_none(**fields: Any) -> Request:  # noqa: ANN401 - a request's values are of every kind
    """Leave out what the job file leaves out."""
    return {name: value for name, value in fields.items() if value is not None}


def stringify(values: Mapping[str, Scalar]) -> dict[str, str]:
    """Return what the API takes as texts; its booleans are JSON's."""
    return {name: json.dumps(value) if isinstance(value, bool) else str(value) for name, value in values.items()}


def host_count(resource_config: Request) -> int:
    """Return how many hosts a ResourceConfig asks for, over all instance groups."""
    groups = resource_config.get("InstanceGroups", [])
    return int(sum(group["InstanceCount"] for group in groups) or resource_config.get("InstanceCount", 1))
