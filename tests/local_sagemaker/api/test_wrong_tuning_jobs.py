"""Wrong requests about tuning jobs: AWS's codes, or what is not here by its name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.helpers.local_server import BUCKET, TRAINING, ApiServer, call, changed, serving
from tests.helpers.wrong_requests import VALIDATION, Changes, missing, refused

RANGE = {"Name": "learning_rate", "MinValue": "1e-6", "MaxValue": "1e-3", "ScalingType": "Logarithmic"}
TUNING: dict[str, Any] = {
    "HyperParameterTuningJobName": "tune",
    "HyperParameterTuningJobConfig": {
        "Strategy": "Bayesian",
        "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "test:accuracy"},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 4, "MaxParallelTrainingJobs": 2},
        "ParameterRanges": {"ContinuousParameterRanges": [RANGE]},
    },
    "TrainingJobDefinition": {
        "StaticHyperParameters": {"epochs": "3"},
        "AlgorithmSpecification": {
            field: TRAINING["AlgorithmSpecification"][field]
            for field in ("TrainingImage", "TrainingInputMode", "MetricDefinitions")
        },
    }
    | {
        field: TRAINING[field]
        for field in ("RoleArn", "InputDataConfig", "OutputDataConfig", "ResourceConfig", "StoppingCondition")
    },
}
OF_TUNING = "HyperParameterTuningJobConfig"
FIRST_RANGE = f"{OF_TUNING}.ParameterRanges.ContinuousParameterRanges.0"
OF_TRAINING = "TrainingJobDefinition"

WRONG_TUNING: dict[str, tuple[Changes, str]] = {
    "no strategy": ({f"{OF_TUNING}.Strategy": None}, missing("hyperParameterTuningJobConfig.strategy")),
    "a long name": ({"HyperParameterTuningJobName": "t" * 33}, "Member must have length less than or equal to 32"),
    "no definition": ({OF_TRAINING: None}, "TrainingJobDefinition must be specified"),
    "autotune": ({"Autotune": {"Mode": "Enabled"}}, "Autotune is not available"),
    "two definitions": ({"TrainingJobDefinitions": [TUNING[OF_TRAINING]]}, "TrainingJobDefinitions is not available"),
    "two configurations of resources": (
        {f"{OF_TRAINING}.HyperParameterTuningResourceConfig": {"InstanceType": "ml.c5.xlarge", "InstanceCount": 1}},
        "ResourceConfig and HyperParameterTuningResourceConfig must not both be specified",
    ),
    "no objective": ({f"{OF_TUNING}.HyperParameterTuningJobObjective": None}, "Objective must be specified"),
    "an unknown objective": (
        {f"{OF_TUNING}.HyperParameterTuningJobObjective.MetricName": "speed"},
        "Objective metric speed is not in MetricDefinitions: [train:loss, test:accuracy]",
    ),
    "no limit": (
        {f"{OF_TUNING}.ResourceLimits.MaxNumberOfTrainingJobs": None},
        "MaxNumberOfTrainingJobs must be specified for the strategy Bayesian",
    ),
    "more at once than at all": (
        {f"{OF_TUNING}.ResourceLimits.MaxParallelTrainingJobs": 5},
        "MaxParallelTrainingJobs 5 must not be greater than MaxNumberOfTrainingJobs 4",
    ),
    "a grid of numbers": (
        {f"{OF_TUNING}.Strategy": "Grid", f"{OF_TUNING}.ResourceLimits.MaxNumberOfTrainingJobs": None},
        "The strategy Grid takes categorical ranges only; learning_rate is Continuous",
    ),
    "early stopping of Hyperband": (
        {f"{OF_TUNING}.Strategy": "Hyperband", f"{OF_TUNING}.TrainingJobEarlyStoppingType": "Auto"},
        "TrainingJobEarlyStoppingType must be Off for the strategy Hyperband",
    ),
    "no ranges": ({f"{OF_TUNING}.ParameterRanges": None}, "At least one hyperparameter range must be specified"),
    "a range twice": (
        {f"{OF_TUNING}.ParameterRanges.ContinuousParameterRanges": [RANGE, RANGE]},
        "Hyperparameter names must be unique in ParameterRanges: [learning_rate]",
    ),
    "static and tuned": (
        {f"{OF_TRAINING}.StaticHyperParameters.learning_rate": "1"},
        "Hyperparameter learning_rate is in StaticHyperParameters and in ParameterRanges",
    ),
    "a word for a number": ({f"{FIRST_RANGE}.MinValue": "low"}, "MinValue 'low' of learning_rate is not a number"),
    "a range upside down": ({f"{FIRST_RANGE}.MaxValue": "1e-9"}, "must be less than MaxValue 1e-9"),
    "the logarithm of 0": ({f"{FIRST_RANGE}.MinValue": "0"}, "must be greater than 0 for the scaling Logarithmic"),
    "reversed from 1 on": (
        {f"{FIRST_RANGE}.ScalingType": "ReverseLogarithmic", f"{FIRST_RANGE}.MaxValue": "1"},
        "must be within [0, 1) for the scaling ReverseLogarithmic",
    ),
    "an unknown strategy": (
        {f"{OF_TUNING}.Strategy": "Magic"},
        "Member must satisfy enum value set: [Bayesian, Random, Hyperband, Grid]",
    ),
    "a negative seed": ({f"{OF_TUNING}.RandomSeed": -1}, "Member must have value greater than or equal to 0"),
    "no parallel jobs": (
        {f"{OF_TUNING}.ResourceLimits.MaxParallelTrainingJobs": 0},
        "Member must have value greater than or equal to 1",
    ),
    "an unknown kind of objective": (
        {f"{OF_TUNING}.HyperParameterTuningJobObjective.Type": "Best"},
        "Member must satisfy enum value set: [Maximize, Minimize]",
    ),
    "a range without an end": ({f"{FIRST_RANGE}.MaxValue": None}, "Member must not be null"),
    "an unknown scaling": (
        {f"{FIRST_RANGE}.ScalingType": "Cubic"},
        "Member must satisfy enum value set: [Auto, Linear",
    ),
    "no values": (
        {f"{OF_TUNING}.ParameterRanges": {"CategoricalParameterRanges": [{"Name": "a", "Values": []}]}},
        "Member must have length greater than or equal to 1",
    ),
    "a value twice": (
        {f"{OF_TUNING}.ParameterRanges": {"CategoricalParameterRanges": [{"Name": "a", "Values": ["1", "1"]}]}},
        "Values of a must be unique: [1]",
    ),
    "half a whole number": (
        {f"{OF_TUNING}.ParameterRanges": {"IntegerParameterRanges": [RANGE | {"MinValue": "1.5", "MaxValue": "3"}]}},
        "MinValue '1.5' of learning_rate is not an integer",
    ),
    "Hyperband's of another strategy": (
        {f"{OF_TUNING}.StrategyConfig": {"HyperbandStrategyConfig": {"MinResource": 1}}},
        "HyperbandStrategyConfig is only supported for the strategy Hyperband",
    ),
    "ranges that Autotune finds": (
        {f"{OF_TUNING}.ParameterRanges.AutoParameters": [{"Name": "a", "ValueHint": "1"}]},
        "ParameterRanges.AutoParameters is not available",
    ),
    "an objective of the definition": (
        {f"{OF_TRAINING}.TuningObjective": {"Type": "Maximize", "MetricName": "test:accuracy"}},
        "TrainingJobDefinition.TuningObjective is not available",
    ),
    "a parent that is not there": (
        {
            "WarmStartConfig": {
                "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "nothing"}],
                "WarmStartType": "TransferLearning",
            }
        },
        "does not exist.",
    ),
    "a wrong training job": (
        {f"{OF_TRAINING}.ResourceConfig.InstanceCount": 0},
        "Member must have value greater than or equal to 1",
    ),
    "no data": (
        {f"{OF_TRAINING}.InputDataConfig.0.DataSource.S3DataSource.S3Uri": f"s3://{BUCKET}/nothing"},
        "No S3 objects found under S3 URL",
    ),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with serving(tmp_path_factory.mktemp("state")) as local:
        yield local


@pytest.mark.parametrize("name", WRONG_TUNING)
def test_a_wrong_tuning_job_is_refused(server: ApiServer, name: str) -> None:
    changes, sentence = WRONG_TUNING[name]
    got, message = refused(server, "CreateHyperParameterTuningJob", changed(TUNING, changes))
    code = "ResourceNotFound" if "WarmStartConfig" in changes else VALIDATION
    assert (got, sentence in message) == (code, True), message


def test_a_tuning_job_is_there_once(server: ApiServer) -> None:
    assert call(server, "CreateHyperParameterTuningJob", TUNING)[0] == 200
    assert refused(server, "CreateHyperParameterTuningJob", TUNING)[0] == "ResourceInUse"
    name = {"HyperParameterTuningJobName": "tune"}
    status, tuning = call(server, "DescribeHyperParameterTuningJob", name)
    static = tuning[OF_TRAINING]["StaticHyperParameters"]
    assert (status, static) == (200, {"epochs": "3", "_tuning_objective_metric": "test:accuracy"})
    assert refused(server, "DeleteHyperParameterTuningJob", name)[0] == "ResourceInUse"
    missing_one = {"HyperParameterTuningJobName": "missing"}
    for operation in ("Describe", "Stop", "Delete", "ListTrainingJobsFor"):
        assert refused(server, f"{operation}HyperParameterTuningJob", missing_one)[0] == "ResourceNotFound"
