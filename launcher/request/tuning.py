"""`[tuning]` of a job file as CreateHyperParameterTuningJob's request, and what can be known to be wrong with it; pure.

    request, left_out = tuning_request(job, training_request(job, name), name)
    tuning_problems(job, request)       # objective against metrics, ranges against the image's hyperparameters

`left_out` are fields of the training request that training jobs of a tuning job do not have.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator
from typing import Any

from launcher.data import hyperparameters, metric_definitions
from launcher.errors import Problem, advice
from launcher.job_file.diagnostics import Diagnostics
from launcher.job_file.schema import Job, ParameterRange, Tuning
from launcher.request import Request, omit_none
from launcher.request.shapes import service_model, violations

_LONGEST_NAME = 32

OBJECTIVE = "_tuning_objective_metric"
"""Hyperparameter that SageMaker adds to each training job; it names the objective."""

_SHARED = "CheckpointConfig"
"""All training jobs would have the same prefix, and each would resume from another's checkpoints."""


def new_tuning_name(base_job_name: str, now: dt.datetime | None = None) -> str:
    """Return the base and the UTC time to the second, cut to the 32 characters that a tuning job's name may have."""
    stamp = f"{now or dt.datetime.now(dt.UTC):%y%m%d-%H%M%S}"
    return f"{base_job_name[: _LONGEST_NAME - 1 - len(stamp)].rstrip('-')}-{stamp}"


def objective_type(tuning: Tuning) -> str:
    """Return Minimize or Maximize: what the file says, else by the metric's name."""
    return tuning.objective_type or ("Minimize" if "loss" in tuning.objective_metric_name else "Maximize")


def tuning_request(job: Job, training: Request, name: str) -> tuple[Request, list[str]]:
    """Return the request, and the fields of the training request that it has no place for."""
    tuning = job.tuning
    assert tuning is not None
    shape = service_model().shape_for("HyperParameterTrainingJobDefinition")
    passed = {field: value for field, value in training.items() if field in shape.members and field != _SHARED}
    algorithm = training["AlgorithmSpecification"]
    known = shape.members["AlgorithmSpecification"].members
    passed["AlgorithmSpecification"] = {field: value for field, value in algorithm.items() if field in known}
    static = {
        field: value
        for field, value in training.get("HyperParameters", {}).items()
        if field not in tuning.parameter_ranges
    }
    left_out = [field for field in training if field not in (*passed, "TrainingJobName", "HyperParameters", "Tags")]
    left_out += [field for field in algorithm if field not in known]
    hyperband = omit_none(MinResource=tuning.min_resource, MaxResource=tuning.max_resource)
    unimproved = tuning.max_number_of_training_jobs_not_improving
    completion = omit_none(
        TargetObjectiveMetricValue=tuning.target_objective_metric_value,
        BestObjectiveNotImproving=unimproved and {"MaxNumberOfTrainingJobsNotImproving": unimproved},
    )
    request = omit_none(
        HyperParameterTuningJobName=name,
        HyperParameterTuningJobConfig=omit_none(
            Strategy=tuning.strategy,
            StrategyConfig={"HyperbandStrategyConfig": hyperband} if hyperband else None,
            HyperParameterTuningJobObjective={
                "Type": objective_type(tuning),
                "MetricName": tuning.objective_metric_name,
            },
            ResourceLimits=omit_none(
                MaxNumberOfTrainingJobs=tuning.max_number_of_training_jobs,
                MaxParallelTrainingJobs=tuning.max_parallel_training_jobs,
                MaxRuntimeInSeconds=tuning.max_runtime_in_seconds,
            ),
            ParameterRanges=_ranges(tuning),
            TrainingJobEarlyStoppingType=tuning.training_job_early_stopping_type,
            TuningJobCompletionCriteria=completion or None,
            RandomSeed=tuning.random_seed,
        ),
        TrainingJobDefinition=passed | {"StaticHyperParameters": static},
        WarmStartConfig={
            "ParentHyperParameterTuningJobs": [
                {"HyperParameterTuningJobName": parent} for parent in tuning.warm_start_from
            ],
            "WarmStartType": tuning.warm_start_type,
        }
        if tuning.warm_start_from
        else None,
        Tags=training.get("Tags"),
    )
    return request, left_out


def number_of_jobs(tuning: Tuning) -> int:
    """Return how many training jobs there can be at most: a grid has as many as combinations."""
    if tuning.max_number_of_training_jobs is not None:
        return tuning.max_number_of_training_jobs
    return math.prod(len(each.values or [0]) for each in tuning.parameter_ranges.values())


def tuning_problems(job: Job, request: Request) -> list[Problem]:
    """Return what is wrong with `[tuning]`, as far as it can be known offline."""
    assert job.tuning is not None
    diagnostics = Diagnostics(job)
    for key, message in _mistakes(job, job.tuning):
        diagnostics.error(f"tuning.{key}" if key else "tuning", message)
    for violation in violations("CreateHyperParameterTuningJob", request):
        if violation.path[0] == "HyperParameterTuningJobName":
            diagnostics.error("--job-name", violation.message)
        elif violation.path[0] != "TrainingJobDefinition":  # that part has been checked as a training job's
            diagnostics.error("tuning", f"{'.'.join(map(str, violation.path[1:]))} {violation.message}")
    return diagnostics.problems()


def _mistakes(job: Job, tuning: Tuning) -> Iterator[tuple[str, str]]:
    metrics = metric_definitions() if job.metric_definitions is None else job.metric_definitions
    objective = tuning.objective_metric_name
    if objective not in metrics:
        yield "objective_metric_name", f"is {objective!r}, which no metric definition has; {advice(objective, metrics)}"
    yield from _wrong_limits(tuning)
    if tuning.warm_start_from and tuning.strategy in ("Grid", "Hyperband"):
        yield "warm_start_from", f"does not go with the strategy {tuning.strategy}"
    if not tuning.parameter_ranges:
        yield "parameter_ranges", "is missing: a table per hyperparameter, with min_value and max_value, or values"
    for name, given in tuning.parameter_ranges.items():
        for message in _wrong_range(job, tuning, name, given):
            yield f"parameter_ranges.{name}", message
    if job.container_entrypoint is not None or job.container_arguments is not None:
        yield (
            "",
            "does not go with container_entrypoint or container_arguments: a tuning job starts the image's `train`",
        )


def _wrong_limits(tuning: Tuning) -> Iterator[tuple[str, str]]:
    jobs = tuning.max_number_of_training_jobs
    if jobs is None and tuning.strategy != "Grid":
        yield (
            "max_number_of_training_jobs",
            f"is missing; only the strategy Grid ends without it, not {tuning.strategy}",
        )
    if tuning.max_parallel_training_jobs > (jobs or number_of_jobs(tuning) or 1):
        yield "max_parallel_training_jobs", f"is {tuning.max_parallel_training_jobs}, more than there are jobs"
    if tuning.strategy == "Grid" and jobs is not None:
        yield "max_number_of_training_jobs", "excludes the strategy Grid, which tries every combination; leave it out"
    if tuning.strategy == "Hyperband" and tuning.training_job_early_stopping_type == "Auto":
        yield "training_job_early_stopping_type", 'is "Auto"; Hyperband stops jobs itself: leave it out'
    if tuning.strategy != "Hyperband" and (tuning.min_resource or tuning.max_resource):
        yield "min_resource", f"and max_resource are for the strategy Hyperband; it is {tuning.strategy}"


def _wrong_range(job: Job, tuning: Tuning, name: str, given: ParameterRange) -> Iterator[str]:
    known = hyperparameters() if job.check_image_contract else {}
    if known and name not in known:
        yield f"is unknown to the image; {advice(name, known)}"
        return
    bounds = [bound for bound in (given.min_value, given.max_value) if bound is not None]
    if (given.values is None) == (not bounds) or len(bounds) == 1:
        yield "needs min_value and max_value, or values"
        return
    if tuning.strategy == "Grid" and given.values is None:
        yield "needs values: the strategy Grid takes no ranges of numbers"
    field = known.get(name)
    for value in given.values or bounds:
        wrong = field and _outside(value, field)
        if wrong:
            yield f"has {value!r}; {wrong}"
            return
    if given.values is not None:
        return
    low, high = bounds
    if low >= high:
        yield f"has min_value {low}, which is not less than max_value {high}"
    if given.scaling_type == "Logarithmic" and low <= 0:
        yield f"has min_value {low}; a Logarithmic range begins above 0"
    if given.scaling_type == "ReverseLogarithmic" and not (low >= 0 and high < 1 and not _is_integer(given)):
        yield "is ReverseLogarithmic, which is for numbers from 0 to below 1"


def _outside(value: object, field: dict[str, Any]) -> str | None:
    """Return what the image has against a value of a range."""
    if field["kind"] in ("integer", "number"):
        is_whole = field["kind"] == "integer"
        needed = f"{'whole numbers' if is_whole else 'numbers'} from {field['minimum']:.10g} to {field['maximum']:.10g}"
        try:
            number = math.nan if isinstance(value, bool) else float(str(value))
        except ValueError:
            return f"{needed} are allowed"
        fits = field["minimum"] <= number <= field["maximum"] and (not is_whole or isinstance(value, int))
        return None if fits else f"{needed} are allowed"
    allowed = ["true", "false"] if field["kind"] == "boolean" else field.get("choices")
    if allowed is None or str(value).lower() in (choice.lower() for choice in allowed):
        return None
    return f"allowed are {', '.join(allowed)}"


def _ranges(tuning: Tuning) -> Request:
    ranges: dict[str, list[Request]] = {}
    for name, given in tuning.parameter_ranges.items():
        if given.values is not None:
            entry: Request = {"Name": name, "Values": [str(value) for value in given.values]}
            kind = "Categorical"
        else:
            entry = {"Name": name, "MinValue": str(given.min_value), "MaxValue": str(given.max_value)}
            entry |= {"ScalingType": given.scaling_type}
            kind = "Integer" if _is_integer(given) else "Continuous"
        ranges.setdefault(f"{kind}ParameterRanges", []).append(entry)
    return ranges


def _is_integer(given: ParameterRange) -> bool:
    return isinstance(given.min_value, int) and isinstance(given.max_value, int)
