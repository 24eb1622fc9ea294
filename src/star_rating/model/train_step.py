"""The model of a run: compiled, with the pretrained weights and all variables of a step; and the step itself.

model = build_model(hyperparameters, pretrained, total_steps, SingleHostStrategy())
model.fit(batches, ...)            # logs: loss, accuracy, examples; "skipped" and "stops" where there are such
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from star_rating.data.schema import NUMBER_OF_CLASSES
from star_rating.distributed.gradients import Gradient
from star_rating.distributed.strategy import MultiHostStrategy, Strategy
from star_rating.failures import HyperparameterError
from star_rating.hyperparameters import Hyperparameters
from star_rating.model import pretrained_weights
from star_rating.model.config import DistilBertConfig
from star_rating.model.distilbert import DistilBertClassifier
from star_rating.model.objective import Objective, build_objective, cross_entropy
from star_rating.model.optimizer import FusedAdam, build_optimizer
from star_rating.model.xla import CompiledStep

log = logging.getLogger(__name__)


class ExampleCount(tf_keras.metrics.Metric):
    """Counts the reviews of an epoch, so that windows of a running mean can be told apart."""

    def __init__(self) -> None:
        super().__init__(name="examples")
        self.total = self.add_weight(name="total", initializer="zeros", dtype=tf.int64)

    def update_state(self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None) -> None:
        """Add a batch."""
        del y_pred, sample_weight
        self.total.assign_add(tf.shape(y_true, out_type=tf.int64)[0])

    def result(self) -> tf.Tensor:
        """Return the number of reviews since the epoch began."""
        return tf.identity(self.total)

    def reset_state(self) -> None:
        """Start an epoch."""
        self.total.assign(0)


class Confusion:
    """Counts an evaluation's reviews by true and predicted class.

    Not a Keras metric: the checkpoints hold the running sums of those.
    """

    def __init__(self, classes: int) -> None:
        self.counts = tf.Variable(tf.zeros([classes, classes], tf.int64), trainable=False, name="confusion")

    def add(self, labels: tf.Tensor, logits: tf.Tensor) -> None:
        """Count a batch: labels [reviews], logits [reviews, classes]."""
        self.counts.assign_add(
            tf.math.confusion_matrix(labels, tf.argmax(logits, axis=-1), self.counts.shape[0], dtype=tf.int64)
        )

    def reset(self) -> None:
        """Start an evaluation."""
        self.counts.assign(tf.zeros_like(self.counts))


class TrainableClassifier(DistilBertClassifier):
    """A DistilBertClassifier with the training step of a strategy's hosts.

    With `skip_nonfinite`, a batch whose loss or gradient is NaN or infinite changes nothing: weights, optimizer and
    metrics stay as they are. It counts as a step all the same: the next one draws other dropout masks.
    """

    def __init__(
        self,
        config: DistilBertConfig,
        number_of_classes: int,
        strategy: Strategy,
        *,
        skip_nonfinite: bool = False,
        objective: Objective = cross_entropy,
        r_drop: float = 0.0,
        seed: int | None = None,
    ) -> None:
        super().__init__(config, number_of_classes, seed=seed)
        self.strategy = strategy
        self.skip_nonfinite = skip_nonfinite
        self.objective = objective
        self.r_drop = r_drop
        self._evaluated = Confusion(number_of_classes)

    @property
    def confusion(self) -> npt.NDArray[np.int64]:
        """Return the reviews of the last `evaluate` by true and predicted class: [classes, classes]."""
        return np.asarray(self._evaluated.counts.numpy(), np.int64)

    def next_dropout_step(self) -> tf.Tensor:
        """Return the number that this host's dropout masks of this step follow from."""
        return self.strategy.dropout_step(super().next_dropout_step())

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:  # noqa: ANN401 - Keras's
        """Do one step; `logs` are of the whole batch, whatever this host had of it."""
        gradients, sums = self.local_step(data)
        logs = {}
        if self.strategy.is_distributed:
            gradients, sums, logs["stops"] = self.strategy.reduce(gradients, sums, self.trainable_variables)

        def update() -> tf.Tensor:
            self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
            self._update_metrics(*sums)
            return tf.constant(0.0)

        if self.skip_nonfinite:
            logs["skipped"] = tf.cond(self._is_finite(sums[0], gradients), update, lambda: tf.constant(1.0))
        else:
            update()
        return {**self.get_metrics_result(), **logs}

    def local_step(self, data: Any) -> tuple[list[Gradient], list[tf.Tensor]]:  # noqa: ANN401 - Keras's
        """Return this host's gradients and its [loss, correct reviews, reviews].

        One host's loss is the batch's mean; several hosts weight their reviews so that their losses add up to it.
        """
        features, labels, weights = tf_keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            if self.r_drop:
                logits, others = tf.split(self(twice(features), training=True), 2)
                losses = (self.objective(labels, logits) + self.objective(labels, others)) / 2
                losses += self.r_drop * divergence(logits, others)
            else:
                logits = self(features, training=True)
                losses = self.objective(labels, logits)
            loss = tf.reduce_mean(losses) if weights is None else tf.reduce_sum(losses * weights)
        gradients = self.optimizer.compute_gradients(loss, self.trainable_variables, tape)
        real = tf.ones(tf.shape(labels)) if weights is None else tf.cast(weights > 0, tf.float32)
        return [gradient for gradient, _ in gradients], [loss, _correct(labels, logits, real), tf.reduce_sum(real)]

    def exported_values(self) -> dict[str, npt.NDArray[Any]]:
        """Return name -> array of what an export of this moment holds: the moving averages, if there are any."""
        averages = self._averages()
        return {variable.name: np.array(averages.get(variable.name, variable).numpy()) for variable in self.variables}

    @contextlib.contextmanager
    def _with_averages(self) -> Iterator[None]:
        """Put the moving averages, if there are any, in the place of the weights."""
        averages = self._averages()
        averaged = [variable for variable in self.variables if variable.name in averages]
        weights = [variable.numpy() for variable in averaged]
        for variable in averaged:
            variable.assign(averages[variable.name])
        try:
            yield
        finally:
            for variable, array in zip(averaged, weights, strict=True):
                variable.assign(array)

    def _averages(self) -> dict[str, tf.Variable]:
        optimizer = getattr(self.optimizer, "inner_optimizer", self.optimizer)
        if not isinstance(optimizer, FusedAdam):
            return {}
        names = [variable.name for variable in self.trainable_variables]
        averages = optimizer.averages(self.trainable_variables)
        return dict(zip(names, averages, strict=True)) if averages else {}

    def compile_with_xla(self, on_timed: Callable[[float], object]) -> CompiledStep:
        """Have XLA compile the step; of several hosts, each its own part, as XLA has no exchange between them."""
        compiled = CompiledStep(on_timed)
        if self.strategy.is_distributed:
            self.local_step = compiled.wrap(self.local_step)  # type: ignore[method-assign,assignment]
        else:
            self.train_step = compiled.wrap(self.train_step)  # type: ignore[method-assign,assignment]
        return compiled

    def evaluate(
        self,
        x: tf.data.Dataset | None = None,
        *,
        callbacks: tf_keras.callbacks.CallbackList | None = None,
        **options: Any,  # noqa: ANN401 - Keras's
    ) -> Any:  # noqa: ANN401 - Keras's
        """Return the means over all hosts' reviews; of several hosts, each evaluates its batches. Raises Stopped."""
        self._evaluated.reset()
        with self._with_averages():
            if isinstance(self.strategy, MultiHostStrategy):
                return self._evaluate_on_all_hosts(self.strategy, x, callbacks)
            return super().evaluate(x, callbacks=callbacks, **options)

    def _evaluate_on_all_hosts(
        self,
        strategy: MultiHostStrategy,
        x: tf.data.Dataset | None,
        callbacks: tf_keras.callbacks.CallbackList | None,
    ) -> dict[str, float]:
        sums = np.zeros(3)
        for index, batch in enumerate(x or ()):
            if strategy.stop.signal is not None:
                break
            sums += self._evaluate_batch(*batch).numpy()
            if callbacks is not None:
                callbacks.on_test_batch_end(index, {})
        counts = self.confusion
        loss, correct, reviews, *total = strategy.all_reduce([*sums.tolist(), *counts.ravel().tolist()])
        strategy.agree_to_stop()
        self._evaluated.counts.assign(np.reshape(np.asarray(total, np.int64), counts.shape))
        return {"loss": loss / reviews, "accuracy": correct / reviews, "examples": reviews}

    def compute_metrics(
        self, x: Mapping[str, tf.Tensor], y: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """Bring an evaluation's measures up to date with a batch; Keras's test_step calls it."""
        self._evaluated.add(y, y_pred)
        measures: dict[str, tf.Tensor] = super().compute_metrics(x, y, y_pred, sample_weight)
        return measures

    @tf.function(reduce_retracing=True)
    def _evaluate_batch(self, features: Mapping[str, tf.Tensor], labels: tf.Tensor) -> tf.Tensor:
        logits = self(features, training=False)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        ones = tf.ones_like(losses)
        self._evaluated.add(labels, logits)
        return tf.stack([tf.reduce_sum(losses), _correct(labels, logits, ones), tf.reduce_sum(ones)])

    def _update_metrics(self, loss: tf.Tensor, correct: tf.Tensor, reviews: tf.Tensor) -> None:
        """Bring the epoch's running means up to date, as Keras's own training step does."""
        metrics = {metric.name: metric for metric in self.metrics}
        metrics["loss"].update_state(loss, sample_weight=reviews)
        metrics["accuracy"].total.assign_add(correct)
        metrics["accuracy"].count.assign_add(reviews)
        metrics["examples"].total.assign_add(tf.cast(reviews, tf.int64))

    def _is_finite(self, loss: tf.Tensor, gradients: list[Gradient]) -> tf.Tensor:
        finite = tf.math.is_finite(loss)
        if isinstance(self.optimizer, tf_keras.mixed_precision.LossScaleOptimizer):
            return finite  # it looks for its scale by gradients that overflow, and leaves those out itself
        return finite & tf.math.is_finite(tf.linalg.global_norm(gradients))


def build_model(
    hyperparameters: Hyperparameters,
    pretrained: pretrained_weights.PretrainedWeights,
    total_steps: int,
    strategy: Strategy,
    class_counts: Sequence[int] = (),
) -> TrainableClassifier:
    """Return a compiled classifier with the pretrained weights; its head is new unless the checkpoint has one.

    `class_counts` are the train channel's records per class; only class_weights=balanced needs them.
    """
    positions = pretrained.config.max_position_embeddings
    if hyperparameters.max_seq_length > positions:
        raise HyperparameterError(
            f"Hyperparameter max_seq_length is {hyperparameters.max_seq_length}: the weights have {positions} "
            f"positions. Set it to {positions} at the most, and run `prepare` with the same number."
        )
    model = TrainableClassifier(
        pretrained.config,
        NUMBER_OF_CLASSES,
        strategy,
        skip_nonfinite=bool(hyperparameters.skip_nonfinite_steps),
        objective=build_objective(hyperparameters, class_counts),
        r_drop=hyperparameters.r_drop,
    )
    if pretrained_weights.load_into(model, pretrained):
        log.info("the classification head comes from the weights")
    if hyperparameters.freeze_bert_layer:
        model.freeze_body()
    compile_model(model, build_optimizer(hyperparameters, total_steps))
    return model


def compile_model(model: DistilBertClassifier, optimizer: tf_keras.optimizers.Optimizer) -> None:
    """Compile, and make the variables that Keras would make at the first step: a checkpoint restores into them."""
    model.compile(
        optimizer=optimizer,
        loss=tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[tf_keras.metrics.SparseCategoricalAccuracy("accuracy"), ExampleCount()],
    )
    model.optimizer.build(model.trainable_variables)
    logits, labels = tf.zeros([1, model.number_of_classes]), tf.zeros([1], tf.int32)
    model.compiled_loss.build(logits)
    model.compiled_metrics.build(logits, labels)


def twice(features: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Return a batch with each review a second time, behind all of them: its dropout masks are others there."""
    doubled = {name: tf.concat([features[name]] * 2, axis=0) for name in ("input_ids", "input_mask")}
    if "active_positions" in features:
        positions = features["active_positions"]
        doubled["active_positions"] = tf.concat(
            [positions, positions + tf.size(features["input_ids"], positions.dtype)], axis=0
        )
    return doubled


def divergence(logits: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Return how far the distributions of two passes are from each other, float32[reviews], both [reviews, classes].

    The mean of the two Kullback-Leibler divergences: R-Drop's regularization (Liang et al. 2021, arXiv:2106.14448).
    """
    ours, theirs = tf.nn.log_softmax(logits), tf.nn.log_softmax(others)
    return tf.reduce_sum((tf.exp(ours) - tf.exp(theirs)) * (ours - theirs), axis=1) / 2


def _correct(labels: tf.Tensor, logits: tf.Tensor, real: tf.Tensor) -> tf.Tensor:
    hits = tf.cast(tf.argmax(logits, axis=-1, output_type=labels.dtype) == labels, tf.float32)
    return tf.reduce_sum(hits * real)
