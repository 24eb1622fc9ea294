"""What SageMaker asks of a training job's channels beyond its model. Pure; see training.py."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

Request = dict[str, Any]

BUCKET = re.compile(r"[a-z0-9](?:[a-z0-9.-]{1,61})[a-z0-9]")
"""What S3 allows as a bucket's name."""


def s3_places(request: Request) -> Iterator[tuple[str, str]]:
    """Yield every S3 URI of a training request, with the field that it stands in."""
    for channel in request.get("InputDataConfig", []):
        source = channel["DataSource"].get("S3DataSource")
        if source is not None:
            yield f"channel {channel['ChannelName']}", source["S3Uri"]
    for field, name in (
        ("OutputDataConfig", "S3OutputPath"),
        ("CheckpointConfig", "S3Uri"),
        ("DebugHookConfig", "S3OutputPath"),
        ("TensorBoardOutputConfig", "S3OutputPath"),
        ("ProfilerConfig", "S3OutputPath"),
    ):
        if name in request.get(field, {}):
            yield field, request[field][name]
    for field in ("DebugRuleConfigurations", "ProfilerRuleConfigurations"):
        for rule in request.get(field, []):
            if "S3OutputPath" in rule:
                yield f"rule {rule['RuleConfigurationName']}", rule["S3OutputPath"]


def wrong_s3_uri(uri: str) -> str | None:
    """Return what is wrong with an S3 URI that the model's pattern lets through, or None."""
    scheme, _, rest = uri.partition("://")
    if scheme != "s3":
        return "only s3:// is available locally"
    bucket, _, key = rest.partition("/")
    if not BUCKET.fullmatch(bucket) or ".." in bucket:
        return f"'{bucket}' is no name of a bucket"
    if ".." in key.split("/"):
        return "its key has '..' as a part"
    return None


def _uris(request: Request) -> Iterator[str]:
    for where, uri in s3_places(request):
        wrong = wrong_s3_uri(uri)
        if wrong is not None:
            yield f"Invalid S3 URI '{uri}' in {where}: {wrong}"


def _names(request: Request) -> Iterator[str]:
    names = [channel["ChannelName"] for channel in request.get("InputDataConfig", [])]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        yield f"Channel names must be unique in InputDataConfig: [{', '.join(twice)}]"


def _sources(request: Request) -> Iterator[str]:
    for channel in request.get("InputDataConfig", []):
        name, source = channel["ChannelName"], channel["DataSource"]
        if len(source) != 1:
            yield f"Exactly one source must be specified in DataSource of channel {name}"
        if "FileSystemDataSource" in source and "VpcConfig" not in request:
            yield f"VpcConfig is required for the FileSystemDataSource of channel {name}"
        if "FileSystemDataSource" in source:
            yield f"FileSystemDataSource of channel {name} is not available: the local SageMaker has no EFS or FSx"
        if "S3DataSource" not in source:
            yield f"{next(iter(source))} of channel {name} is not available: the local SageMaker has no SageMaker Hub"
        for field in ("HubAccessConfig", "ModelAccessConfig"):
            if field in source["S3DataSource"]:
                yield f"{field} of channel {name} is not available: the local SageMaker has no SageMaker Hub"


def _formats(request: Request) -> Iterator[str]:
    for channel in request.get("InputDataConfig", []):
        yield from _format(channel, channel.get("InputMode") or request["AlgorithmSpecification"]["TrainingInputMode"])


def _format(channel: Request, mode: str) -> Iterator[str]:
    name, source = channel["ChannelName"], channel["DataSource"]["S3DataSource"]
    augmented = source["S3DataType"] == "AugmentedManifestFile"
    if source["S3DataType"] == "Converse":
        yield f"S3DataType Converse of channel {name} is not available locally"
    if mode == "FastFile" and source["S3DataType"] != "S3Prefix":
        yield f"FastFile input mode only supports S3DataType S3Prefix; channel {name} has {source['S3DataType']}"
    if augmented and mode != "Pipe":
        yield f"S3DataType AugmentedManifestFile is only supported in Pipe input mode; channel {name} has {mode}"
    if augmented and not source.get("AttributeNames"):
        yield f"AttributeNames must be specified for the AugmentedManifestFile of channel {name}"
    if not augmented and source.get("AttributeNames"):
        yield f"AttributeNames are only supported for S3DataType AugmentedManifestFile; channel {name} has another"
    if channel.get("CompressionType") == "Gzip" and mode != "Pipe":
        yield f"CompressionType Gzip is only supported in Pipe input mode; channel {name} has {mode}"
    if channel.get("RecordWrapperType") == "RecordIO" and mode != "Pipe":
        yield f"RecordWrapperType RecordIO is only supported in Pipe input mode; channel {name} has {mode}"


def _groups(request: Request) -> Iterator[str]:
    known = [group["InstanceGroupName"] for group in request["ResourceConfig"].get("InstanceGroups", [])]
    assigned: list[str] = []
    others: list[str] = []
    for channel in request.get("InputDataConfig", []):
        names = channel["DataSource"]["S3DataSource"].get("InstanceGroupNames", [])
        (assigned if names else others).append(channel["ChannelName"])
        missing = [name for name in names if name not in known]
        if missing:
            yield f"Channel {channel['ChannelName']} names instance groups that do not exist: [{', '.join(missing)}]"
    if assigned and others:
        yield (
            f"Some channels have assigned instance groups: [{', '.join(assigned)}] "
            f"while others not: [{', '.join(others)}]"
        )


CHANNEL_RULES: tuple[Callable[[Request], Iterator[str]], ...] = (_names, _sources, _uris, _formats, _groups)
