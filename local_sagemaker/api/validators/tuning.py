"""What SageMaker asks of a tuning job's request beyond its model. Pure; see training.py."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from local_sagemaker.api.validators.shapes import not_here
from local_sagemaker.api.validators.training import repeated
from local_sagemaker.errors import invalid

Request = dict[str, Any]

_KINDS = ("Integer", "Continuous", "Categorical")

_NOT_HERE = {
    "TrainingJobDefinitions": ("has one training job definition in a tuning job",),
    "Autotune": ("has no Autotune",),
    "HyperParameterTuningJobConfig.ParameterRanges.AutoParameters": ("has no Autotune",),
    "HyperParameterTuningJobConfig.TuningJobCompletionCriteria.ConvergenceDetected": ("detects no convergence",),
    "TrainingJobDefinition.TuningObjective": ("has one training job definition in a tuning job",),
    "TrainingJobDefinition.HyperParameterRanges": ("has one training job definition in a tuning job",),
    "TrainingJobDefinition.DefinitionName": ("has one training job definition in a tuning job",),
}


def refuse_contradictions(request: Request) -> None:
    """Raise ApiError for the first rule that a request breaks."""
    for rule in RULES:
        for refusal in rule(request):
            raise invalid(refusal)


def _definition(request: Request) -> Iterator[str]:
    yield from not_here(request, _NOT_HERE)
    definition = request.get("TrainingJobDefinition")
    if definition is None:
        yield "TrainingJobDefinition must be specified"
    elif "ResourceConfig" in definition and "HyperParameterTuningResourceConfig" in definition:
        yield "ResourceConfig and HyperParameterTuningResourceConfig must not both be specified"


def _objective(request: Request) -> Iterator[str]:
    config = request["HyperParameterTuningJobConfig"]
    objective = config.get("HyperParameterTuningJobObjective")
    if objective is None:
        yield "HyperParameterTuningJobObjective must be specified"
        return
    definitions = request["TrainingJobDefinition"]["AlgorithmSpecification"].get("MetricDefinitions", [])
    names = [definition["Name"] for definition in definitions]
    if objective["MetricName"] not in names:
        yield (
            f"Objective metric {objective['MetricName']} is not in MetricDefinitions: "
            f"[{', '.join(names)}]. Define a metric of this name."
        )


def _limits(request: Request) -> Iterator[str]:
    config = request["HyperParameterTuningJobConfig"]
    limits, strategy = config["ResourceLimits"], config["Strategy"]
    jobs, parallel = limits.get("MaxNumberOfTrainingJobs"), limits["MaxParallelTrainingJobs"]
    if jobs is None and strategy != "Grid":
        yield f"MaxNumberOfTrainingJobs must be specified for the strategy {strategy}"
    if jobs is not None and parallel > jobs:
        yield f"MaxParallelTrainingJobs {parallel} must not be greater than MaxNumberOfTrainingJobs {jobs}"
    if strategy == "Grid":
        count = math.prod(
            len(entry["Values"]) for entry in config.get("ParameterRanges", {}).get("CategoricalParameterRanges", [])
        )
        if jobs is not None and jobs != count:
            yield f"MaxNumberOfTrainingJobs {jobs} must be the number of combinations, {count}, or be left out"


def _strategy(request: Request) -> Iterator[str]:
    config = request["HyperParameterTuningJobConfig"]
    strategy, hyperband = config["Strategy"], config.get("StrategyConfig", {}).get("HyperbandStrategyConfig")
    if hyperband is not None and strategy != "Hyperband":
        yield f"HyperbandStrategyConfig is only supported for the strategy Hyperband; it is {strategy}"
    if strategy == "Hyperband" and config.get("TrainingJobEarlyStoppingType") == "Auto":
        yield "TrainingJobEarlyStoppingType must be Off for the strategy Hyperband, which stops jobs early itself"
    lowest, highest = (hyperband or {}).get("MinResource"), (hyperband or {}).get("MaxResource")
    if lowest is not None and highest is not None and lowest >= highest:
        yield f"MinResource {lowest} must be less than MaxResource {highest}"
    if "WarmStartConfig" in request and strategy in ("Grid", "Hyperband"):
        yield f"WarmStartConfig is not supported for the strategy {strategy}"


def _ranges(request: Request) -> Iterator[str]:
    config = request["HyperParameterTuningJobConfig"]
    given = config.get("ParameterRanges", {})
    named = [(kind, entry) for kind in _KINDS for entry in given.get(f"{kind}ParameterRanges", [])]
    if not named:
        yield "At least one hyperparameter range must be specified in ParameterRanges"
    twice = repeated(entry["Name"] for _, entry in named)
    if twice:
        yield f"Hyperparameter names must be unique in ParameterRanges: {twice}"
    static = request["TrainingJobDefinition"].get("StaticHyperParameters", {})
    for kind, entry in named:
        if entry["Name"] in static:
            yield f"Hyperparameter {entry['Name']} is in StaticHyperParameters and in ParameterRanges"
        if config["Strategy"] == "Grid" and kind != "Categorical":
            yield f"The strategy Grid takes categorical ranges only; {entry['Name']} is {kind}"
        if kind == "Categorical":
            twice = repeated(entry["Values"])
            if twice:
                yield f"Values of {entry['Name']} must be unique: {twice}"
        else:
            yield from _numbers(kind, entry)


def _numbers(kind: str, entry: Request) -> Iterator[str]:
    name, scaling = entry["Name"], entry.get("ScalingType", "Auto")
    bounds = []
    for field in ("MinValue", "MaxValue"):
        try:
            bound = float(entry[field])
            if not math.isfinite(bound) or (kind == "Integer" and not bound.is_integer()):
                raise ValueError(entry[field])
        except ValueError:
            yield f"{field} '{entry[field]}' of {name} is not {'an integer' if kind == 'Integer' else 'a number'}"
            return
        bounds.append(bound)
    low, high = bounds
    if low >= high:
        yield f"MinValue {entry['MinValue']} of {name} must be less than MaxValue {entry['MaxValue']}"
    if scaling == "Logarithmic" and low <= 0:
        yield f"MinValue {entry['MinValue']} of {name} must be greater than 0 for the scaling Logarithmic"
    if scaling == "ReverseLogarithmic" and kind == "Integer":
        yield f"The scaling ReverseLogarithmic of {name} is for continuous ranges only"
    if scaling == "ReverseLogarithmic" and not (low >= 0 and high < 1):
        yield f"The range of {name} must be within [0, 1) for the scaling ReverseLogarithmic"


RULES: tuple[Callable[[Request], Iterator[str]], ...] = (_definition, _objective, _limits, _strategy, _ranges)
