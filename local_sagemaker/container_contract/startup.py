"""What SageMaker starts a container with: command, environment, and the files of /opt/ml/input/config.

command(request["AlgorithmSpecification"], default=["train"])   # Command(entrypoint=None, arguments=["train"])
config_files(request, host, hosts, "eth0")                      # {"hyperparameters.json": {...}, ...}
"""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True)
class Command:
    """What runs in the container; no entrypoint: the image's own."""

    entrypoint: list[str] | None
    arguments: list[str]


def command(specification: Request, default: list[str]) -> Command:
    """Return the command of an AlgorithmSpecification or AppSpecification; `default` are the arguments without one."""
    entrypoint = specification.get("ContainerEntrypoint")
    arguments = specification.get("ContainerArguments")
    if arguments is None:
        arguments = [] if entrypoint else default
    return Command(entrypoint, arguments)


def training_environment(request: Request, arn: str, region: str) -> dict[str, str]:
    """Return a training container's environment; the request's own values win, as on SageMaker."""
    platform = {
        "AWS_REGION": region,
        "TRAINING_JOB_ARN": arn,
        "TRAINING_JOB_NAME": request["TrainingJobName"],
    }
    return {**platform, **request.get("Environment", {})}


def processing_environment(request: Request, arn: str, region: str) -> dict[str, str]:
    """Return a processing container's environment."""
    platform = {
        "AWS_REGION": region,
        "PROCESSING_JOB_ARN": arn,
        "PROCESSING_JOB_NAME": request["ProcessingJobName"],
    }
    return {**platform, **request.get("Environment", {})}
