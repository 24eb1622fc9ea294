"""docs/cost.md says what the model computes that `launcher check` uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.measuring.useful_work import useful_flops
from launcher.checks.estimate import Work, cores_and_rate, estimate
from launcher.data import hourly_price, load, spot_price_share

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "cost.md").read_text(encoding="utf-8")
SPEED = load("training_speed.json")
TYPES = ("ml.c5.9xlarge", "ml.c6i.8xlarge", "ml.c7i.8xlarge", "ml.m7i.8xlarge", "ml.c5.2xlarge")
REVIEWS = 100_000


def row(instance_type: str, length: int) -> str:
    machine, predicted = cores_and_rate(instance_type), estimate(Work(REVIEWS, length), instance_type)
    price = hourly_price("us-east-1", instance_type)
    assert machine
    assert predicted
    assert price
    dollars, spot = predicted.dollars(price), predicted.dollars(price * spot_price_share())
    minutes = [round(seconds / 60) for seconds in (predicted.expected, predicted.fastest, predicted.slowest)]
    return (
        f"| {instance_type} | {machine[0]:g} | {length} | {minutes[0]} min ({minutes[1]} to {minutes[2]}) "
        f"| ${dollars.expected:.2f} ({dollars.fastest:.2f} to {dollars.slowest:.2f}) | ${spot.expected:.2f} |"
    )


def uncertain_rows() -> list[str]:
    serial, rate = SPEED["serial_share"], SPEED["core_rate_factor"]
    cases = ("expected", "fastest", "slowest")
    return [
        "| s | " + " | ".join(f"{serial[case]:.1%}" for case in cases) + " |",
        "| a core's rate, in units of the expected one | " + " | ".join(f"{rate[case]:.2f}" for case in cases) + " |",
    ]


@pytest.mark.parametrize("length", [64, 128])
@pytest.mark.parametrize("instance_type", TYPES)
def test_the_page_has_the_model_s_row(instance_type: str, length: int) -> None:
    assert row(instance_type, length) in PAGE


def test_the_page_of_sizes_has_the_model_s_range() -> None:
    predicted = estimate(Work(REVIEWS, 128), "ml.c5.9xlarge")
    assert predicted
    dollars = predicted.dollars(hourly_price("us-east-1", "ml.c5.9xlarge") or 0)
    minutes = f"{predicted.fastest / 60:.0f} to {predicted.slowest / 60:.0f} min"
    page = (REPOSITORY / "docs" / "data.md").read_text(encoding="utf-8")
    assert f"| {minutes} | ${dollars.fastest:.2f} to {dollars.slowest:.2f} |" in page


def test_the_page_has_the_model_s_uncertainty() -> None:
    for line in uncertain_rows():
        assert line in PAGE


def test_the_model_counts_the_work_that_the_benchmark_counts() -> None:
    geometry = {"dim": 768, "hidden_dim": 3072, "n_layers": 6}
    assert SPEED["flops_per_token"] == useful_flops(geometry, tokens=1, reviews=0)
    assert SPEED["flops_per_record"] == useful_flops(geometry, tokens=0, reviews=1)


def test_on_the_measured_machine_the_model_says_what_was_measured() -> None:
    # benchmarks/results/training-intel.json: 15.6 reviews a second on two cores at length 128.
    predicted = estimate(Work(REVIEWS, 128), "ml.c7i.xlarge")
    assert predicted
    assert REVIEWS / (predicted.expected - SPEED["start_and_export_seconds"]) == pytest.approx(15.6, rel=0.05)


def test_more_cores_help_as_amdahl_s_law_says_and_work_adds_up() -> None:
    def seconds(work: Work, instance_type: str) -> float:
        predicted = estimate(work, instance_type)
        assert predicted
        assert predicted.fastest < predicted.expected < predicted.slowest
        return predicted.expected - float(SPEED["start_and_export_seconds"])

    one = seconds(Work(REVIEWS, 128), "ml.c5.xlarge")
    assert one / seconds(Work(REVIEWS, 128), "ml.c5.9xlarge") == pytest.approx(4.35, abs=0.1)
    assert seconds(Work(2 * REVIEWS, 128), "ml.c5.xlarge") == pytest.approx(2 * one)
    assert seconds(Work(REVIEWS, 128, evaluated=3 * REVIEWS), "ml.c5.xlarge") == pytest.approx(2 * one, rel=1e-3)
    assert seconds(Work(REVIEWS, 64), "ml.c5.xlarge") < 0.75 * one
    assert seconds(Work(REVIEWS, 512), "ml.c5.xlarge") < 1.8 * one


@pytest.mark.parametrize("instance_type", ["ml.g4dn.xlarge", "ml.c7i.flex", "c5.9xlarge", "ml.p3.2xlarge", "local"])
def test_nothing_is_said_of_machines_that_nobody_has_measured(instance_type: str) -> None:
    assert estimate(Work(REVIEWS, 128), instance_type) is None
