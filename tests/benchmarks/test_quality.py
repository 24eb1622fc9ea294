"""benchmarks/quality.py: folds without a leak, standard errors by group, runs that are not done twice."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import quality
from benchmarks.measuring import figure
from benchmarks.measuring.children import PROJECT
from benchmarks.measuring.quality import (
    FOLDS,
    MEASURES,
    Counts,
    Reviews,
    count,
    differences,
    make_folds,
    read_reviews,
    with_errors,
)
from benchmarks.quality import Judge, parse_recipe, read_predictions, summarise, table, write_fold
from star_rating.hyperparameters import Hyperparameters
from star_rating.results.evaluation import evaluate
from star_rating.results.predictions import write_predictions
from tests.helpers.tiny_model import tiny_weights


@pytest.fixture(scope="module")
def reviews() -> Reviews:
    return read_reviews(PROJECT / "data" / "reviews.tsv")


class TestFolds:
    def test_every_review_is_tested_once_and_no_group_is_on_two_sides(self, reviews: Reviews) -> None:
        folds = make_folds(reviews, seed=42)
        assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(len(reviews.labels)))
        for fold in folds:
            parts = [set(reviews.groups[rows]) for rows in (fold.train, fold.validation, fold.test)]
            assert sum(map(len, parts)) == len(set().union(*parts)) == reviews.groups.max() + 1

    def test_every_part_has_its_share_of_every_class(self, reviews: Reviews) -> None:
        whole = np.bincount(reviews.labels) / len(reviews.labels)
        for fold in make_folds(reviews, seed=7):
            assert [len(fold.test), len(fold.validation)] == pytest.approx([742, 185], rel=0.05)
            assert np.bincount(reviews.labels[fold.test]) / len(fold.test) == pytest.approx(whole, abs=0.01)

    def test_copies_of_a_text_and_sentences_of_a_review_are_one_group(self, tmp_path: Path) -> None:
        rows = ["a\t1\tone", "b\t2\ttwo", "b\t2\tthree", "c\t3\tone", "d\t4\tfour"]
        path = tmp_path / "reviews.tsv"
        path.write_text("\n".join(["review_id\tstar_rating\treview_body", *rows]), encoding="utf-8")
        a, b, also_b, c, d = read_reviews(path).groups
        assert (a, b) == (c, also_b)
        assert len({a, b, d}) == 3

    def test_another_seed_deals_otherwise(self, reviews: Reviews) -> None:
        one, other = (make_folds(reviews, seed)[0].test.tolist() for seed in (1, 2))
        assert one != other
        assert one == make_folds(reviews, 1)[0].test.tolist()


def counts_of(predicted: list[int], labels: list[int], groups: list[int]) -> Counts:
    shares = np.eye(5)[predicted]
    return count(np.array(labels), shares, shares, np.array(groups), max(groups) + 1)


class TestMeasures:
    def test_they_are_those_of_the_evaluation(self) -> None:
        pick = np.random.default_rng(0)
        logits, labels = pick.normal(0, 2, (400, 5)), pick.integers(0, 5, 400)
        hot = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        warm = np.exp(logits / 2) / np.exp(logits / 2).sum(axis=1, keepdims=True)
        found = with_errors(count(labels, warm, hot, pick.integers(0, 30, 400), 30))
        after, before = evaluate(labels, logits, temperature=2.0), evaluate(labels, logits)
        for name in list(MEASURES)[:-1]:
            assert found[name]["value"] == pytest.approx(getattr(after, name), abs=1e-12)
        assert found["uncalibrated_error"]["value"] == pytest.approx(before.expected_calibration_error, abs=1e-12)

    def test_the_error_of_a_mean_over_single_records_is_the_textbooks(self) -> None:
        labels, predicted = [0, 1, 2, 3, 4, 0, 1, 2], [0, 1, 2, 3, 0, 1, 2, 3]
        hits = np.equal(labels, predicted)
        error = with_errors(counts_of(predicted, labels, list(range(8))))["accuracy"]["standard_error"]
        assert error == pytest.approx(hits.std(ddof=1) / np.sqrt(8))

    def test_copies_in_one_group_do_not_make_it_more_certain(self) -> None:
        labels, predicted = [0, 1, 2, 3, 4, 0, 1, 2], [0, 1, 2, 3, 0, 1, 2, 3]
        once = with_errors(counts_of(predicted, labels, list(range(8))))
        thrice = with_errors(counts_of(predicted * 3, labels * 3, list(range(8)) * 3))
        assert thrice["accuracy"] == pytest.approx(once["accuracy"])

    def test_a_group_without_records_does_not_count(self) -> None:
        labels, predicted = [0, 1, 2, 3], [0, 1, 2, 0]
        dense, sparse = (with_errors(counts_of(predicted, labels, groups)) for groups in ([0, 1, 2, 3], [0, 5, 6, 9]))
        assert dense == sparse

    def test_differences_are_paired(self) -> None:
        labels = [0, 1, 2, 3, 4] * 20
        ours = [min(label + (row % 3 == 0), 4) for row, label in enumerate(labels)]
        # Theirs is wrong wherever ours is, and in two records more.
        theirs = [4 if row in (5, 50) else star for row, star in enumerate(ours)]
        groups = list(range(100))
        found = differences(counts_of(ours, labels, groups), counts_of(theirs, labels, groups))
        assert found["accuracy"]["value"] == pytest.approx(0.02)
        assert found["accuracy"]["standard_error"] == pytest.approx(np.sqrt(0.02 * 0.98 / 99))
        errors = [np.abs(np.subtract(labels, predicted)).sum() for predicted in (ours, theirs)]
        assert found["error_reduction"]["value"] == pytest.approx(1 - errors[0] / errors[1])


class TestDriver:
    def test_a_recipe_is_of_hyperparameters_and_has_a_label(self) -> None:
        for name, recipe in quality.RECIPES.items():
            assert Hyperparameters.from_texts(recipe)
            assert name in quality.LABELS

    def test_every_rival_has_a_module_and_a_label(self) -> None:
        for name, (module, _) in quality.RIVALS.items():
            assert (PROJECT / "benchmarks" / "contestants" / f"{module}.py").is_file()
            assert name in quality.LABELS

    def test_a_recipe_is_a_name_and_hyperparameters(self) -> None:
        assert parse_recipe(["mine", "epochs=4", "loss=ordinal"]) == ("mine", {"epochs": "4", "loss": "ordinal"})
        with pytest.raises(SystemExit, match="mine epochs: a name and HYPERPARAMETER=VALUE"):
            parse_recipe(["mine", "epochs"])

    def test_predictions_are_read_as_the_model_decided_them(self, reviews: Reviews, tmp_path: Path) -> None:
        fold = make_folds(reviews, seed=1)[0]
        write_fold(tmp_path, reviews, fold)
        labels = reviews.labels[fold.test]
        logits = np.random.default_rng(0).normal(0, 1e-5, (len(labels), 5))  # alike in four decimals
        write_predictions(tmp_path / "predictions.csv", labels, logits)
        shares = read_predictions(tmp_path / "predictions.csv", tmp_path / "test.tsv")
        assert shares.argmax(axis=1).tolist() == logits.argmax(axis=1).tolist()
        with pytest.raises(ValueError, match="not of the records of"):
            read_predictions(tmp_path / "predictions.csv", tmp_path / "train.tsv")

    def test_the_table_and_the_picture_have_everybody(self, reviews: Reviews, tmp_path: Path) -> None:
        folds = {1: make_folds(reviews, seed=1)}
        runs = []
        contestants = ["ours", "ours-r-drop", "huggingface-trainer", "tf-idf"]
        for name, share in zip(contestants, (0.4, 0.35, 0.3, 0.2), strict=True):
            for number in range(1, FOLDS + 1):
                labels = reviews.labels[folds[1][number - 1].test]
                shares = share * np.eye(5)[labels] + (1 - share) * np.random.default_rng(number).random(
                    (len(labels), 5)
                )
                probabilities = (shares / shares.sum(axis=1, keepdims=True)).tolist()
                spent = {"seconds": 2.0, "processor_seconds": 3.0, "fit_seconds": 1.0}
                key = {"settings": {"epochs": "3"}}
                run = {"contestant": name, "seed": 1, "fold": number, "key": key, **spent}
                runs.append({**run, "probabilities": probabilities, "uncalibrated": probabilities})
        results = json.loads(json.dumps(summarise(runs, contestants, reviews, folds)))
        ours, recipe, trainer, theirs = (
            results["contestants"][name]["measures"]["accuracy"]["value"] for name in contestants
        )
        assert results["ours_less_others"]["tf-idf"]["accuracy"]["value"] == pytest.approx(ours - theirs)
        found = results["recipes_less_trainer"]
        assert list(found) == ["ours-r-drop"]
        assert found["ours-r-drop"]["accuracy"]["value"] == pytest.approx(recipe - trainer)
        assert results["ours_less_others_where_nothing_was_chosen"]["not_on_folds"] == list(quality.CHOSEN_ON)
        assert "".join(run["predicted"] for run in results["runs"]).count("1") > 100
        lines = table(results).splitlines()
        assert f"{ours:.3f}" in lines[1]
        assert lines[-1].startswith(quality.LABELS["ours-r-drop"])
        figure.draw_quality(results, tmp_path / "picture.png", quality.LABELS)
        assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")

    @pytest.mark.long  # a job from prepare to predictions, twice: half a minute
    def test_a_finished_run_is_not_done_again_unless_its_recipe_changes(self, tmp_path: Path) -> None:
        weights = tiny_weights(tmp_path / "weights")
        rows = [f"{row // 2}\t{row % 5 + 1}\t{['good', 'bad', 'camera', 'phone'][row % 4]} {row}" for row in range(400)]
        path = tmp_path / "reviews.tsv"
        path.write_text("\n".join(["review_id\tstar_rating\treview_body", *rows]), encoding="utf-8")
        reviews = read_reviews(path)
        fold = make_folds(reviews, seed=3)[0]
        recipe = {"epochs": "1", "max_seq_length": "16", "enable_sagemaker_debugger": "False"}
        judge = Judge(tmp_path / "work", reviews, weights, Path(sys.executable), {"ours": recipe}, again=False)
        run = judge.run("ours", 3, 1, fold)
        assert np.shape(run["probabilities"]) == (len(fold.test), 5)
        assert run["processor_seconds"] > 1
        assert judge.run("ours", 3, 1, fold) == run
        other = dataclasses.replace(judge, recipes={"ours": {**recipe, "learning_rate": "1e-3"}})
        assert other.run("ours", 3, 1, fold)["probabilities"] != run["probabilities"]
