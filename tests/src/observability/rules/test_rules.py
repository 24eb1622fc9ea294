"""Each rule with its default parameters: a reader on which it must fire, and one on which it must not."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from observability.rules.configuration import TENSOR_RULES, read_configurations
from observability.rules.evaluation import ERROR, ISSUES, NO_ISSUES, Evaluation, RuleStatus
from observability.rules.tensor_reader import SavedStep, TensorReader
from tests.helpers.saved_tensors import SavedTensors

Steps = list[tuple[str, dict[str, Any]]]
"""Mode and tensors of each saved step; 10 steps apart, as this image's hook saves by default."""

RANDOM = np.random.default_rng(7)

COLLECTIONS = {
    "losses": ["loss"],
    "metrics": ["accuracy", "examples"],
    "weights": ["kernel"],
    "gradients": ["gradient"],
    "labels": ["labels"],
    "predictions": ["predictions"],
}


def evaluate(folder: Path, steps: Steps, rule: str, parameters: Mapping[str, str] | None = None) -> RuleStatus:
    tensors = SavedTensors(folder, COLLECTIONS)
    for number, (mode, values) in enumerate(steps):
        tensors.save(mode, skip=9 if number and mode == "TRAIN" else 0, **values)
    texts = {"rule_to_invoke": rule, **(parameters or {})}
    configured = read_configurations([{"RuleConfigurationName": "one", "RuleParameters": texts}], "the test")
    evaluation = Evaluation(configured)
    for step in TensorReader(folder).new_steps(final=True):
        evaluation.feed(step)
    evaluation.finish()
    return evaluation.rules[0]


def training(**series: Sequence[Any]) -> Steps:
    return [("TRAIN", dict(zip(series, values, strict=True))) for values in zip(*series.values(), strict=True)]


def epochs(train: Sequence[Sequence[float]], validation: Any) -> Steps:
    """Steps of several epochs as Keras and smdebug save them: running means, and val_loss at each end."""
    steps: Steps = []
    for losses, of_validation in zip(train, validation, strict=True):
        means = np.cumsum(losses) / np.arange(1, len(losses) + 1)
        steps += [
            ("TRAIN", {"loss": mean, "examples": np.int64(320 * (index + 1))}) for index, mean in enumerate(means)
        ]
        steps.append(("EVAL", {"loss": means[-1], "val_loss": of_validation, "examples": np.int64(20)}))
    return steps


def noisy(levels: Any, noise: float = 0.05) -> list[float]:
    levels = np.asarray(levels, float)
    return list(levels * np.exp(noise * np.random.default_rng(3).standard_normal(len(levels))))


def normal(count: int, *shape: int, scale: float = 0.02) -> list[Any]:
    random = np.random.default_rng(5)
    return [np.float32(scale * random.standard_normal(shape or (8, 4))) for _ in range(count)]


def drifting(count: int, update: float) -> list[Any]:
    kernel = normal(1)[0]
    return [np.float32(kernel * (1 + update * step)) for step in range(count)]


def reduced(**reductions: Sequence[float]) -> Steps:
    """Steps of a gradient and a kernel of which only reductions are saved, as this image's hook does by default."""
    names = [f"smdebug/reductions/{kind}/{tensor}" for tensor in ("gradient", "kernel") for kind in reductions]
    return training(**dict(zip(names, [*reductions.values()] * 2, strict=True)))


def labelled(predict: Callable[[Any], Any], shares: Sequence[float] = (0.2,) * 5) -> Steps:
    labels = [np.random.default_rng(step).choice(len(shares), 64, p=shares) for step in range(20)]
    return training(labels=labels, predictions=[predict(of_step) for of_step in labels])


def often_wrong(labels: Any) -> Any:
    return np.where(labels == 3, 2, labels)


FALLING = np.linspace(1.6, 0.8, 40)
PLATEAU = np.concatenate([np.linspace(1.6, 1.0, 30), np.full(90, 1.0)])

SICK: dict[str, list[Steps]] = {
    "LossNotDecreasing": [
        training(loss=[1.609] * 12),
        training(loss=noisy(np.full(60, 1.609))),
        training(loss=[1.6, *noisy(np.full(12, 300.0), 0.5)]),
        training(loss=noisy(np.concatenate([FALLING, np.full(10, 2.0)]))),
    ],
    "Overtraining": [
        epochs(
            [[1.0 / epoch] * 4 for epoch in range(1, 5)] + [[0.2] * 4] * 12, [1.0, 0.9, 0.8, *np.linspace(0.81, 1, 13)]
        ),
    ],
    "Overfit": [epochs([[1.0] * 4, [0.6] * 4, [0.2] * 4], [1.0, 0.9, 1.1])],
    "ExplodingTensor": [
        training(kernel=[*normal(3), np.full((8, 4), np.nan, np.float32)]),
        training(gradient=[*normal(3), np.array([1.0, np.inf], np.float32)]),
        reduced(min=[-1.0, -1.0], max=[1.0, np.inf], mean=[0.1, 0.1]),
    ],
    "VanishingGradient": [training(gradient=[*normal(3), *normal(1, scale=1e-9)]), reduced(abs_mean=[1e-3, 1e-9])],
    "WeightUpdateRatio": [
        training(kernel=[*normal(2), *normal(1, scale=10.0)]),
        training(kernel=[normal(1)[0]] * 3),
    ],
    "AllZero": [training(gradient=[*normal(2), np.zeros((8, 4), np.float32)]), reduced(abs_max=[0.1, 0.0])],
    "UnchangedTensor": [training(loss=[1.5, 1.4, 1.3, 1.3, 1.3]), epochs([[1.6, 1.61]] * 3, [1.609] * 3)],
    "TensorVariance": [
        training(kernel=normal(2, scale=4.0)),
        training(kernel=normal(2, scale=0.001)),
        reduced(variance=[0.1, 11.0]),
    ],
    "ClassImbalance": [
        labelled(lambda labels: labels, (0.5, 0.3, 0.1, 0.08, 0.02)),
        labelled(often_wrong),
    ],
    "Confusion": [labelled(often_wrong)],
    "PoorWeightInitialization": [
        training(loss=[1.6, *[1.61] * 9], gradient=normal(10, scale=1e-5)),
        training(loss=[1.6, *[1.61] * 9], a_relu_input=normal(10), b_relu_input=normal(10, scale=1.0)),
    ],
    "SaturatedActivation": [
        training(a_tanh_input=normal(2, 32, 10, scale=1e4)),
        training(a_sigmoid_input=[np.full((32, 10), 20, np.float32)]),
    ],
}

HEALTHY: dict[str, list[Steps]] = {
    "LossNotDecreasing": [
        training(loss=noisy(FALLING)),
        training(loss=noisy(PLATEAU)),
        epochs([noisy(np.linspace(1.6, 1.3, 10), 0.03), noisy(np.linspace(1.1, 1.0, 10), 0.03)], [1.2, 1.1]),
    ],
    "Overtraining": [epochs([[1.0 / epoch] * 4 for epoch in range(1, 16)], np.linspace(1.0, 0.5, 15))],
    "Overfit": [epochs([[1.5, 1.2], [1.0, 0.9], [0.9, 0.8]], [1.1, 1.0, 1.0])],
    "ExplodingTensor": [
        training(loss=[1.5, 1e30], kernel=normal(2)),
        reduced(min=[-1.0, -1.0], max=[1.0, 1e9], mean=[0.1, 0.1]),
    ],
    "VanishingGradient": [training(gradient=normal(5, scale=1e-5)), reduced(abs_mean=[1e-3, 1e-6])],
    "WeightUpdateRatio": [training(kernel=drifting(5, 0.01))],
    "AllZero": [training(kernel=normal(3), accuracy=[0.0, 0.0, 0.1]), reduced(abs_max=[0.1, 0.2])],
    "UnchangedTensor": [training(loss=[1.5, 1.4, 1.3, 1.3, 1.2, 1.3])],
    "TensorVariance": [training(kernel=normal(2)), reduced(variance=[0.1, 1.0])],
    "ClassImbalance": [labelled(lambda labels: labels)],
    "Confusion": [labelled(lambda labels: labels)],
    "PoorWeightInitialization": [training(loss=[1.6, *[1.5] * 9], gradient=normal(10, scale=1e-5))],
    "SaturatedActivation": [training(a_tanh_input=normal(2, 32, 10, scale=1.0))],
}


def cases(of: Mapping[str, Sequence[Steps]]) -> list[Any]:
    return [
        pytest.param(rule, steps, id=f"{rule}-{index}")
        for rule, trials in of.items()
        for index, steps in enumerate(trials)
    ]


@pytest.mark.parametrize(("rule", "steps"), cases(SICK))
def test_a_rule_fires_on_a_sick_run(tmp_path: Path, rule: str, steps: Steps) -> None:
    verdict = evaluate(tmp_path, steps, rule)
    assert verdict.status == ISSUES, verdict.details
    assert f"rule one at step {verdict.findings[0].step}" in verdict.details


@pytest.mark.parametrize(("rule", "steps"), cases(HEALTHY))
def test_a_rule_is_silent_on_a_healthy_run(tmp_path: Path, rule: str, steps: Steps) -> None:
    verdict = evaluate(tmp_path, steps, rule)
    assert (verdict.status, verdict.details) == (NO_ISSUES, "")


@pytest.mark.parametrize(("pause", "status"), [(1801, ISSUES), (1799, NO_ISSUES)])
def test_a_pause_between_two_steps_is_a_stall(tmp_path: Path, pause: int, status: str) -> None:
    evaluation = stall_rule()
    for step in steps_at(tmp_path, [1000.0, 1010.0, 1010.0 + pause, 1020.0 + pause]):
        evaluation.feed(step)
    evaluation.finish()
    verdict = evaluation.rules[0]
    assert verdict.status == status
    if status == ISSUES:
        assert [(finding.step, finding.value) for finding in verdict.findings] == [(2, pause)]
        assert "no tensor was saved for 1801 s before it" in verdict.details


def test_a_run_that_saves_nothing_more_is_a_stall_while_it_is_followed(tmp_path: Path) -> None:
    evaluation = stall_rule()
    for step in steps_at(tmp_path, [1000.0, 1010.0]):
        evaluation.feed(step)
    assert not evaluation.wait(1010.0 + 1799)
    assert evaluation.rules[0].is_open
    assert evaluation.wait(1010.0 + 1801) == evaluation.rules
    assert evaluation.rules[0].status == ISSUES
    assert [(finding.step, finding.value) for finding in evaluation.rules[0].findings] == [(1, 1801)]


def stall_rule() -> Evaluation:
    texts = {"rule_to_invoke": "StalledTrainingRule"}
    return Evaluation(read_configurations([{"RuleConfigurationName": "one", "RuleParameters": texts}], "the test"))


def steps_at(folder: Path, times: Sequence[float]) -> list[SavedStep]:
    """Return steps saved at those times, in seconds."""
    tensors = SavedTensors(folder, COLLECTIONS)
    for number, written_at in enumerate(times):
        tensors.save("TRAIN", loss=1.0)
        os.utime(tensors.index(number), (written_at, written_at))
    return list(TensorReader(folder).new_steps(final=True))


def test_every_rule_has_both() -> None:
    assert set(SICK) == set(HEALTHY) == set(TENSOR_RULES) - {"StalledTrainingRule"}


@pytest.mark.parametrize("rule", sorted(set(SICK) - {"ExplodingTensor", "AllZero"}))
def test_a_rule_says_which_tensors_it_misses(tmp_path: Path, rule: str) -> None:
    verdict = evaluate(tmp_path, training(accuracy=[0.1, 0.2]), rule)
    assert verdict.status == ERROR
    assert verdict.details.startswith("Not evaluated: ")
