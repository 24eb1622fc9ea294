"""CreateTrainingJob's request as a program for AWS's SDK v3, whose ModelTrainer sends the same.

    print(sdk_v3_program(request, base_job_name="star-rating", region="us-east-1"))

sagemaker-core's classes and their fields are botocore's shapes and members, in snake_case, so the program is made from
botocore's model. What ModelTrainer cannot send is a comment in the program (`not_sent`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from launcher.request import Request
from launcher.request.keys import snake_case
from launcher.request.shapes import Shape, service_model

_WIDTH = 120

_WITH = {
    "TensorBoardOutputConfig": "with_tensorboard_output_config",
    "RetryStrategy": "with_retry_strategy",
    "InfraCheckConfig": "with_infra_check_config",
    "SessionChainingConfig": "with_session_chaining_config",
    "RemoteDebugConfig": "with_remote_debug_config",
}
"""Fields that ModelTrainer takes by a method."""

_NOT_IN_MODEL_TRAINER = (
    "DebugHookConfig",
    "DebugRuleConfigurations",
    "ProfilerConfig",
    "ProfilerRuleConfigurations",
    "ExperimentConfig",
    "MlflowConfig",
)

_NOT_IN_ALGORITHM = ("EnableSageMakerMetricsTimeSeries", "ContainerEntrypoint", "ContainerArguments")
"""ModelTrainer sets the last two itself, for source code that it uploads, and has no argument for them."""

_SWITCHES = ("RemoteDebugConfig", "InfraCheckConfig", "SessionChainingConfig")
"""Structures with one boolean, of which sagemaker-core drops the value False."""


@dataclass(frozen=True)
class _Call:
    """A call; a positional argument has no name."""

    name: str
    arguments: dict[str, Any]


def not_sent(request: Request) -> dict[str, Any]:
    """Return what of a request ModelTrainer cannot send, by its path."""
    algorithm = request["AlgorithmSpecification"]
    left_out = {f"AlgorithmSpecification.{name}": algorithm[name] for name in _NOT_IN_ALGORITHM if name in algorithm}
    left_out |= {name: request[name] for name in _NOT_IN_MODEL_TRAINER if name in request}
    return left_out | {name: request[name] for name in _SWITCHES if False in request.get(name, {}).values()}


def sdk_v3_program(request: Request, base_job_name: str, region: str) -> str:
    """Return a Python program that submits a request by SDK v3 (sagemaker>=3), and waits for the job."""
    shape = service_model().operation_model("CreateTrainingJob").input_shape
    left_out = not_sent(request)
    made = {name: _made(shape.members[name], request[name]) for name in request if name not in left_out}
    algorithm = request["AlgorithmSpecification"]
    algorithm_shape = shape.members["AlgorithmSpecification"]
    compute = dict(made["ResourceConfig"].arguments)
    if request.get("EnableManagedSpotTraining"):
        compute["enable_managed_spot_training"] = True
    networking = dict(made["VpcConfig"].arguments) if "VpcConfig" in made else {}
    for name in ("EnableNetworkIsolation", "EnableInterContainerTrafficEncryption"):
        if name in request:
            networking[snake_case(name)] = request[name]
    arguments: dict[str, Any] = {
        "sagemaker_session": _Verbatim("session"),
        "role": request["RoleArn"],
        "base_job_name": base_job_name,
        "training_image": algorithm["TrainingImage"],
        "training_input_mode": algorithm["TrainingInputMode"],
        "compute": _Call("Compute", compute),
    }
    if "TrainingImageConfig" in algorithm:
        image_config = algorithm_shape.members["TrainingImageConfig"]
        arguments["training_image_config"] = _made(image_config, algorithm["TrainingImageConfig"])
    if networking:
        arguments["networking"] = _Call("Networking", networking)
    for field, name in (
        ("StoppingCondition", "stopping_condition"),
        ("OutputDataConfig", "output_data_config"),
        ("CheckpointConfig", "checkpoint_config"),
        ("HyperParameters", "hyperparameters"),
        ("Environment", "environment"),
        ("Tags", "tags"),
        ("ModelPackageConfig", "model_package_config"),
    ):
        if field in made:
            arguments[name] = made[field]
    lines = [
        '"""The job of a job file by SageMaker\'s Python SDK v3: pip install "sagemaker>=3"."""',
        "",
        "import boto3",
        "from sagemaker.core import shapes",
        "from sagemaker.core.helper.session_helper import Session",
        "from sagemaker.core.utils.utils import configure_logging",
        "from sagemaker.train import ModelTrainer",
        f"from sagemaker.train.configs import Compute{', Networking' if networking else ''}",
        "",
        "configure_logging()  # without it, a script does not show the job's log",
        f"session = Session(boto_session=boto3.Session(region_name={_text(region)}))",
        _text(_Call("ModelTrainer", arguments), name="trainer = "),
    ]
    if "MetricDefinitions" in algorithm:
        metrics = _made(algorithm_shape.members["MetricDefinitions"], algorithm["MetricDefinitions"])
        lines.append(_text(_Call("trainer.with_metric_definitions", {"": metrics})))
    lines += [_text(_Call(f"trainer.{method}", {"": made[field]})) for field, method in _WITH.items() if field in made]
    lines += _comments(left_out, request["TrainingJobName"], base_job_name)
    train = {"input_data_config": made.get("InputDataConfig", []), "wait": True, "logs": True}
    lines.append(_text(_Call("trainer.train", train)))
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class _Verbatim:
    """An expression that is written as it is."""

    text: str


def _comments(left_out: dict[str, Any], job_name: str, base_job_name: str) -> list[str]:
    lines = [f"# TrainingJobName: ModelTrainer makes it of {base_job_name} and the time; it is not {job_name}."]
    for path, value in left_out.items():
        text = json.dumps({path: value}, indent=1)
        lines += [
            "# ModelTrainer of SDK v3 cannot send this part of the request:",
            *(f"# {x}" for x in text.split("\n")),
        ]
    return lines


def _made(shape: Shape, value: Any) -> Any:  # noqa: ANN401 - a request's values are of every kind
    """Return a value of a request as what the program says for it."""
    if shape.type_name == "structure":
        members = {snake_case(name): _made(shape.members[name], inner) for name, inner in value.items()}
        return _Call(f"shapes.{shape.name}", members)
    if shape.type_name == "list":
        return [_made(shape.member, inner) for inner in value]
    return value


def _text(value: Any, indent: str = "", name: str = "") -> str:  # noqa: ANN401 - an expression of any kind
    """Return an expression, behind `name=` or `key: ` if it has one, as ruff formats Python."""
    deeper = indent + "    "
    if isinstance(value, _Call):
        opening, closing = f"{value.name}(", ")"
        entries = [_text(inner, deeper, f"{argument}=" * bool(argument)) for argument, inner in value.arguments.items()]
    elif isinstance(value, dict):
        opening, closing = "{", "}"
        entries = [_text(inner, deeper, f"{_text(key)}: ") for key, inner in value.items()]
    elif isinstance(value, list):
        opening, closing = "[", "]"
        entries = [_text(inner, deeper) for inner in value]
    elif isinstance(value, _Verbatim):
        return name + value.text
    else:
        return name + (json.dumps(value) if isinstance(value, str) and value.isascii() else repr(value))
    line = f"{name}{opening}{', '.join(entries)}{closing}"
    if len(f"{indent}{line},") <= _WIDTH and "\n" not in line:
        return line
    return "\n".join([name + opening, *(f"{deeper}{entry}," for entry in entries), f"{indent}{closing}"])
