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


def instance_counts(resource_config: Request) -> list[tuple[str, int]]:
    """Return the types and counts that a ResourceConfig names: one, or those of all groups or preferences."""
    shared = resource_config.get("InstanceCount", 1)
    several = resource_config.get("InstanceGroups") or resource_config.get("InstancePreferences")
    entries = several or [resource_config]
    return [(entry["InstanceType"], int(entry.get("InstanceCount", shared))) for entry in entries]


def host_count(resource_config: Request) -> int:
    """Return how many hosts a ResourceConfig asks for: over all groups, and of several preferences the most."""
    if "SelectedInstanceCount" in resource_config:
        return int(resource_config["SelectedInstanceCount"])
    if "InstanceGroups" in resource_config:
        return sum(count for _, count in instance_counts(resource_config))
    if "InstancePreferences" in resource_config:
        return max(count for _, count in instance_counts(resource_config))
    return int(resource_config.get("InstanceCount", 1))
