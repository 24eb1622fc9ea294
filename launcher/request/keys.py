"""From a place in a request back to the job file's key that it was made of.

toml_key_for(("InputDataConfig", 0, "DataSource", "S3DataSource", "S3Uri"), request)   # input_data_config.train.s3_uri
"""

from __future__ import annotations

import re
from typing import Any

Path = tuple[str | int, ...]

Value = Any
"""Part of a request: a text, a number, a list, a table."""

_TOP = {
    "TrainingJobName": "--job-name",
    "RoleArn": "role",
    "HyperParameters": "hyperparameters",
    "InputDataConfig": "input_data_config",
    "ResourceConfig": "compute",
    "VpcConfig": "networking",
    "EnableNetworkIsolation": "networking.enable_network_isolation",
    "EnableInterContainerTrafficEncryption": "networking.enable_inter_container_traffic_encryption",
    "EnableManagedSpotTraining": "compute.enable_managed_spot_training",
    "Environment": "environment",
    "Tags": "tags",
    "ProcessingJobName": "--job-name",
    "ProcessingResources": "processing",
}
"""Fields whose table in the job file is not their own name in snake_case."""

_WHOLE: dict[Path, str] = {
    ("AppSpecification", "ImageUri"): "training_image",
    ("AppSpecification", "ContainerArguments"): "processing.arguments",
    ("AppSpecification", "ContainerEntrypoint"): "processing.container_entrypoint",
    ("ProcessingInputs",): "processing.s3_input",
    ("ProcessingOutputConfig", "KmsKeyId"): "processing.kms_key_id",
    ("ProcessingOutputConfig",): "processing.s3_output",
}
"""Places of CreateProcessingJob's request that one key makes, with everything below."""

_WITHOUT_TABLE = (
    "AlgorithmSpecification",
    "DataSource",
    "S3DataSource",
    "FileSystemDataSource",
    "TrainingRepositoryAuthConfig",
    "RemoteDebugConfig",
    "InfraCheckConfig",
    "SessionChainingConfig",
    "ClusterConfig",
)
"""Levels of the request that the job file does without."""

_NAMED_BY = ("ChannelName", "RuleConfigurationName", "CollectionName", "Key", "Name")
"""The field that names an entry of a list; the job file has tables there."""

_RENAMED = {
    "CollectionParameters": "",
    "Seed": "",
    "Regex": "",
    "Value": "",
    "ShuffleConfig": "shuffle_seed",
}

_TEXT_MAPS = ("HyperParameters", "Environment", "RuleParameters", "HookParameters", "CollectionParameters")


def toml_key_for(path: Path, request: dict[str, Any]) -> str:
    """Return the dotted key of the job file for a path into the request."""
    for place, key in _WHOLE.items():
        if path[: len(place)] == place:
            return key
    parts: list[str] = []
    value: Value = request
    previous = ""
    for depth, part in enumerate(path):
        if isinstance(part, int):
            parts.append(_entry_name(value, part))
        elif previous in _TEXT_MAPS or previous == "ProfilingParameters":
            parts.append(part)
        elif depth == 0 and part in _TOP:
            parts.append(_TOP[part])
        elif part not in _WITHOUT_TABLE and part not in _NAMED_BY:
            parts.append(_RENAMED.get(part, snake_case(part)))
        value = _inner(value, part)
        previous = str(part)
    return ".".join(part for part in parts if part) or str(path[-1])


def _entry_name(entries: Value, index: int) -> str:
    entry = entries[index]
    names = (entry[name] for name in _NAMED_BY if name in entry) if isinstance(entry, dict) else iter(())
    return str(next(names, index))


def _inner(value: Value, part: str | int) -> Value:
    try:
        return value[part]
    except (KeyError, IndexError, TypeError):
        return {}


def snake_case(name: str) -> str:
    """Return `VolumeSizeInGB` as `volume_size_in_gb`, the way that AWS's SDK v3 writes it."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.replace("SageMaker", "Sagemaker")).lower()
