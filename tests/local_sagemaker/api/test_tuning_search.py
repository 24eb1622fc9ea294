"""What a tuning job tries next: deterministic, in its ranges, and better than chance where it learns."""

from __future__ import annotations

import math
from typing import Any

import pytest

from local_sagemaker.runner.tuning_search import Search, TrialState, grid

CONTINUOUS = {"Name": "rate", "MinValue": "1e-5", "MaxValue": "1e-1", "ScalingType": "Logarithmic"}


def request(strategy: str = "Random", **config: Any) -> dict[str, Any]:
    ranges = config.pop("ranges", {"ContinuousParameterRanges": [CONTINUOUS]})
    return {
        "HyperParameterTuningJobConfig": {
            "Strategy": strategy,
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
            "ParameterRanges": ranges,
            "RandomSeed": 1,
            **config,
        }
    }


def run(wanted: dict[str, Any], loss: Any, count: int) -> list[TrialState]:
    trials: list[TrialState] = []
    for number in range(count):
        values = Search(wanted, "tune", trials).next_values(number)
        assert values is not None
        trials.append(TrialState(number, values, has_ended=True, objective=loss(values)))
    return trials


def off(values: dict[str, str]) -> float:
    return abs(math.log10(float(values["rate"])) + 3)


def test_the_same_trials_lead_to_the_same_next_values() -> None:
    wanted = request("Bayesian")
    trials = run(wanted, off, 6)
    again = [Search(wanted, "tune", trials[:number]).next_values(number) for number in range(6)]
    assert again == [trial.values for trial in trials]
    assert len({trial.values["rate"] for trial in trials}) == 6


def test_bayesian_search_finds_what_random_search_does_not() -> None:
    best = {
        strategy: min(off(dict(trial.values)) for trial in run(request(strategy), off, 20)[10:])
        for strategy in ("Random", "Bayesian")
    }
    assert best["Bayesian"] < min(0.2, best["Random"] + 0.1), best


@pytest.mark.parametrize(
    ("kind", "given", "lowest", "highest"),
    [
        ("Continuous", {"MinValue": "0.5", "MaxValue": "0.999", "ScalingType": "ReverseLogarithmic"}, 0.5, 0.999),
        ("Continuous", {"MinValue": "-2", "MaxValue": "3", "ScalingType": "Linear"}, -2, 3),
        ("Continuous", {"MinValue": "1e-6", "MaxValue": "1", "ScalingType": "Auto"}, 1e-6, 1),
        ("Integer", {"MinValue": "1", "MaxValue": "4096", "ScalingType": "Logarithmic"}, 1, 4096),
        ("Integer", {"MinValue": "0", "MaxValue": "3"}, 0, 3),
    ],
)
def test_values_are_in_their_range(kind: str, given: dict[str, str], lowest: float, highest: float) -> None:
    wanted = request(ranges={f"{kind}ParameterRanges": [{"Name": "rate", **given}]})
    found = [float((Search(wanted, "tune", []).next_values(number) or {})["rate"]) for number in range(40)]
    assert all(lowest <= value <= highest for value in found)
    match given.get("ScalingType"):
        case "ReverseLogarithmic":
            middle = 1 - math.sqrt((1 - lowest) * (1 - highest))
        case "Logarithmic" | "Auto":
            middle = math.sqrt(lowest * highest)
        case _:
            middle = (lowest + highest) / 2
    assert 8 <= sum(value <= middle for value in found) <= 32
    if kind == "Integer":
        assert all(value.is_integer() for value in found)


def test_a_grid_ends() -> None:
    ranges = {"CategoricalParameterRanges": [{"Name": "a", "Values": ["1", "2"]}, {"Name": "b", "Values": ["x"]}]}
    wanted = request("Grid", ranges=ranges)
    assert list(grid(wanted)) == [{"a": "1", "b": "x"}, {"a": "2", "b": "x"}]
    assert Search(wanted, "tune", []).next_values(1) == {"a": "2", "b": "x"}
    assert Search(wanted, "tune", []).next_values(2) is None


def test_hyperband_stops_the_worst_of_a_bracket() -> None:
    limits = {"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": 9}}
    wanted = request("Hyperband", StrategyConfig=limits)
    trials = [TrialState(number, {"rate": "1e-3"}, True, 0.1, [0.1] * 9) for number in range(12)]  # noqa: FBT003
    running = [TrialState(12 + number, {"rate": "1e-3"}, reported=[9.0] * 3) for number in range(6)]
    stopped = Search(wanted, "tune", [*trials, *running]).hopeless()
    assert stopped
    assert stopped <= {trial.number for trial in running}
    assert not Search(wanted, "tune", [*trials, TrialState(12, {"rate": "1e-3"})]).hopeless()


def test_trials_of_other_ranges_and_failed_ones_teach_nothing() -> None:
    wanted = request("Bayesian")
    useless = [
        TrialState(-1, {"rate": "5"}, True, 0.0),  # noqa: FBT003
        TrialState(-2, {"other": "5"}, True, 0.0),  # noqa: FBT003
    ]
    assert Search(wanted, "tune", useless).next_values(0) == Search(wanted, "tune", []).next_values(0)
    failed = TrialState(0, {"rate": "1e-3"}, True, math.nan)  # noqa: FBT003
    assert Search(wanted, "tune", [failed]).next_values(1) is not None
