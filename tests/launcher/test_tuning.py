"""`[tuning]` of a job file and `launcher tune`, without AWS."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from launcher.cli.main import main
from launcher.cli.tune import objective_chart
from launcher.errors import JobFileError
from launcher.job_file.tables import hyperparameters_table, with_hyperparameters
from launcher.request.shapes import violations
from tests.helpers.job_files import write

TUNING = {
    "tuning.objective_metric_name": '"validation:accuracy"',
    "tuning.max_number_of_training_jobs": "12",
    "tuning.max_parallel_training_jobs": "2",
    "tuning.parameter_ranges.learning_rate": '{ min_value = 1e-5, max_value = 1e-3, scaling_type = "Logarithmic" }',
    "tuning.parameter_ranges.epochs": "{ min_value = 1, max_value = 3 }",
    "tuning.parameter_ranges.train_batch_size": "{ values = [16, 32] }",
}


def tune(folder: Path, changes: dict[str, str | None], *options: str) -> int:
    file = write(folder / "job.toml", TUNING | changes)
    return main(["tune", "--file", str(file), "--dry-run", *options])


def request(folder: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, str | None]) -> dict[str, Any]:
    assert tune(folder, changes) == 0
    made: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert violations("CreateHyperParameterTuningJob", made) == []
    return made


def test_a_request_has_the_ranges_and_the_job_of_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = request(tmp_path, capsys, {"hyperparameters.epochs": "3", "hyperparameters.seed": "7"})
    config, definition = made["HyperParameterTuningJobConfig"], made["TrainingJobDefinition"]
    assert config["HyperParameterTuningJobObjective"] == {"Type": "Maximize", "MetricName": "validation:accuracy"}
    assert config["ResourceLimits"] == {"MaxNumberOfTrainingJobs": 12, "MaxParallelTrainingJobs": 2}
    assert config["ParameterRanges"] == {
        "ContinuousParameterRanges": [
            {"Name": "learning_rate", "MinValue": "1e-05", "MaxValue": "0.001", "ScalingType": "Logarithmic"}
        ],
        "IntegerParameterRanges": [{"Name": "epochs", "MinValue": "1", "MaxValue": "3", "ScalingType": "Auto"}],
        "CategoricalParameterRanges": [{"Name": "train_batch_size", "Values": ["16", "32"]}],
    }
    assert definition["StaticHyperParameters"] == {"seed": "7"}
    assert definition["ResourceConfig"]["InstanceType"] == "ml.c7i.2xlarge"
    assert len(made["HyperParameterTuningJobName"]) <= 32


def test_limits_and_warm_start_are_sent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = request(
        tmp_path,
        capsys,
        {
            "tuning.objective_metric_name": '"test:loss"',
            "tuning.target_objective_metric_value": "0.5",
            "tuning.max_number_of_training_jobs_not_improving": "4",
            "tuning.max_runtime_in_seconds": "7200",
            "tuning.training_job_early_stopping_type": '"Auto"',
            "tuning.random_seed": "1",
            "tuning.warm_start_from": '["earlier"]',
        },
    )
    config = made["HyperParameterTuningJobConfig"]
    assert config["HyperParameterTuningJobObjective"]["Type"] == "Minimize"
    assert config["ResourceLimits"]["MaxRuntimeInSeconds"] == 7200
    assert (config["TrainingJobEarlyStoppingType"], config["RandomSeed"]) == ("Auto", 1)
    assert config["TuningJobCompletionCriteria"] == {
        "TargetObjectiveMetricValue": 0.5,
        "BestObjectiveNotImproving": {"MaxNumberOfTrainingJobsNotImproving": 4},
    }
    assert made["WarmStartConfig"] == {
        "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "earlier"}],
        "WarmStartType": "IdenticalDataAndAlgorithm",
    }


def test_what_training_jobs_of_a_tuning_job_do_not_have_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes: dict[str, str | None] = {
        "debug_hook_config.enabled": "true",
        "checkpoint_config.s3_uri": '"s3://{bucket}/checkpoints/"',
    }
    assert tune(tmp_path, changes) == 0
    printed = capsys.readouterr()
    assert "go without CheckpointConfig, DebugHookConfig" in printed.err
    assert "CheckpointConfig" not in json.loads(printed.out)["TrainingJobDefinition"]


RANGE = "tuning.parameter_ranges.learning_rate"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (dict.fromkeys(TUNING), "tuning is missing"),
        ({"tuning.objective_metric_name": '"accuracy"'}, "no metric definition has"),
        ({"tuning.max_number_of_training_jobs": None}, "not Bayesian"),
        ({"tuning.max_parallel_training_jobs": "13"}, "more than there are jobs"),
        ({"tuning.strategy": '"Grid"'}, "excludes the strategy Grid"),
        ({"tuning.strategy": '"Grid"', "tuning.max_number_of_training_jobs": None}, "needs values: the strategy Grid"),
        ({"tuning.strategy": '"Magic"'}, "tuning.strategy"),
        (
            {"tuning.strategy": '"Hyperband"', "tuning.training_job_early_stopping_type": '"Auto"'},
            "Hyperband stops jobs itself",
        ),
        ({"tuning.min_resource": "1"}, "are for the strategy Hyperband"),
        ({"tuning.strategy": '"Hyperband"', "tuning.warm_start_from": '["a"]'}, "does not go with the strategy"),
        ({RANGE: None, "tuning.parameter_ranges.learn_rate": "{ values = [1] }"}, "did you mean learning_rate"),
        ({RANGE: "{ min_value = 1e-5 }"}, "needs min_value and max_value, or values"),
        ({RANGE: "{ min_value = 1e-3, max_value = 1e-5 }"}, "not less than max_value"),
        ({RANGE: '{ min_value = 0.0, max_value = 1e-5, scaling_type = "Logarithmic" }'}, "begins above 0"),
        ({RANGE: '{ min_value = 0.5, max_value = 2.0, scaling_type = "ReverseLogarithmic" }'}, "to below 1"),
        ({"tuning.parameter_ranges.epochs": "{ min_value = 0, max_value = 3 }"}, "whole numbers from 1 to 1000"),
        ({"tuning.parameter_ranges.use_amp": '{ values = ["maybe"] }'}, "has 'maybe'; allowed are"),
        ({"container_arguments": '["train"]'}, "does not go with container_entrypoint or container_arguments"),
        ({"compute.instance_type": '"ml.t9.medium"'}, "compute.instance_type"),
        ({"base_job_name": '"not_a_name"'}, "job-name"),
    ],
)
def test_wrong_tuning_is_refused_offline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, str | None], said: str
) -> None:
    assert tune(tmp_path, changes) == 2
    assert said in capsys.readouterr().err


def test_the_cost_of_all_jobs_is_held_against_max_cost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hour: dict[str, str | None] = {"stopping_condition.max_runtime_in_seconds": "3600"}
    assert tune(tmp_path, hour, "--max-cost", "5") == 2
    assert "12 training jobs" in capsys.readouterr().err
    assert tune(tmp_path, hour, "--max-cost", "50") == 0


def test_the_chart_has_a_column_for_each_training_job() -> None:
    lines = objective_chart([0.5, None, 0.75, 0.25], maximize=True)
    assert lines[0].startswith("0.75 |")
    assert lines[8].startswith("0.25 |")
    columns = [line.index(mark) for mark in "o*" for line in lines[:9] if mark in line]
    assert columns == [len("     |") + 3, len("     |") + 15, len("     |") + 11]
    assert lines[0].endswith("*----")  # still the best when the last one ran
    assert objective_chart([0.5, 0.25], maximize=False)[8].count("*") == 1
    assert objective_chart([0.5, None], maximize=True) == []
    assert len(objective_chart([1.0] * 500, maximize=True)[0]) < 520


def test_the_best_hyperparameters_become_a_job_file(tmp_path: Path) -> None:
    shipped = (Path(__file__).parents[2] / "job.toml").read_text()
    tuning = "# looked for\n[tuning]\nobjective_metric_name = 'test:loss'\n[tuning.parameter_ranges]\n"
    file = tmp_path / "job.toml"
    file.write_text(f"{shipped}\n{tuning}learning_rate = {{ values = [1e-5] }}\n")
    table = hyperparameters_table({"epochs": "2", "learning_rate": "3.1e-05", "use_amp": "True", "note": 'a "b"\n007'})
    written = with_hyperparameters(file, table)
    before, after = tomllib.loads(shipped), tomllib.loads(written)
    best = {"epochs": 2, "learning_rate": 3.1e-05, "use_amp": True, "note": 'a "b"\n007'}
    assert after == before | {"hyperparameters": best}
    assert "# peak of the schedule" not in written
    assert "# written by `launcher process`" in written
    assert "# looked for" not in written


def test_a_job_file_with_tables_in_another_form_is_refused(tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text('region = "us-east-1"\nhyperparameters.epochs = 3\n')
    with pytest.raises(JobFileError, match="in another form than tables of their own"):
        with_hyperparameters(tmp_path / "job.toml", hyperparameters_table({"epochs": "2"}))
