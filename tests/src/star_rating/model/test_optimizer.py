"""The optimizer does what learning_rate_schedule, warmup_ratio, weight_decay and gradient_clip_norm say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from star_rating.hyperparameters import Hyperparameters
from star_rating.model.optimizer import (
    WarmUpThenCosineDecay,
    WarmUpThenLinearDecay,
    WarmUpThenPolynomialDecay,
    build_optimizer,
    current_learning_rate,
)


def build(total_steps: int = 10, **texts: str) -> Any:
    return build_optimizer(Hyperparameters.from_texts(texts), total_steps)


def rates(schedule: WarmUpThenLinearDecay, steps: int) -> list[float]:
    return [float(schedule(tf.constant(step))) for step in range(steps)]


def test_the_linear_schedule_rises_to_its_peak_and_falls_to_zero() -> None:
    found = rates(WarmUpThenLinearDecay(peak=1.0, warm_up_steps=4, total_steps=12), 13)
    assert found[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert found[4:] == pytest.approx([1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0.0])


def test_without_warm_up_the_linear_schedule_starts_at_its_peak() -> None:
    assert rates(WarmUpThenLinearDecay(peak=2.0, warm_up_steps=0, total_steps=4), 4) == [2.0, 1.5, 1.0, 0.5]


def test_the_cosine_schedule_falls_along_half_a_wave() -> None:
    found = rates(WarmUpThenCosineDecay(peak=2.0, warm_up_steps=2, total_steps=6), 7)
    assert found == pytest.approx([1.0, 2.0, 2.0, 1.0 + 0.5**0.5, 1.0, 1.0 - 0.5**0.5, 0.0], abs=1e-6)


def test_the_polynomial_schedule_falls_as_a_power_of_what_is_left() -> None:
    found = rates(WarmUpThenPolynomialDecay(peak=2.0, warm_up_steps=2, total_steps=6, power=3.0), 7)
    assert found == pytest.approx([1.0, 2.0, 2.0, 2 * 0.75**3, 0.25, 2 * 0.25**3, 0.0])


@pytest.mark.parametrize("schedule", ["linear", "cosine", "polynomial"])
def test_learning_rate_schedule_chooses_the_shape(schedule: str) -> None:
    optimizer = build(9, learning_rate="1", learning_rate_schedule=schedule, polynomial_power="3", warmup_ratio="0")
    optimizer.iterations.assign(6)
    expected = {"linear": 1 / 3, "cosine": 0.25, "polynomial": 1 / 27}
    assert current_learning_rate(optimizer) == pytest.approx(expected[schedule])


def test_warmup_ratio_is_a_share_of_all_steps() -> None:
    optimizer = build(10, learning_rate="1", learning_rate_schedule="linear", warmup_ratio="0.2")
    assert current_learning_rate(optimizer) == pytest.approx(0.5)
    optimizer.iterations.assign(6)
    assert current_learning_rate(optimizer) == pytest.approx(0.5)


def test_the_constant_schedule_is_the_notebooks() -> None:
    optimizer = build(learning_rate="1e-5")
    optimizer.iterations.assign(9)
    assert current_learning_rate(optimizer) == pytest.approx(1e-5)


def test_the_numbers_are_those_of_keras_adam() -> None:
    options = {"learning_rate": "0.1", "learning_rate_schedule": "linear", "epsilon": "1e-4"}
    ours = build(10, **options)
    keras = tf_keras.optimizers.Adam(WarmUpThenLinearDecay(0.1, 1, 10), epsilon=1e-4)
    results = []
    for optimizer in (ours, keras):
        table, bias = tf.Variable(tf.ones([4, 2])), tf.Variable([1.0, 2.0])
        for step in range(5):
            rows = tf.IndexedSlices(tf.constant([[1.0, -step], [0.5, 2.0]]), tf.constant([1, 3]), tf.constant([4, 2]))
            optimizer.apply_gradients([(rows, table), (tf.constant([0.25, -step - 1.0]), bias)])
        results.append((table.numpy(), bias.numpy()))
    for our, their in zip(*results, strict=True):
        np.testing.assert_allclose(our, their, rtol=2e-5)


def test_what_all_variables_share_is_traced_once() -> None:
    optimizer = build()
    variables = [tf.Variable([1.0, 2.0]) for _ in range(3)]
    optimizer.build(variables)
    apply = tf.function(lambda: optimizer.apply_gradients([(tf.ones([2]), variable) for variable in variables]))
    operations = [operation.type for operation in apply.get_concrete_function().graph.get_operations()]
    assert operations.count("ResourceApplyAdam") == 3
    assert operations.count("Pow") == 2
    apply()
    optimizer.apply_gradients([(tf.ones([2]), variable) for variable in variables])  # and nothing of a graph stays
    assert int(optimizer.iterations) == 2


NAMES = ("c/classifier/kernel", "d/layer_1/lin1/kernel", "d/layer_0/lin1/kernel", "d/embeddings/word/embeddings")
"""From the head down."""


def moved(total_steps: int, steps: int, **texts: str) -> list[list[float]]:
    """Return what each step adds to a variable of each layer; its gradient is always 1."""
    optimizer = build(total_steps, learning_rate="1", **texts)
    variables = [tf.Variable([8.0], name=name) for name in NAMES]
    values = []
    for _ in range(steps):
        before = [float(variable[0]) for variable in variables]
        optimizer.apply_gradients([(tf.ones([1]), variable) for variable in variables])
        values.append([float(variable[0]) - old for variable, old in zip(variables, before, strict=True)])
    return values


def test_each_layer_has_a_smaller_learning_rate_than_the_one_above() -> None:
    (found,) = moved(9, 1, layer_learning_rate_decay="0.5")
    assert found == pytest.approx([-1.0, -0.5, -0.25, -0.125], rel=1e-5)


def test_layers_begin_to_train_from_the_top_within_the_share_of_the_steps() -> None:
    found = np.array(moved(12, 7, gradual_unfreezing="0.5"))
    trains = np.abs(found) > 0.5
    assert [int(column.argmax()) for column in trains.T] == [0, 2, 4, 6]
    assert (np.abs(found[trains] + 1.0) < 0.01).all(), "a layer does not start with a jump"
    assert not found[~trains].any()


def test_weight_decay_follows_the_layers_rates() -> None:
    plain = moved(12, 1, gradual_unfreezing="0.5", layer_learning_rate_decay="0.5")
    (found,) = moved(12, 1, gradual_unfreezing="0.5", layer_learning_rate_decay="0.5", weight_decay="0.1")
    assert found == pytest.approx([plain[0][0] - 0.1 * 8.0, 0.0, 0.0, 0.0], rel=1e-4)


def test_the_average_follows_the_weights_and_faster_in_the_first_steps() -> None:
    optimizer, variable, expected = build(learning_rate="1", weight_average_decay="0.25"), tf.Variable([3.0]), 3.0
    for step in range(6):
        optimizer.apply_gradients([(tf.ones([1]), variable)])
        decay = min(0.25, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * float(variable[0])
        assert float(optimizer.averages([variable])[0][0]) == pytest.approx(expected, rel=1e-5)
    assert build().averages([variable]) == []


def test_weight_decay_shrinks_kernels_and_leaves_biases_and_layer_norms() -> None:
    optimizer = build(learning_rate="0.1", weight_decay="0.5")
    names = ("layer_0/lin1/kernel", "layer_0/lin1/bias", "layer_0/sa_layer_norm/gamma", "embeddings/LayerNorm/beta")
    variables = [tf.Variable([2.0], name=name) for name in names]
    optimizer.apply_gradients([(tf.zeros([1]), variable) for variable in variables])
    assert [float(variable[0]) for variable in variables] == pytest.approx([2.0 - 0.1 * 0.5 * 2.0, 2.0, 2.0, 2.0])


def test_gradient_clip_norm_bounds_the_norm_of_all_gradients_together() -> None:
    optimizer = build(learning_rate="1", epsilon="1", gradient_clip_norm="1")
    whole, clipped = (tf.Variable([0.0]), tf.Variable([0.0])), (tf.Variable([0.0]), tf.Variable([0.0]))
    optimizer.apply_gradients([(tf.constant([30.0]), clipped[0]), (tf.constant([40.0]), clipped[1])])
    build(learning_rate="1", epsilon="1").apply_gradients(
        [(tf.constant([0.6]), whole[0]), (tf.constant([0.8]), whole[1])]
    )
    assert np.allclose([float(variable[0]) for variable in clipped], [float(variable[0]) for variable in whole])
