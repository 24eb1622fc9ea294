"""The log format and SageMaker's metric definitions fit each other."""

from __future__ import annotations

import re

import pytest

from star_rating.logs import METRICS, measurements, metric_definitions

LINES = {name: f"2026-11-22T10:00:00Z INFO epoch 1/3 step 10/30 {name}={{}}" for name in METRICS}


def found(line: str) -> dict[str, str]:
    matches = {entry["Name"]: re.findall(entry["Regex"], line) for entry in metric_definitions()}
    return {name: values[0] for name, values in matches.items() if values}


@pytest.mark.parametrize("name", METRICS)
def test_a_metrics_line_is_matched_by_its_own_pattern_alone(name: str) -> None:
    assert found(LINES[name].format("0.5")) == {name: "0.5"}


@pytest.mark.parametrize("number", ["9.5e-05", "nan", "inf", "-inf", "0", "12.", "1e+10", "0.61234"])
def test_numbers_are_read_whole(number: str) -> None:
    assert found(LINES["train:loss"].format(number)) == {"train:loss": number}


def test_several_metrics_of_one_line_are_told_apart() -> None:
    line = "epoch 1/3 ended after 9 s " + measurements(
        train_loss=1.5, train_accuracy=0.25, validation_loss=float("nan"), validation_accuracy=9.5e-05
    )
    assert found(line) == {
        "train:loss": "1.5",
        "train:accuracy": "0.25",
        "validation:loss": "nan",
        "validation:accuracy": "9.5e-05",
    }


@pytest.mark.parametrize("line", ["pretrain:loss=1", "train:losses=1", "val train:loss=1x", "train:loss: 1"])
def test_what_only_looks_alike_is_not_matched(line: str) -> None:
    assert not found(line)


def test_a_measurement_without_a_definition_cannot_be_logged() -> None:
    with pytest.raises(ValueError, match="train:perplexity"):
        measurements(train_perplexity=1.0)


def test_definitions_are_within_sagemakers_limits() -> None:
    assert len(metric_definitions()) <= 40
    assert all(len(entry["Name"]) <= 255 and len(entry["Regex"]) <= 500 for entry in metric_definitions())
