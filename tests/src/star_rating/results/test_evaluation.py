"""Evaluation: measures against values worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from star_rating.results import model_quality
from star_rating.results.evaluation import Evaluation, evaluate, probabilities
from star_rating.results.model_quality import weighted_scores

LABELS = np.array([0, 0, 1, 2, 2, 2])
PREDICTED = np.array([0, 1, 1, 2, 0, 2])


SCORES = (
    "macro_f1",
    "quadratic_weighted_kappa",
    "mean_absolute_error",
    "accuracy",
    "weighted_precision",
    "weighted_recall",
    "weighted_f0_5",
    "weighted_f1",
    "weighted_f2",
)
# Confusion matrices with absent classes, and what scikit-learn 1.9.1 makes of them: f1_score(average="macro"),
# cohen_kappa_score(labels=range(5), weights="quadratic"), mean_absolute_error, accuracy_score, and
# precision_score, recall_score, fbeta_score(average="weighted"), all with zero_division=0.
OF_SCIKIT_LEARN = (
    (
        ((0, 0, 0, 0, 0), (0, 0, 0, 0, 0), (0, 0, 0, 0, 0), (0, 0, 0, 0, 0), (0, 0, 0, 40, 0)),
        (0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    ),
    (
        ((0, 0, 0, 0, 0), (0, 0, 0, 0, 0), (0, 0, 10, 4, 6), (0, 0, 0, 0, 0), (0, 0, 0, 6, 14)),
        (
            0.45555555555555555,
            0.5142857142857142,
            0.55,
            0.6,
            0.85,
            0.6,
            0.7666666666666667,
            0.6833333333333333,
            0.6277777777777778,
        ),
    ),
    (
        ((0, 0, 0, 0, 0), (4, 7, 0, 0, 1), (0, 0, 0, 0, 0), (3, 1, 0, 4, 6), (0, 1, 0, 0, 13)),
        (
            0.46895424836601307,
            0.6559766763848396,
            0.675,
            0.6,
            0.8108333333333334,
            0.6,
            0.694104609929078,
            0.6232026143790849,
            0.600219298245614,
        ),
    ),
    (
        ((7, 2, 0, 1, 3), (0, 0, 0, 0, 0), (0, 3, 0, 0, 2), (3, 4, 0, 1, 1), (2, 1, 0, 6, 4)),
        (
            0.20509462915601023,
            0.27379341452413175,
            1.475,
            0.3,
            0.3477083333333334,
            0.3,
            0.33655594366027175,
            0.32151406649616365,
            0.3081412664956012,
        ),
    ),
    (
        ((0, 0, 0, 0, 0), (0, 0, 0, 0, 0), (0, 0, 0, 0, 0), (5, 0, 2, 26, 7), (0, 0, 0, 0, 0)),
        (0.19696969696969696, 0.0, 0.6, 0.65, 1.0, 0.65, 0.9027777777777779, 0.7878787878787878, 0.6989247311827957),
    ),
    (
        ((0, 0, 0, 6, 8), (0, 0, 0, 0, 0), (0, 0, 0, 7, 6), (0, 0, 0, 0, 0), (0, 0, 0, 6, 7)),
        (
            0.10294117647058823,
            -0.00875172731460161,
            1.875,
            0.175,
            0.10833333333333332,
            0.175,
            0.1172680412371134,
            0.1338235294117647,
            0.15582191780821916,
        ),
    ),
    (
        ((2, 1, 2, 2, 0), (0, 6, 4, 1, 0), (0, 0, 0, 0, 0), (0, 1, 1, 7, 0), (0, 1, 2, 4, 6)),
        (
            0.45694380879735574,
            0.5892255892255892,
            0.775,
            0.525,
            0.7958333333333333,
            0.525,
            0.6768659412276434,
            0.584997457411645,
            0.539597158967686,
        ),
    ),
    (
        ((7, 0, 0, 0, 0), (9, 6, 0, 0, 0), (0, 0, 0, 0, 0), (6, 0, 0, 12, 0), (0, 0, 0, 0, 0)),
        (
            0.6180623973727423,
            0.5687885010266941,
            0.675,
            0.625,
            0.8806818181818181,
            0.625,
            0.7620261317629738,
            0.6587684729064038,
            0.6143831168831169,
        ),
    ),
)  # fmt: skip


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


@pytest.mark.parametrize(("confusion", "expected"), OF_SCIKIT_LEARN)
def test_the_scores_are_scikit_learns(confusion: tuple[tuple[int, ...], ...], expected: tuple[float, ...]) -> None:
    evaluation, weighted = of_confusion(np.array(confusion)), weighted_scores(np.array(confusion))
    ours = {name: weighted[name] if name in weighted else getattr(evaluation, name) for name in SCORES}
    ours["accuracy"] = evaluation.accuracy
    assert ours == pytest.approx(dict(zip(SCORES, expected, strict=True)), abs=1e-12, rel=0)
    assert weighted["accuracy"] == pytest.approx(evaluation.accuracy, abs=1e-12)


def test_kappa_is_one_where_all_is_right_and_zero_where_it_is_not_defined() -> None:
    assert of_confusion(np.diag([3, 1, 4, 1, 5])).quadratic_weighted_kappa == 1
    assert of_confusion(np.diag([0, 0, 4, 0, 0])).quadratic_weighted_kappa == 0
    assert of_confusion(np.fliplr(np.diag([2, 2, 2, 2, 2]))).quadratic_weighted_kappa == pytest.approx(-1)


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    # Ten records of confidence 0.9 of which six are right, and ten of 0.5 + epsilon of which all are.
    labels = np.array([0] * 6 + [1] * 4 + [0] * 10)
    shares = np.array([[0.9, 0.1]] * 10 + [[0.51, 0.49]] * 10)
    assert evaluate(labels, np.log(shares)).expected_calibration_error == pytest.approx((0.3 + 0.49) / 2)
    assert evaluate(np.zeros(5, np.int64), np.eye(2)[[0] * 5] * 1000.0).expected_calibration_error == 0


def test_accuracy_and_error_by_length() -> None:
    evaluation = evaluate(LABELS, np.eye(5)[PREDICTED] * 10.0, lengths=np.array([3, 8, 9, 64, 65, 512]))
    assert [(group.shortest, group.longest, group.records) for group in evaluation.by_length] == [
        (1, 8, 2), (9, 16, 1), (33, 64, 1), (65, 128, 1), (257, 512, 1),
    ]  # fmt: skip
    assert [(group.accuracy, group.mean_absolute_error) for group in evaluation.by_length[::3]] == [(0.5, 0.5), (0, 2)]
    assert sum(group.records for group in evaluation.by_length) == evaluation.records
    assert evaluate(LABELS, np.eye(5)[PREDICTED]).by_length == ()


def test_the_most_confident_mistakes_name_records_and_nothing_of_their_text() -> None:
    logits = np.eye(5)[PREDICTED] * np.array([[9.0], [1.0], [9.0], [9.0], [3.0], [9.0]])
    mistakes = evaluate(LABELS, logits).as_dict()["most_confident_mistakes"]
    assert [(entry["record"], entry["star_rating"], entry["predicted"]) for entry in mistakes] == [(4, 3, 1), (1, 1, 2)]
    assert mistakes[0].keys() == {"record", "star_rating", "predicted", "probability"}
    assert mistakes[0]["probability"] > mistakes[1]["probability"] == pytest.approx(np.e / (np.e + 4))
    many = evaluate(np.zeros(100, np.int64), np.eye(5)[[1] * 100] * 5.0)
    assert [mistake.record for mistake in many.most_confident_mistakes] == list(range(20))


def test_the_registrys_file_has_model_monitors_keys_and_deviations_from_200_records_on(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    for records, deviates in ((199, False), (200, True)):
        labels, logits = random.integers(0, 5, records), random.normal(size=(records, 5))
        model_quality.write(tmp_path / "model_quality.json", labels, logits)
        text = (tmp_path / "model_quality.json").read_text()
        metrics = json.loads(text)["multiclass_classification_metrics"]
        assert metrics.pop("confusion_matrix")["3"]["5"] == evaluate(labels, logits).confusion_matrix[2][4]
        names = ("accuracy", *(f"weighted_{name}" for name in ("recall", "precision", "f0_5", "f1", "f2")))
        assert metrics.keys() == {*names, *(f"{name}_best_constant_classifier" for name in names)}
        for metric in metrics.values():
            deviation = metric["standard_deviation"]
            assert 0 < deviation < 0.1 if deviates else deviation == "NaN"
        constant = evaluate(labels, logits).majority_class_accuracy
        assert metrics["accuracy_best_constant_classifier"]["value"] == pytest.approx(constant, abs=1e-12)
        model_quality.write(tmp_path / "model_quality.json", labels, logits)
        assert (tmp_path / "model_quality.json").read_text() == text


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
