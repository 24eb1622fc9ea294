"""Evaluation: measures against values worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from star_rating.results.evaluation import Evaluation, evaluate, probabilities

LABELS = np.array([0, 0, 1, 2, 2, 2])
PREDICTED = np.array([0, 1, 1, 2, 0, 2])


@pytest.fixture
def evaluation() -> Evaluation:
    return evaluate(LABELS, np.eye(5)[PREDICTED] * 10.0)


def test_rows_of_the_confusion_matrix_are_true_and_columns_predicted(evaluation: Evaluation) -> None:
    assert evaluation.confusion_matrix[0][:3] == (1, 1, 0)
    assert evaluation.confusion_matrix[2][:3] == (1, 0, 2)


def test_scores_of_a_class(evaluation: Evaluation) -> None:
    assert evaluation.per_class["1"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}
    assert evaluation.per_class["3"]["precision"] == 1.0
    assert evaluation.per_class["3"]["recall"] == pytest.approx(2 / 3)
    assert evaluation.per_class["5"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}


def test_single_numbers(evaluation: Evaluation) -> None:
    assert evaluation.accuracy == pytest.approx(4 / 6)
    assert evaluation.within_one_star == pytest.approx(5 / 6)
    assert evaluation.mean_absolute_error == pytest.approx(3 / 6)
    assert evaluation.majority_class_accuracy == pytest.approx(3 / 6)


def test_loss_is_the_mean_cross_entropy() -> None:
    logits = np.array([[0.0, 0.0], [0.0, np.log(3.0)]])
    assert evaluate(np.array([0, 1]), logits).loss == pytest.approx((np.log(2) + np.log(4 / 3)) / 2)


def test_large_logits_do_not_overflow() -> None:
    assert probabilities(np.array([[1000.0, 0.0]])).tolist() == [[1.0, 0.0]]


def test_the_file_has_the_notebooks_shape(evaluation: Evaluation, tmp_path: Path) -> None:
    evaluation.write(tmp_path / "metrics" / "evaluation.json")
    document = json.loads((tmp_path / "metrics" / "evaluation.json").read_text())
    assert document["metrics"]["accuracy"]["value"] == pytest.approx(4 / 6)


def test_the_table_shows_every_class(evaluation: Evaluation) -> None:
    assert len(evaluation.table()) == 6
    assert evaluation.table()[1].split() == ["1", "1", "1", "0", "0", "0", "0.500", "0.500", "0.500"]
