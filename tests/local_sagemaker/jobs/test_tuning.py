"""Tuning jobs with real training jobs underneath: a line of shell each, that logs its objective."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest

from tests.helpers.emulator import BUCKET, IMAGE, ROLE, LocalSageMaker, channel
from tests.local_sagemaker.jobs.test_recovery import Servers, servers

__all__ = ["servers"]  # a fixture

pytestmark = pytest.mark.docker

_numbers = itertools.count(1)

READ = 'rate=$(sed -n \'s/.*"rate": "\\([^"]*\\)".*/\\1/p\' /opt/ml/input/config/hyperparameters.json)'
LOSS = f"{READ}; echo loss=$rate"

RATE = {"Name": "rate", "MinValue": "0.01", "MaxValue": "0.9", "ScalingType": "Linear"}


def request(script: str = LOSS, *, ranges: dict[str, Any] | None = None, **config: Any) -> dict[str, Any]:
    limits = {"MaxNumberOfTrainingJobs": 4, "MaxParallelTrainingJobs": 2}
    return {
        "HyperParameterTuningJobName": f"tune-{next(_numbers)}-{time.time_ns() // 1_000_000}",
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
            "ResourceLimits": limits,
            "ParameterRanges": ranges or {"ContinuousParameterRanges": [RATE]},
            "RandomSeed": 7,
            **config,
        },
        "TrainingJobDefinition": {
            "AlgorithmSpecification": {
                "TrainingImage": IMAGE,
                "TrainingInputMode": "File",
                "MetricDefinitions": [{"Name": "loss", "Regex": "loss=([0-9.]+)"}],
            },
            "StaticHyperParameters": {"epochs": "1"},
            "RoleArn": ROLE,
            "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/output"},
            "ResourceConfig": {"InstanceType": "ml.c5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 900},
            "EnableNetworkIsolation": True,
            "Environment": {"SCRIPT": script},
        },
        "Tags": [{"Key": "team", "Value": "reviews"}],
    }


def create(sagemaker: LocalSageMaker, wanted: dict[str, Any]) -> str:
    sagemaker.client("sagemaker").create_hyper_parameter_tuning_job(**wanted)
    return str(wanted["HyperParameterTuningJobName"])


def describe(sagemaker: LocalSageMaker, name: str) -> dict[str, Any]:
    client = sagemaker.client("sagemaker")
    return dict(client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name))


def wait(sagemaker: LocalSageMaker, name: str, condition: Any = None) -> dict[str, Any]:
    give_up = time.monotonic() + 120
    ended = condition or (lambda job: job["HyperParameterTuningJobStatus"] not in ("InProgress", "Stopping"))
    while not ended(job := describe(sagemaker, name)):
        assert time.monotonic() < give_up, job
        time.sleep(0.05)
    return job


def trials(sagemaker: LocalSageMaker, name: str, **more: Any) -> list[dict[str, Any]]:
    client = sagemaker.client("sagemaker")
    answer = client.list_training_jobs_for_hyper_parameter_tuning_job(HyperParameterTuningJobName=name, **more)
    return list(answer["TrainingJobSummaries"])


def test_a_tuning_job_finds_the_best_of_its_training_jobs(sagemaker: LocalSageMaker) -> None:
    wanted = request(Strategy="Bayesian")
    name = create(sagemaker, wanted)
    job = wait(sagemaker, name)
    assert job["HyperParameterTuningJobStatus"] == "Completed"
    assert job["TrainingJobStatusCounters"]["Completed"] == 4
    assert job["ObjectiveStatusCounters"] == {"Succeeded": 4, "Pending": 0, "Failed": 0}
    by_value = trials(sagemaker, name, SortBy="FinalObjectiveMetricValue")
    values = [trial["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] for trial in by_value]
    rates = [float(trial["TunedHyperParameters"]["rate"]) for trial in by_value]
    assert values == sorted(values) == pytest.approx(rates)
    assert all(0.01 <= rate <= 0.9 for rate in rates)
    assert job["BestTrainingJob"]["TrainingJobName"] == by_value[0]["TrainingJobName"]
    first = trials(sagemaker, name)[0]["TrainingJobName"]
    assert first.startswith(f"{name}-001-")
    training = sagemaker.describe(first)
    assert training["TuningJobArn"] == job["HyperParameterTuningJobArn"]
    assert training["HyperParameters"]["_tuning_objective_metric"] == "loss"
    assert training["HyperParameters"]["epochs"] == "1"
    client = sagemaker.client("sagemaker")
    assert client.list_tags(ResourceArn=training["TrainingJobArn"])["Tags"] == wanted["Tags"]
    found = client.list_hyper_parameter_tuning_jobs(NameContains=name)["HyperParameterTuningJobSummaries"]
    assert [(each["Strategy"], each["ObjectiveStatusCounters"]["Succeeded"]) for each in found] == [("Bayesian", 4)]
    child = wanted | {
        "HyperParameterTuningJobName": f"{name}-w",
        "WarmStartConfig": {
            "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": name}],
            "WarmStartType": "IdenticalDataAndAlgorithm",
        },
    }
    child["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxNumberOfTrainingJobs"] = 2
    warm = wait(sagemaker, create(sagemaker, child))
    assert warm["OverallBestTrainingJob"] == warm["BestTrainingJob"]
    client.delete_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    with pytest.raises(client.exceptions.ResourceNotFound):
        describe(sagemaker, name)
    assert sagemaker.describe(first)["TrainingJobStatus"] == "Completed"


def test_a_grid_tries_every_combination(sagemaker: LocalSageMaker) -> None:
    ranges = {
        "CategoricalParameterRanges": [
            {"Name": "rate", "Values": ["0.1", "0.2"]},
            {"Name": "other", "Values": ["a", "b"]},
        ]
    }
    limits = {"MaxParallelTrainingJobs": 4}
    wanted = request(ranges=ranges, Strategy="Grid", ResourceLimits=limits)
    instances = wanted["TrainingJobDefinition"].pop("ResourceConfig")
    wanted["TrainingJobDefinition"]["HyperParameterTuningResourceConfig"] = instances  # as SDK v2 sends it
    name = create(sagemaker, wanted)
    assert wait(sagemaker, name)["HyperParameterTuningJobStatus"] == "Completed"
    tried = [tuple(sorted(trial["TunedHyperParameters"].items())) for trial in trials(sagemaker, name)]
    assert sorted(tried) == [(("other", o), ("rate", r)) for o in "ab" for r in ("0.1", "0.2")]


def test_a_target_ends_a_tuning_job(sagemaker: LocalSageMaker) -> None:
    limits = {"MaxNumberOfTrainingJobs": 50, "MaxParallelTrainingJobs": 1}
    reached = request(
        "echo loss=0.25", ResourceLimits=limits, TuningJobCompletionCriteria={"TargetObjectiveMetricValue": 0.25}
    )
    unimproved = request(
        "echo loss=0.25",
        ResourceLimits=limits,
        TuningJobCompletionCriteria={"BestObjectiveNotImproving": {"MaxNumberOfTrainingJobsNotImproving": 3}},
    )
    names = [create(sagemaker, reached), create(sagemaker, unimproved)]
    assert [len(trials(sagemaker, name)) for name in names if wait(sagemaker, name)] == [1, 4]


def test_a_stopped_tuning_job_stops_its_training_jobs(sagemaker: LocalSageMaker) -> None:
    name = create(sagemaker, request("echo loss=0.5; sleep 60 & wait"))
    wait(sagemaker, name, lambda job: job["TrainingJobStatusCounters"]["InProgress"] == 2)
    for trial in trials(sagemaker, name):
        sagemaker.wait_for(trial["TrainingJobName"], "loss")
    sagemaker.client("sagemaker").stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    job = wait(sagemaker, name)
    assert (job["HyperParameterTuningJobStatus"], job["TrainingJobStatusCounters"]["Stopped"]) == ("Stopped", 2)


def test_a_tuning_job_without_a_result_fails(sagemaker: LocalSageMaker) -> None:
    job = wait(sagemaker, create(sagemaker, request("exit 1")))
    assert job["HyperParameterTuningJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("All training jobs failed.")
    assert job["TrainingJobStatusCounters"]["NonRetryableError"] == 4
    assert "BestTrainingJob" not in job


def test_a_hopeless_training_job_is_stopped_early(sagemaker: LocalSageMaker) -> None:
    script = f"{READ}; echo loss=$rate; echo loss=$rate; if [ $rate = 9 ]; then sleep 60 & wait; fi"
    limits = {"MaxNumberOfTrainingJobs": 4, "MaxParallelTrainingJobs": 1}
    ranges = {"CategoricalParameterRanges": [{"Name": "rate", "Values": ["1", "2", "3", "9"]}]}
    name = create(
        sagemaker,
        request(script, ranges=ranges, Strategy="Grid", ResourceLimits=limits, TrainingJobEarlyStoppingType="Auto"),
    )
    job = wait(sagemaker, name)
    assert job["TrainingJobStatusCounters"] == {
        "Completed": 3,
        "InProgress": 0,
        "RetryableError": 0,
        "NonRetryableError": 0,
        "Stopped": 1,
    }
    assert trials(sagemaker, name)[3]["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] == 9


def test_a_server_that_is_killed_goes_on_with_its_tuning_job(servers: Servers) -> None:
    sagemaker = servers.start()
    sagemaker.client("s3").create_bucket(Bucket=BUCKET)
    sagemaker.put("train/a", "a")
    wanted = request(f"{LOSS}; sleep 0.5", Strategy="Bayesian")
    wanted["TrainingJobDefinition"]["InputDataConfig"] = [channel("train", "train")]
    name = create(sagemaker, wanted)
    wait(sagemaker, name, lambda job: job["TrainingJobStatusCounters"]["Completed"] >= 1)
    before = trials(sagemaker, name)
    servers.kill()
    sagemaker = servers.start()
    job = wait(sagemaker, name)
    assert job["ObjectiveStatusCounters"]["Succeeded"] == 4
    after = trials(sagemaker, name)
    assert [trial["TunedHyperParameters"] for trial in after][: len(before)] == [
        trial["TunedHyperParameters"] for trial in before
    ]
    training = sagemaker.client("sagemaker").list_training_jobs(NameContains=name)["TrainingJobSummaries"]
    assert len(training) == 4
