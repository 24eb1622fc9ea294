from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from star_rating.model import pretrained_weights
from star_rating.model.distilbert import DistilBertClassifier, Dropout
from tests.helpers.parity import (
    Batch,
    Computed,
    assert_alike,
    in_bucket,
    in_groups,
    loss_of,
    ours,
    padded,
    transformers_own,
    unpadded,
    variables_by_name,
)
from tests.helpers.tiny_model import tiny_weights

LENGTH = 24
REAL_TOKENS = [24, 2, 9, 1, 17, 5]
LABELS = tf.constant([4, 0, 2, 2, 1, 3])
NUMBER_OF_CLASSES = 5


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> pretrained_weights.PretrainedWeights:
    return pretrained_weights.load(tiny_weights(tmp_path_factory.mktemp("weights")))


@pytest.fixture
def batch(pretrained: pretrained_weights.PretrainedWeights) -> Batch:
    return make_batch(pretrained)


def make_batch(pretrained: pretrained_weights.PretrainedWeights) -> Batch:
    mask = np.arange(LENGTH) < np.array(REAL_TOKENS)[:, None]
    ids = np.random.default_rng(1).integers(5, pretrained.config.vocab_size, mask.shape) * mask
    return {"input_ids": tf.constant(ids, tf.int64), "input_mask": tf.constant(mask, tf.int64)}


@pytest.fixture(scope="module")
def expected(pretrained: pretrained_weights.PretrainedWeights, tmp_path_factory: pytest.TempPathFactory) -> Computed:
    folder = tmp_path_factory.mktemp("saved")
    return transformers_own(build(pretrained), pretrained.folder, folder, make_batch(pretrained), LABELS)


@pytest.fixture
def mixed_bfloat16() -> Iterator[None]:
    tf_keras.mixed_precision.set_global_policy("mixed_bfloat16")
    yield
    tf_keras.mixed_precision.set_global_policy("float32")


def build(pretrained: pretrained_weights.PretrainedWeights, **dropout: Any) -> DistilBertClassifier:
    config = dataclasses.replace(pretrained.config, **dropout)
    model = DistilBertClassifier(config, NUMBER_OF_CLASSES, seed=3)
    pretrained_weights.load_into(model, pretrained)
    return model


class TestParityWithTransformers:
    """The full-size models are in test_parity_on_real_reviews.py."""

    @pytest.mark.parametrize(
        ("layout", "jit_compile"),
        [
            pytest.param(unpadded, False, id="unpadded"),
            pytest.param(in_groups, False, id="groups", marks=pytest.mark.slow),
            pytest.param(in_bucket, False, id="bucket", marks=pytest.mark.slow),
            pytest.param(in_bucket, True, id="bucket-xla", marks=pytest.mark.slow),
            pytest.param(padded, False, id="padded"),
            pytest.param(padded, True, id="padded-xla", marks=pytest.mark.slow),
        ],
    )
    def test_logits_loss_and_all_gradients_are_those_of_the_padded_model(
        self,
        pretrained: pretrained_weights.PretrainedWeights,
        batch: Batch,
        expected: Computed,
        layout: Callable[[Batch], Batch],
        *,
        jit_compile: bool,
    ) -> None:
        assert_alike(ours(build(pretrained), layout(batch), LABELS, jit_compile=jit_compile), expected)


class TestInputs:
    def test_more_padding_changes_nothing(self, pretrained: pretrained_weights.PretrainedWeights, batch: Batch) -> None:
        model = build(pretrained)
        longer = {name: tf.pad(tensor, [[0, 0], [0, 40]]) for name, tensor in batch.items()}
        np.testing.assert_allclose(model(longer), model(batch), atol=1e-6)

    def test_a_reviews_logits_do_not_depend_on_its_batch(
        self, pretrained: pretrained_weights.PretrainedWeights, batch: Batch
    ) -> None:
        model = build(pretrained)
        alone = {name: tensor[2:3, : REAL_TOKENS[2]] for name, tensor in batch.items()}
        np.testing.assert_allclose(model(alone)[0], model(batch)[2], atol=1e-6)

    @pytest.mark.parametrize("layout", [in_groups, in_bucket, padded])
    def test_a_row_of_padding_alone_gives_the_same_finite_logits_in_every_layout(
        self, pretrained: pretrained_weights.PretrainedWeights, batch: Batch, layout: Callable[[Batch], Batch]
    ) -> None:
        mask = batch["input_mask"].numpy()
        mask[1] = 0
        with_empty_row = batch | {"input_mask": tf.constant(mask)}
        model = build(pretrained)
        logits = model(with_empty_row)
        assert np.isfinite(logits).all()
        np.testing.assert_allclose(logits, model(layout(with_empty_row)), atol=1e-5)

    def test_a_batch_of_empty_rows_gives_finite_gradients(
        self, pretrained: pretrained_weights.PretrainedWeights
    ) -> None:
        model = build(pretrained)
        empty = {"input_ids": tf.zeros([6, 8], tf.int32), "input_mask": tf.zeros([6, 8], tf.int32)}
        with tf.GradientTape() as tape:
            loss = loss_of(model(empty, training=True), LABELS)
        for gradient in tape.gradient(loss, model.trainable_variables):
            assert np.isfinite(tf.convert_to_tensor(gradient)).all()

    @pytest.mark.parametrize("dtype", [tf.int32, tf.int64])
    def test_one_traced_function_serves_any_batch_and_length(
        self, pretrained: pretrained_weights.PretrainedWeights, batch: Batch, dtype: tf.DType
    ) -> None:
        model = build(pretrained)

        @tf.function(input_signature=[tf.TensorSpec([None, None], dtype), tf.TensorSpec([None, None], dtype)])
        def serve(input_ids: tf.Tensor, input_mask: tf.Tensor) -> tf.Tensor:
            return model({"input_ids": input_ids, "input_mask": input_mask}, training=False)

        expected = model(batch).numpy()
        ids, mask = (tf.cast(batch[name], dtype) for name in ("input_ids", "input_mask"))
        np.testing.assert_allclose(serve(ids, mask), expected, atol=1e-6)
        np.testing.assert_allclose(serve(ids[1:4, :9], mask[1:4, :9]), expected[1:4], atol=1e-6)

    def test_all_variables_exist_before_the_first_batch(self, pretrained: pretrained_weights.PretrainedWeights) -> None:
        model = DistilBertClassifier(pretrained.config, NUMBER_OF_CLASSES)
        assert len(variables_by_name(model)) == len(pretrained.tensors) + 4
        assert len(model.trainable_variables) == len(pretrained.tensors) + 4


class TestMixedPrecision:
    @pytest.mark.usefixtures("mixed_bfloat16")
    def test_logits_are_float32_and_close_and_so_are_the_gradients(
        self, pretrained: pretrained_weights.PretrainedWeights, batch: Batch
    ) -> None:
        mixed = build(pretrained)
        tf_keras.mixed_precision.set_global_policy("float32")
        exact = build(pretrained)
        assert mixed.distilbert.compute_dtype == "bfloat16"
        assert {variable.dtype for variable in mixed.trainable_variables} == {tf.float32}

        logits, gradients = {}, {}
        for model in (mixed, exact):
            with tf.GradientTape() as tape:
                logits[model] = model(batch)
                loss = loss_of(logits[model], LABELS)
            gradients[model] = [
                tf.convert_to_tensor(g).numpy() for g in tape.gradient(loss, list(variables_by_name(model).values()))
            ]
        assert logits[mixed].dtype == tf.float32
        assert not np.array_equal(logits[mixed], logits[exact])
        np.testing.assert_allclose(logits[mixed], logits[exact], atol=0.02)
        difference = sum(np.square(m - e).sum() for m, e in zip(gradients[mixed], gradients[exact], strict=True))
        # 0.08 where a processor has no bfloat16 products and adds up in bfloat16, below 0.05 elsewhere.
        assert difference < 0.1**2 * sum(np.square(e).sum() for e in gradients[exact])

    @pytest.mark.usefixtures("mixed_bfloat16")
    def test_trains(self, pretrained: pretrained_weights.PretrainedWeights, batch: Batch) -> None:
        losses = fit(build(pretrained), batch, epochs=3, run_eagerly=True)
        assert losses[-1] < losses[0]


class TestTraining:
    @pytest.mark.slow
    def test_fits_a_handful_of_reviews(self, pretrained: pretrained_weights.PretrainedWeights, batch: Batch) -> None:
        losses = fit(build(pretrained), batch, epochs=40)
        assert losses[-1] < losses[0] / 2

    @pytest.mark.slow
    def test_xla_drops_by_the_step_alone(self, pretrained: pretrained_weights.PretrainedWeights, batch: Batch) -> None:
        model, batch = build(pretrained), in_bucket(batch)
        compiled = tf.function(lambda batch: model(batch, training=True), jit_compile=True)
        first, second = compiled(batch).numpy(), compiled(batch).numpy()
        model.dropout_step.assign(0)
        assert not np.array_equal(first, second)
        np.testing.assert_array_equal(compiled(batch), first)

    @pytest.mark.slow
    def test_the_same_seed_gives_the_same_losses_and_another_does_not(
        self, pretrained: pretrained_weights.PretrainedWeights, batch: Batch
    ) -> None:
        def losses(seed: int) -> list[float]:
            tf_keras.utils.set_random_seed(seed)
            model = DistilBertClassifier(pretrained.config, NUMBER_OF_CLASSES)
            pretrained_weights.load_into(model, pretrained)
            return fit(model, batch, epochs=3, run_eagerly=True)

        first, again, other = losses(1), losses(1), losses(2)
        assert first == again
        assert first != other

    def test_dropout_continues_where_a_restored_model_stopped(
        self, pretrained: pretrained_weights.PretrainedWeights, batch: Batch, tmp_path: Path
    ) -> None:
        interrupted, resumed = build(pretrained), build(pretrained)
        interrupted(batch, training=True)
        saved = tf.train.Checkpoint(model=interrupted).save(str(tmp_path / "checkpoint"))
        tf.train.Checkpoint(model=resumed).restore(saved).assert_consumed()
        np.testing.assert_array_equal(resumed(batch, training=True), interrupted(batch, training=True))

    def test_a_new_head_is_small_normal_with_zero_bias(self, pretrained: pretrained_weights.PretrainedWeights) -> None:
        model = build(pretrained)
        kernel = model.pre_classifier.kernel.numpy()
        assert 0.015 < kernel.std() < 0.02
        assert np.abs(kernel).max() <= 0.04
        assert not model.pre_classifier.bias.numpy().any()
        assert not model.classifier.bias.numpy().any()


class TestFrozenBody:
    def test_only_the_head_is_trained(self, pretrained: pretrained_weights.PretrainedWeights, batch: Batch) -> None:
        model = build(pretrained)
        model.freeze_body()
        before = {name: variable.numpy() for name, variable in variables_by_name(model).items()}
        fit(model, batch, epochs=2, run_eagerly=True)
        changed = {
            name for name, variable in variables_by_name(model).items() if not np.array_equal(variable, before[name])
        }
        assert changed == {"pre_classifier.weight", "pre_classifier.bias", "classifier.weight", "classifier.bias"}

    def test_the_body_drops_nothing_and_the_head_does(
        self, pretrained: pretrained_weights.PretrainedWeights, batch: Batch
    ) -> None:
        without_head_dropout = build(pretrained, seq_classif_dropout=0.0)
        assert not np.array_equal(without_head_dropout(batch, training=True), without_head_dropout(batch))
        without_head_dropout.freeze_body()
        np.testing.assert_array_equal(without_head_dropout(batch, training=True), without_head_dropout(batch))
        frozen = build(pretrained)
        frozen.freeze_body()
        assert not np.array_equal(frozen(batch, training=True), frozen(batch))


class TestDropout:
    @pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
    def test_drops_its_share_and_scales_the_rest(self, dtype: tf.DType) -> None:
        dropped = Dropout(0.1, np.random.default_rng(0))(tf.ones([400, 500], dtype), tf.constant(1, tf.int64))
        values = tf.cast(dropped, tf.float32).numpy()
        assert abs((values == 0).mean() - 0.1) < 0.003
        np.testing.assert_allclose(values[values != 0], 1 / 0.9, rtol=4e-3)

    def test_draws_another_mask_at_each_step_and_site(self) -> None:
        seeds = np.random.default_rng(0)
        first, second = Dropout(0.5, seeds), Dropout(0.5, seeds)
        ones = tf.ones([10, 10])
        masks = [site(ones, tf.constant(step, tf.int64)).numpy() for site in (first, second) for step in (1, 2)]
        assert len({mask.tobytes() for mask in masks}) == 4


def fit(model: DistilBertClassifier, batch: Batch, epochs: int, *, run_eagerly: bool = False) -> list[float]:
    """Train on the one batch, and return each epoch's loss; eagerly where tracing would take longer than running."""
    model.compile(
        tf_keras.optimizers.Adam(3e-3),
        tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        run_eagerly=run_eagerly,
    )
    data = tf.data.Dataset.from_tensors((batch, LABELS))
    losses: list[float] = model.fit(data, epochs=epochs, verbose=0).history["loss"]
    return losses
