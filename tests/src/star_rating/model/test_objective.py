"""The training losses are the papers' formulas, written here a second time in NumPy; the default one is Keras's."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
import tf_keras

from star_rating.distributed.strategy import SingleHostStrategy
from star_rating.hyperparameters import Hyperparameters
from star_rating.model.config import DistilBertConfig
from star_rating.model.objective import balanced_weights, build_objective, cross_entropy, target_shares
from star_rating.model.train_step import TrainableClassifier, divergence, twice

LABELS = np.array([0, 1, 2, 3, 4, 2])
LOGITS = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
SHARES = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
COUNTS = (10, 0, 20, 30, 40)
TINY = DistilBertConfig(vocab_size=20, max_position_embeddings=8, n_layers=1, n_heads=2, dim=8, hidden_dim=8)


def losses(logits: npt.NDArray[np.float32] = LOGITS, /, **texts: str) -> npt.NDArray[np.float32]:
    objective = build_objective(Hyperparameters.from_texts(texts), COUNTS)
    found: npt.NDArray[np.float32] = objective(tf.constant(LABELS), tf.constant(logits)).numpy()
    return found


def one_hot() -> npt.NDArray[np.float64]:
    rows: npt.NDArray[np.float64] = np.eye(5)[LABELS]
    return rows


def test_the_default_is_the_cross_entropy_that_keras_computes() -> None:
    assert build_objective(Hyperparameters()) is cross_entropy
    keras = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="none")
    np.testing.assert_array_equal(losses(), keras(LABELS, LOGITS))


def test_label_smoothing_is_kerass() -> None:
    keras = tf_keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.2, reduction="none")
    np.testing.assert_allclose(losses(label_smoothing="0.2"), keras(one_hot(), LOGITS), rtol=1e-6)


def test_balanced_weights_are_scikit_learns() -> None:
    # compute_class_weight("balanced"): records / (classes that are there * records of the class)
    assert balanced_weights(COUNTS).tolist() == [2.5, 0.0, 1.25, pytest.approx(100 / 120), 0.625]
    weights = balanced_weights(COUNTS)
    assert float((weights * COUNTS).sum()) == pytest.approx(sum(COUNTS)), "their mean over the reviews is 1"
    np.testing.assert_allclose(losses(class_weights="balanced"), weights[LABELS] * losses(), rtol=1e-6)


def test_balanced_weights_need_the_channels_counts() -> None:
    with pytest.raises(ValueError, match="records per class"):
        build_objective(Hyperparameters(class_weights="balanced"))


def test_soft_labels_fall_by_exp_minus_2_per_star() -> None:
    shares = target_shares("soft_labels", 0.0)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(shares[2] / shares[2, 2], np.exp([-4.0, -2.0, 0.0, -2.0, -4.0]), rtol=1e-6)
    expected = -(shares[LABELS] * np.log(SHARES)).sum(axis=1)
    np.testing.assert_allclose(losses(loss="soft_labels"), expected, rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_ordinal_loss_is_four_binary_cross_entropies(smoothing: float) -> None:
    truth = (1 - smoothing) * one_hot() + smoothing / 5
    expected = np.zeros(len(LABELS))
    for boundary in range(1, 5):
        above, predicted = truth[:, boundary:].sum(axis=1), SHARES[:, boundary:].sum(axis=1)
        expected -= above * np.log(predicted) + (1 - above) * np.log(1 - predicted)
    np.testing.assert_allclose(losses(loss="ordinal", label_smoothing=str(smoothing)), expected, rtol=1e-4)


def test_to_the_ordinal_loss_a_far_error_is_worse_than_a_near_one_and_to_cross_entropy_it_is_not() -> None:
    near, far = 4.0 * np.eye(5)[[1, 2, 3, 4, 3, 3]], 4.0 * np.eye(5)[[4, 4, 4, 0, 0, 4]]
    assert (losses(far.astype(np.float32), loss="ordinal") > losses(near.astype(np.float32), loss="ordinal")).all()
    np.testing.assert_allclose(losses(far.astype(np.float32)), losses(near.astype(np.float32)), rtol=1e-6)


def test_the_ordinal_loss_is_finite_and_has_gradients_if_the_model_is_sure_and_wrong() -> None:
    objective = build_objective(Hyperparameters(loss="ordinal"))
    logits = tf.constant(np.float32(200.0) * np.eye(5, dtype=np.float32)[::-1])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = objective(tf.range(5), logits)
    gradients = tape.gradient(loss, logits).numpy()
    assert np.isfinite(loss).all()
    assert np.isfinite(gradients).all()
    assert (np.abs(gradients[[0, 1, 3, 4]]).max(axis=1) > 0.5).all()


@pytest.mark.parametrize("setting", [{"loss": "ordinal"}, {"class_weights": "balanced"}])
def test_a_step_trains_on_the_objective_and_parts_of_a_batch_add_up_to_it(setting: dict[str, str]) -> None:
    objective = build_objective(Hyperparameters.from_texts(setting), COUNTS)
    model = TrainableClassifier(TINY, 5, SingleHostStrategy(), objective=objective, seed=1)
    ids = tf.ones([6, 4], tf.int32)
    features = {"input_ids": ids, "input_mask": ids}
    model.compile(tf_keras.optimizers.Adam(), tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.call = lambda *_arguments, **_options: tf.constant(LOGITS)
    expected = float(losses(**setting).mean())
    for weights in ((), (tf.fill([6], 1 / 6),)):
        _, sums = model.local_step((features, tf.constant(LABELS, tf.int32), *weights))
        assert float(sums[0]) == pytest.approx(expected, rel=1e-6)


def test_the_divergence_is_the_mean_of_both_kullback_leibler_divergences() -> None:
    others = SHARES[::-1]
    expected = ((SHARES * np.log(SHARES / others)).sum(axis=1) + (others * np.log(others / SHARES)).sum(axis=1)) / 2
    np.testing.assert_allclose(divergence(np.log(SHARES), np.log(others)), expected, rtol=1e-5)
    np.testing.assert_array_equal(divergence(LOGITS, LOGITS), np.zeros(len(LOGITS)))


@pytest.mark.parametrize("weights", [(), (tf.fill([6], 1 / 6),)], ids=["one host", "several"])
def test_r_drop_trains_on_two_passes_and_their_divergence(weights: tuple[tf.Tensor, ...]) -> None:
    model = TrainableClassifier(TINY, 5, SingleHostStrategy(), r_drop=3.0, seed=1)
    model.compile(tf_keras.optimizers.Adam(), tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    others = LOGITS[:, ::-1].copy()
    model.call = lambda *_arguments, **_options: tf.constant(np.concatenate([LOGITS, others]))
    ids = tf.ones([6, 4], tf.int32)
    _, (loss, correct, reviews) = model.local_step(
        ({"input_ids": ids, "input_mask": ids}, tf.constant(LABELS, tf.int32), *weights)
    )
    expected = (losses() + losses(others)) / 2 + 3.0 * divergence(LOGITS, others)
    assert float(loss) == pytest.approx(float(np.mean(expected)), rel=1e-5)
    assert (float(correct), float(reviews)) == ((LOGITS.argmax(axis=1) == LABELS).sum(), 6)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_doubled_batch_is_each_review_twice_with_other_dropout_masks(compiled: bool) -> None:  # noqa: FBT001
    model = TrainableClassifier(TINY, 5, SingleHostStrategy(), seed=1)
    for variable in model.trainable_variables:
        variable.assign(tf.random.stateless_normal(variable.shape, [1, 2]))
    ids = tf.constant([[2, 7, 9, 3], [2, 3, 0, 0], [2, 5, 3, 0]])
    features = {"input_ids": ids, "input_mask": tf.cast(ids != 0, tf.int32)}
    if compiled:
        features["active_positions"] = tf.constant([0, 1, 2, 3, 4, 5, 8, 9, 10])
    first, second = tf.split(model(twice(features), training=False), 2)
    np.testing.assert_allclose(first, model(features, training=False), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(second, first, rtol=1e-4, atol=1e-5)
    first, second = tf.split(model(twice(features), training=True), 2)
    assert np.abs(first - second).max() > 1e-3
