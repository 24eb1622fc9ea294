"""Temperature scaling: what it finds, what it leaves alone, and the SavedModel that has it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from star_rating.results.calibration import FEWEST_RECORDS, HIGHEST, LOWEST, UNCALIBRATED, fit_temperature
from star_rating.results.evaluation import Floats, Integers, cross_entropy, evaluate, probabilities


def drawn(records: int, scale: float, seed: int = 0) -> tuple[Integers, Floats]:
    """Return labels drawn from the probabilities of logits, and these logits times `scale`."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (records, 5))
    cumulative = probabilities(logits).cumsum(axis=1)
    labels = (random.random((records, 1)) > cumulative).sum(axis=1).clip(max=4)
    return labels, logits * scale


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_it_finds_by_how_much_logits_are_too_large(scale: float) -> None:
    assert fit_temperature(*drawn(20_000, scale)).temperature == pytest.approx(scale, rel=0.05)


def test_no_other_temperature_has_less_loss() -> None:
    labels, logits = drawn(500, 2.5)
    best = fit_temperature(labels, logits).temperature
    losses = [cross_entropy(labels, logits / temperature) for temperature in np.linspace(0.3, 9, 400)]
    assert cross_entropy(labels, logits / best) <= min(losses) + 1e-9


def test_it_halves_the_error_of_overconfident_predictions_of_another_channel_and_changes_no_prediction() -> None:
    calibration = fit_temperature(*drawn(1000, 3.0))
    labels, logits = drawn(1000, 3.0, seed=1)
    error = calibration.effect(labels, logits)["expected_calibration_error"]
    assert error["after"] < error["before"] / 2
    before, after = evaluate(labels, logits), evaluate(labels, logits, temperature=calibration.temperature)
    assert after.expected_calibration_error == error["after"]
    assert (after.loss, after.confusion_matrix) == (before.loss, before.confusion_matrix)
    assert after.most_confident_mistakes[0].probability < before.most_confident_mistakes[0].probability


def test_it_stays_within_bounds_where_there_is_no_best_temperature() -> None:
    labels = np.arange(100) % 5
    assert fit_temperature(labels, np.eye(5)[labels]).temperature == pytest.approx(LOWEST, rel=1e-3)
    assert fit_temperature(labels, np.eye(5)[(labels + 1) % 5]).temperature == pytest.approx(HIGHEST, rel=1e-3)


def test_too_few_records_and_logits_that_are_not_finite_fit_nothing() -> None:
    labels, logits = drawn(FEWEST_RECORDS, 3.0)
    assert fit_temperature(labels, logits).fitted_on == FEWEST_RECORDS
    assert fit_temperature(labels[1:], logits[1:]) == UNCALIBRATED
    logits[3, 2] = np.nan
    assert fit_temperature(labels, logits) == UNCALIBRATED


def test_the_file_beside_the_model_says_on_what_it_was_fitted(tmp_path: Path) -> None:
    calibration = fit_temperature(*drawn(200, 3.0))
    calibration.write(tmp_path / "calibration.json")
    document = json.loads((tmp_path / "calibration.json").read_text())
    assert document == {"temperature": calibration.temperature, "fitted_on": 200}
