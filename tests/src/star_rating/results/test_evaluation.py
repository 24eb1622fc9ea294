"""Evaluation: measures against values worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from star_rating.results.evaluation import Evaluation, evaluate, probabilities

LABELS = np.array([0, 0, 1, 2, 2, 2])
PREDICTED = np.array([0, 1, 1, 2, 0, 2])


# Confusion matrices, and what f1_score(average="macro") of scikit-learn 1.9 gives for them.
MACRO_F1 = (
    (((0, 0, 0, 0, 0), (0, 0, 0, 0, 0), (0, 0, 0, 0, 0), (0, 0, 0, 0, 0), (0, 0, 0, 40, 0)), 0.0),
    (((0, 0, 0, 0, 0), (0, 0, 0, 0, 0), (0, 0, 10, 4, 6), (0, 0, 0, 0, 0), (0, 0, 0, 6, 14)), 0.45555555555555555),
    (((0, 0, 0, 0, 0), (4, 7, 0, 0, 1), (0, 0, 0, 0, 0), (3, 1, 0, 4, 6), (0, 1, 0, 0, 13)), 0.46895424836601307),
    (((7, 2, 0, 1, 3), (0, 0, 0, 0, 0), (0, 3, 0, 0, 2), (3, 4, 0, 1, 1), (2, 1, 0, 6, 4)), 0.20509462915601023),
    (((0, 0, 0, 0, 0), (0, 0, 0, 0, 0), (0, 0, 0, 0, 0), (5, 0, 2, 26, 7), (0, 0, 0, 0, 0)), 0.19696969696969696),
    (((0, 0, 0, 6, 8), (0, 0, 0, 0, 0), (0, 0, 0, 7, 6), (0, 0, 0, 0, 0), (0, 0, 0, 6, 7)), 0.10294117647058823),
    (((2, 1, 2, 2, 0), (0, 6, 4, 1, 0), (0, 0, 0, 0, 0), (0, 1, 1, 7, 0), (0, 1, 2, 4, 6)), 0.45694380879735574),
    (((7, 0, 0, 0, 0), (9, 6, 0, 0, 0), (0, 0, 0, 0, 0), (6, 0, 0, 12, 0), (0, 0, 0, 0, 0)), 0.6180623973727423),
)


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


def of_confusion(confusion: npt.NDArray[np.int64]) -> Evaluation:
    true, predicted = (np.repeat(where, confusion.ravel()) for where in np.indices(confusion.shape).reshape(2, -1))
    return evaluate(true, np.eye(len(confusion))[predicted])


@pytest.mark.parametrize(("confusion", "expected"), MACRO_F1)
def test_macro_f1_is_scikit_learns(confusion: tuple[tuple[int, ...], ...], expected: float) -> None:
    assert abs(of_confusion(np.array(confusion)).macro_f1 - expected) < 1e-12


def test_macro_f1_is_the_mean_of_the_classes_that_are_there() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        confusion = random.integers(0, 9, (5, 5)) * np.outer(random.random(5) < 0.5, random.random(5) < 0.6)
        if confusion.sum():
            either = confusion.sum(axis=0) + confusion.sum(axis=1)
            expected = np.mean(2 * confusion.diagonal()[either > 0] / either[either > 0])
            found = of_confusion(confusion)
            assert abs(found.macro_f1 - expected) < 1e-12
            assert found.absent_classes == [str(stars + 1) for stars in np.flatnonzero(either == 0)]


def test_a_class_that_is_not_there_shows(evaluation: Evaluation) -> None:
    assert evaluation.absent_classes == evaluation.as_dict()["absent_classes"] == ["4", "5"]
    assert evaluation.table()[5].split()[-3:] == ["-", "-", "-"]
    never_predicted, never_true = (
        of_confusion(matrix).table() for matrix in (np.eye(2, k=1, dtype=np.int64), np.eye(2, k=-1, dtype=np.int64))
    )
    assert never_predicted[1].split()[-3:] == ["-", "0.000", "0.000"]
    assert never_true[1].split()[-3:] == ["0.000", "-", "0.000"]
