"""jobs/notebook.toml makes the requests that AWS's own SDK 2.257.7 made of the notebook's cells (golden/)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import launcher
from launcher.data import metric_definitions
from tests.helpers.job_files import REPOSITORY

GOLDEN = Path(__file__).with_name("golden")
NOTEBOOK = REPOSITORY / "jobs" / "notebook.toml"

THE_READERS_OWN = {
    # The notebook had these from its session or an earlier notebook; the recording had one-letter stand-ins.
    "experiment_config.experiment_name": "e",
    "experiment_config.trial_name": "t",
    "checkpoint_config.s3_uri": "s3://{bucket}/checkpoints/u/",
}

NOT_RECORDED = {
    # The recording passed seven of the notebook's nineteen hyperparameters; the job file has all of them.
    "enable_checkpointing": "False",
    "enable_sagemaker_debugger": "True",
    "enable_tensorboard": "True",
    "run_sample_predictions": "True",
    "run_test": "True",
    "run_validation": "True",
    "test_batch_size": "128",
    "test_steps": "100",
    "train_steps_per_epoch": "100",
    "use_amp": "True",
    "validation_batch_size": "128",
    "validation_steps": "100",
}


def golden(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((GOLDEN / name).read_text(encoding="utf-8"))
    return content


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield path, type(value)
        for name, inner in value.items():
            yield from leaves(inner, f"{path}.{name}")
    elif isinstance(value, list):
        yield path, len(value)
        for index, inner in enumerate(value):
            yield from leaves(inner, f"{path}[{index}]")
    else:
        yield path, value


def without_listed_differences(request: dict[str, Any]) -> dict[str, Any]:
    """Take out what the golden cannot have, after checking that it is what the lists above say."""
    for name, value in NOT_RECORDED.items():
        assert request["HyperParameters"].pop(name) == value
    definitions = request["AlgorithmSpecification"].pop("MetricDefinitions")
    assert {definition["Name"]: definition["Regex"] for definition in definitions} == metric_definitions()
    return request


def without_metrics(request: dict[str, Any]) -> dict[str, Any]:
    """Take out the notebook's metrics, of which the recording had one of four.

    Their pattern reads val_loss as loss, and 9.5e-05 as 9.5: the image's log has another form and patterns of its own.
    """
    assert request["AlgorithmSpecification"].pop("MetricDefinitions") == [
        {"Name": "train:loss", "Regex": r"loss: ([0-9\.]+)"}
    ]
    return request


def test_the_notebook_is_the_golden_request_field_by_field() -> None:
    expected = golden("byoc.json")
    # The recording passed one environment variable to see where it goes; the notebook has none.
    job = launcher.load_job(NOTEBOOK, THE_READERS_OWN | {"environment.A": "b"})
    request = launcher.build_request(job, expected["TrainingJobName"])
    assert dict(leaves(without_listed_differences(request))) == dict(leaves(without_metrics(expected)))


def test_with_every_rule_switched_on_it_is_the_second_golden() -> None:
    expected = golden("byoc_rules.json")
    rules: dict[str, object] = {
        f"{table}.{rule['RuleConfigurationName']}.enabled": True
        for table, field in (
            ("debug_rule_configurations", "DebugRuleConfigurations"),
            ("profiler_rule_configurations", "ProfilerRuleConfigurations"),
        )
        for rule in expected[field]
    }
    request = launcher.build_request(launcher.load_job(NOTEBOOK, THE_READERS_OWN | rules), expected["TrainingJobName"])
    request = without_listed_differences(request)
    for made in (request, expected):
        # The SDK collects them in a set: the order is chance.
        made["DebugHookConfig"]["CollectionConfigurations"].sort(
            key=lambda collection: str(collection["CollectionName"])
        )
    assert dict(leaves(request)) == dict(leaves(without_metrics(expected)))


def test_every_rule_of_the_notebook_is_in_the_job_file() -> None:
    job = launcher.load_job(NOTEBOOK)
    expected = golden("byoc_rules.json")
    assert set(job.debug_rule_configurations) == {
        rule["RuleConfigurationName"] for rule in expected["DebugRuleConfigurations"]
    }
    assert set(job.profiler_rule_configurations) == {
        rule["RuleConfigurationName"] for rule in expected["ProfilerRuleConfigurations"]
    }


@pytest.mark.parametrize("path", ["job.toml", "jobs/notebook.toml"])
def test_the_job_files_of_the_repository_have_no_mistake(path: str) -> None:
    assert launcher.build_request(launcher.load_job(REPOSITORY / path))["TrainingJobName"]


def test_each_feature_is_one_switch() -> None:
    job = launcher.load_job(
        NOTEBOOK,
        {"debug_hook_config.enabled": False, "profiler_config.enabled": False, "experiment_config.enabled": False},
    )
    request = launcher.build_request(job)
    assert request["ProfilerConfig"] == {"DisableProfiler": True}
    assert not {"DebugHookConfig", "DebugRuleConfigurations", "ProfilerRuleConfigurations", "ExperimentConfig"} & set(
        request
    )
