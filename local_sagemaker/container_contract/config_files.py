"""The files of /opt/ml/input/config, as SageMaker writes them.

config_files(request, host, hosts, "eth0")    # {"hyperparameters.json": {...}, "inputdataconfig.json": {...}, ...}
"""

from __future__ import annotations

from typing import Any

from local_sagemaker.container_contract.hosts import Host, resource_config
from local_sagemaker.container_contract.paths import CHECKPOINTS, PROFILER, TENSORBOARD, TENSORS

Request = dict[str, Any]


def config_files(
    request: Request, host: Host, hosts: tuple[Host, ...], network_interface: str
) -> dict[str, dict[str, Any]]:
    """Return file name -> content; what the request leaves out has no file."""
    files = {
        "hyperparameters.json": request.get("HyperParameters", {}),
        "inputdataconfig.json": {
            channel["ChannelName"]: _input(channel, request["AlgorithmSpecification"]["TrainingInputMode"])
            for channel in request.get("InputDataConfig", [])
            if host.group in group_names(channel, hosts)
        },
        "resourceconfig.json": resource_config(host, hosts, network_interface),
    }
    if "CheckpointConfig" in request:
        files["checkpointconfig.json"] = {"LocalPath": CHECKPOINTS} | request["CheckpointConfig"]
    if "DebugHookConfig" in request:
        hook: Request = {"LocalPath": TENSORS, "HookParameters": None, "CollectionConfigurations": []}
        files["debughookconfig.json"] = hook | request["DebugHookConfig"]
    if "TensorBoardOutputConfig" in request:
        files["tensorboardoutputconfig.json"] = {"LocalPath": TENSORBOARD} | request["TensorBoardOutputConfig"]
    profiler = profiler_config(request)
    if profiler is not None:
        files["profilerconfig.json"] = profiler
    return files


def profiler_config(request: Request) -> dict[str, Any] | None:
    """Return profilerconfig.json; None where the profiler is off or not asked for."""
    config = request.get("ProfilerConfig")
    if not config or config.get("DisableProfiler") or "S3OutputPath" not in config:
        return None
    parameters = {"LocalPath": f"{PROFILER}/", "ProfilerEnabled": "true"} | config.get("ProfilingParameters", {})
    return {"ProfilingIntervalInMilliseconds": 500, **config, "ProfilingParameters": parameters}


def group_names(channel: Request, hosts: tuple[Host, ...]) -> set[str]:
    """Return the instance groups that get a channel: those that it names, else all."""
    source = channel["DataSource"].get("S3DataSource", {})
    return set(source.get("InstanceGroupNames") or (host.group for host in hosts))


def input_mode(channel: Request, default: str) -> str:
    """Return a channel's own mode, else the job's."""
    return str(channel.get("InputMode") or default)


def _input(channel: Request, default_mode: str) -> dict[str, str]:
    source = channel["DataSource"].get("S3DataSource", {})
    content_type = {"ContentType": channel["ContentType"]} if "ContentType" in channel else {}
    return content_type | {
        "TrainingInputMode": input_mode(channel, default_mode),
        "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
        "RecordWrapperType": channel.get("RecordWrapperType", "None"),
    }
