"""What SageMaker asks of a training job's request beyond the types, ranges and patterns of its model. Pure.

    refuse_contradictions(request)      # raises ApiError, or returns

A rule yields the sentences that refuse a request; only the first of all rules is asked for, so each may rely on those
before it. Where the real service's sentence is known from public reports, it stands here word for word; the rules
themselves are those of the API's documentation.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from local_sagemaker.api.validators.channels import CHANNEL_RULES
from local_sagemaker.api.validators.shapes import one_constraint
from local_sagemaker.errors import invalid

Request = dict[str, Any]
Rule = Callable[[Request], Iterator[str]]

LONGEST_RUN = 28 * 24 * 3600
"""Seconds; the documentation of MaxRuntimeInSeconds."""

INTERVALS = (100, 200, 500, 1000, 5000, 60_000)
"""Milliseconds between two system metrics that the documentation of ProfilerConfig allows."""

NOT_HERE = {
    "ServerlessJobConfig": "serverless model customization",
    "ModelPackageConfig": "model packages",
    "MlflowConfig": "MLflow",
}
"""Fields of CreateTrainingJob that ask for services which this machine has not."""

DEBUGGER = ("DebugHookConfig", "DebugRuleConfigurations", "ProfilerConfig", "ProfilerRuleConfigurations")
"""Fields of CreateTrainingJob that are Debugger's."""


def refuse_contradictions(request: Request) -> None:
    """Raise ApiError for the first rule that a request breaks."""
    for rule in (*RULES, *CHANNEL_RULES):
        for refusal in rule(request):
            raise invalid(refusal)


def refuse_debugger(request: Request) -> None:
    """Raise ApiError for what a new customer's request may not have: any use of Debugger.

    AWS documents that Debugger is closed to new customers, and not the error that they get: this is the one for a
    request that its service does not take, with the fields' names. `ProfilerConfig` that only says `DisableProfiler`
    passes: AWS's SDK sends it by default since Debugger was closed.
    """
    asked_for = [field for field in DEBUGGER if request.get(field)]
    if request.get("ProfilerConfig", {}).get("DisableProfiler"):
        asked_for.remove("ProfilerConfig")
    if asked_for:
        raise invalid(
            f"{', '.join(asked_for)} cannot be specified: Amazon SageMaker Debugger is closed to accounts that did "
            "not use it before 2026-07-30"
        )


def repeated(names: Iterable[str]) -> str:
    """Return the names that come more than once, as `[a, b]`; empty if there are none."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    return f"[{', '.join(twice)}]" if twice else ""


def _nothing_that_is_not_here(request: Request) -> Iterator[str]:
    for field, what in NOT_HERE.items():
        if field in request:
            yield f"{field} is not available: the local SageMaker has no {what}"
    resources = request.get("ResourceConfig", {})
    for field in ("TrainingPlanArn", "InstancePlacementConfig", "InstancePreferences"):
        if field in resources:
            yield (
                f"ResourceConfig.{field} is not available: the local SageMaker has one kind of capacity, this machine"
            )


def _algorithm(request: Request) -> Iterator[str]:
    algorithm = request.get("AlgorithmSpecification")
    if algorithm is None:
        yield one_constraint("algorithmSpecification", None, "Member must not be null")
        return
    if ("TrainingImage" in algorithm) == ("AlgorithmName" in algorithm):
        yield "You must specify either TrainingImage or AlgorithmName in AlgorithmSpecification, and not both"
    if "AlgorithmName" in algorithm:
        yield f"Unable to find Algorithm: {algorithm['AlgorithmName']}"
    if not algorithm["TrainingImage"].strip():
        yield "TrainingImage must not be empty"
    access = algorithm.get("TrainingImageConfig", {})
    if access.get("TrainingRepositoryAccessMode") == "Vpc" and "VpcConfig" not in request:
        yield "VpcConfig is required when TrainingRepositoryAccessMode is Vpc"
    if "TrainingRepositoryAuthConfig" in access and access.get("TrainingRepositoryAccessMode") != "Vpc":
        yield "TrainingRepositoryAuthConfig is only supported when TrainingRepositoryAccessMode is Vpc"


def _metrics(request: Request) -> Iterator[str]:
    definitions = request["AlgorithmSpecification"].get("MetricDefinitions", [])
    twice = repeated(definition["Name"] for definition in definitions)
    if twice:
        yield f"Metric names must be unique in MetricDefinitions: {twice}"
    for definition in definitions:
        try:
            groups = re.compile(definition["Regex"]).groups
        except re.error as error:
            yield f"Invalid Regex '{definition['Regex']}' of metric {definition['Name']}: {error}"
        if not groups:
            yield f"Invalid Regex '{definition['Regex']}' of metric {definition['Name']}: it captures no group"


def _instances(request: Request) -> Iterator[str]:
    resources = request.get("ResourceConfig")
    if resources is None:
        yield one_constraint("resourceConfig", None, "Member must not be null")
        return
    groups = resources.get("InstanceGroups", [])
    if groups and ("InstanceType" in resources or "InstanceCount" in resources):
        yield "InstanceType or InstanceCount cannot be specified with InstanceGroups"
    if not groups and ("InstanceType" not in resources or "InstanceCount" not in resources):
        yield "InstanceType and InstanceCount must be specified in ResourceConfig without InstanceGroups"
    if not groups and resources["InstanceCount"] < 1:
        yield _at_least_one("resourceConfig.instanceCount", resources["InstanceCount"])
    twice = repeated(group["InstanceGroupName"] for group in groups)
    if twice:
        yield f"Instance group names must be unique: {twice}"
    for number, group in enumerate(groups, start=1):
        if group["InstanceCount"] < 1:
            place = f"resourceConfig.instanceGroups.{number}.member.instanceCount"
            yield _at_least_one(place, group["InstanceCount"])


def _volume(request: Request) -> Iterator[str]:
    size = request["ResourceConfig"].get("VolumeSizeInGB")
    if size is not None and size < 1:
        yield _at_least_one("resourceConfig.volumeSizeInGB", size)


def _at_least_one(place: str, value: int) -> str:
    return one_constraint(place, value, "Member must have value greater than or equal to 1")


def _times(request: Request) -> Iterator[str]:
    condition = request.get("StoppingCondition", {})
    run, wait = condition.get("MaxRuntimeInSeconds", 86_400), condition.get("MaxWaitTimeInSeconds")
    if run > LONGEST_RUN:
        yield one_constraint(
            "stoppingCondition.maxRuntimeInSeconds", run, f"Member must have value less than or equal to {LONGEST_RUN}"
        )
    is_spot = request.get("EnableManagedSpotTraining", False)
    if wait is not None and not is_spot:
        yield "Invalid MaxWaitTimeInSeconds. It is only supported when EnableManagedSpotTraining is set to true"
    if is_spot and (wait is None or wait < run):
        yield "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds"


def _warm_pool(request: Request) -> Iterator[str]:
    keep = request["ResourceConfig"].get("KeepAlivePeriodInSeconds")
    if keep and request.get("EnableManagedSpotTraining"):
        yield "KeepAlivePeriodInSeconds is not supported when EnableManagedSpotTraining is set to true"


def _debugger(request: Request) -> Iterator[str]:
    rules = request.get("DebugRuleConfigurations", [])
    if rules and "DebugHookConfig" not in request:
        yield "DebugHookConfig must be specified when DebugRuleConfigurations are specified"
    collections = request.get("DebugHookConfig", {}).get("CollectionConfigurations", [])
    twice = repeated(collection.get("CollectionName", "") for collection in collections)
    if twice:
        yield f"Collection names must be unique in DebugHookConfig: {twice}"


def _profiler(request: Request) -> Iterator[str]:
    config, rules = request.get("ProfilerConfig", {}), request.get("ProfilerRuleConfigurations", [])
    interval = config.get("ProfilingIntervalInMilliseconds")
    if interval is not None and interval not in INTERVALS:
        allowed = ", ".join(map(str, INTERVALS))
        yield f"ProfilingIntervalInMilliseconds must be one of [{allowed}], it is {interval}"
    if rules and config.get("DisableProfiler"):
        yield "ProfilerRuleConfigurations cannot be specified when DisableProfiler is set to true"
    if rules and not config:
        yield "ProfilerConfig must be specified when ProfilerRuleConfigurations are specified"


def _rules(request: Request) -> Iterator[str]:
    rules = [*request.get("DebugRuleConfigurations", []), *request.get("ProfilerRuleConfigurations", [])]
    twice = repeated(rule["RuleConfigurationName"] for rule in rules)
    if twice:
        yield f"Rule configuration names must be unique: {twice}"


def _local_paths(request: Request) -> Iterator[str]:
    for field in ("CheckpointConfig", "DebugHookConfig", "TensorBoardOutputConfig"):
        path = request.get(field, {}).get("LocalPath")
        if path is not None and (not path.startswith("/") or ".." in path.split("/")):
            yield f"Invalid LocalPath '{path}' in {field}: an absolute path is needed"
    checkpoints = request.get("CheckpointConfig", {}).get("LocalPath", "/opt/ml/checkpoints").rstrip("/")
    for taken in ("/opt/ml/input", "/opt/ml/model", "/opt/ml/output"):
        if checkpoints in ("", "/opt", "/opt/ml") or f"{checkpoints}/".startswith(f"{taken}/"):
            yield f"Invalid LocalPath '{checkpoints}' in CheckpointConfig: SageMaker uses it itself"


def _tags(request: Request) -> Iterator[str]:
    names = [tag["Key"] for tag in request.get("Tags", [])]
    twice = repeated(names)
    if twice:
        yield f"Tag keys must be unique: {twice}"
    reserved = [name for name in names if name.lower().startswith("aws:")]
    if reserved:
        yield f"Tag keys starting with 'aws:' are reserved: [{', '.join(reserved)}]"


def _network(request: Request) -> Iterator[str]:
    if request.get("EnableNetworkIsolation") and request.get("RemoteDebugConfig", {}).get("EnableRemoteDebug"):
        yield "EnableRemoteDebug is not supported when EnableNetworkIsolation is set to true"


RULES: tuple[Rule, ...] = (
    _nothing_that_is_not_here,
    _algorithm,
    _metrics,
    _instances,
    _volume,
    _times,
    _warm_pool,
    _debugger,
    _profiler,
    _rules,
    _local_paths,
    _tags,
    _network,
)
