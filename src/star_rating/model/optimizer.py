"""Adam as the hyperparameters ask for it: schedule, decoupled weight decay, gradient clipping."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
import tf_keras

from star_rating.hyperparameters import Hyperparameters

NOT_DECAYED = ("bias", "layer_norm", "LayerNorm")
"""Parts of variable names that weight decay leaves alone, as in BERT's own training."""


class WarmUpThenLinearDecay(tf_keras.optimizers.schedules.LearningRateSchedule):
    """Rises from zero to the peak in the first steps, then falls to zero at the last: BERT's schedule.

    Devlin et al. 2019 (arXiv:1810.04805), appendix A.2.
    """

    def __init__(self, peak: float, warm_up_steps: int, total_steps: int) -> None:
        self.peak = peak
        self.warm_up_steps = warm_up_steps
        self.total_steps = total_steps

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Return the learning rate of a step, counted from zero."""
        done = tf.cast(step, tf.float32)
        # Step 0 trains too: its rate is one step's share of the peak, not zero.
        rising = (done + 1.0) / max(self.warm_up_steps, 1)
        falling = (self.total_steps - done) / max(self.total_steps - self.warm_up_steps, 1)
        return self.peak * tf.clip_by_value(tf.minimum(rising, self.decayed(falling)), 0.0, 1.0)

    def decayed(self, left: tf.Tensor) -> tf.Tensor:
        """Return the share of the peak for the share of decaying steps that is left; over 1 while warming up."""
        return left

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"peak": self.peak, "warm_up_steps": self.warm_up_steps, "total_steps": self.total_steps}


class WarmUpThenCosineDecay(WarmUpThenLinearDecay):
    """Falls along half a cosine wave (Loshchilov and Hutter 2017, arXiv:1608.03983), without restarts."""

    def decayed(self, left: tf.Tensor) -> tf.Tensor:
        """Return the share of the peak."""
        return 0.5 * (1.0 - tf.cos(math.pi * tf.clip_by_value(left, 0.0, 1.0)))


class WarmUpThenPolynomialDecay(WarmUpThenLinearDecay):
    """Falls as a power of what is left (the "poly" policy of Liu et al. 2015, arXiv:1506.04579)."""

    def __init__(self, peak: float, warm_up_steps: int, total_steps: int, power: float) -> None:
        super().__init__(peak, warm_up_steps, total_steps)
        self.power = power

    def decayed(self, left: tf.Tensor) -> tf.Tensor:
        """Return the share of the peak."""
        return tf.pow(tf.clip_by_value(left, 0.0, 1.0), self.power)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "power": self.power}


@dataclass(frozen=True)
class SharedScalars:
    """What the updates of all variables share in a step: float32 scalars."""

    learning_rate: tf.Tensor
    beta_1: tf.Tensor
    beta_2: tf.Tensor
    beta_1_power: tf.Tensor
    beta_2_power: tf.Tensor
    epsilon: tf.Tensor


class FusedAdam(tf_keras.optimizers.Adam):
    """Keras's Adam with each variable's update as one of TensorFlow's kernels.

    The same numbers but for rounding; one pass over memory where Keras takes a dozen, and a fifth of the operations to
    trace. Embeddings are updated whole, as in Keras's: Adam moves also the rows that a batch does not have.
    """

    _shared: SharedScalars | None = None

    def apply_gradients(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - Keras's
        """Update all variables; what they share is computed with the first of them."""
        self._shared = None
        try:
            return super().apply_gradients(*arguments, **options)
        finally:
            self._shared = None  # tensors of a graph that is traced, and of no use outside

    def update_step(self, gradient: tf.Tensor | tf.IndexedSlices, variable: tf.Variable) -> None:
        """Update one variable and its moments."""
        index = self._index_dict[self._var_key(variable)]
        if self._shared is None:
            self._shared = self._shared_of_this_step()
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].handle,
            v=self._velocities[index].handle,
            beta1_power=self._shared.beta_1_power,
            beta2_power=self._shared.beta_2_power,
            lr=self._shared.learning_rate,
            beta1=self._shared.beta_1,
            beta2=self._shared.beta_2,
            epsilon=self._shared.epsilon,
            grad=tf.convert_to_tensor(gradient),
        )

    def _shared_of_this_step(self) -> SharedScalars:
        number = tf.cast(self.iterations + 1, tf.float32)
        beta_1, beta_2 = tf.constant(self.beta_1), tf.constant(self.beta_2)
        return SharedScalars(
            learning_rate=tf.cast(self.learning_rate, tf.float32),
            beta_1=beta_1,
            beta_2=beta_2,
            beta_1_power=tf.pow(beta_1, number),
            beta_2_power=tf.pow(beta_2, number),
            epsilon=tf.constant(self.epsilon),
        )


def build_optimizer(hyperparameters: Hyperparameters, total_steps: int) -> tf_keras.optimizers.Optimizer:
    """Return the optimizer for a run of `total_steps` steps."""
    optimizer = FusedAdam(
        build_schedule(hyperparameters, total_steps),
        epsilon=hyperparameters.epsilon,
        weight_decay=hyperparameters.weight_decay or None,
        global_clipnorm=hyperparameters.gradient_clip_norm or None,
        jit_compile=False,  # else, on a GPU, each variable's one kernel would be a program of XLA's
    )
    if hyperparameters.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=list(NOT_DECAYED))
    return optimizer


def build_schedule(hyperparameters: Hyperparameters, total_steps: int) -> float | WarmUpThenLinearDecay:
    """Return the learning rate, or its schedule over `total_steps` steps."""
    peak, warm_up_steps = hyperparameters.learning_rate, round(hyperparameters.warmup_ratio * total_steps)
    match hyperparameters.learning_rate_schedule:
        case "linear":
            return WarmUpThenLinearDecay(peak, warm_up_steps, total_steps)
        case "cosine":
            return WarmUpThenCosineDecay(peak, warm_up_steps, total_steps)
        case "polynomial":
            return WarmUpThenPolynomialDecay(peak, warm_up_steps, total_steps, hyperparameters.polynomial_power)
        case _:
            return peak


def current_learning_rate(optimizer: tf_keras.optimizers.Optimizer) -> float:
    """Return the rate that the next step will use; under mixed precision the optimizer is a wrapper around Adam."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    schedule = inner._learning_rate  # noqa: SLF001 - `learning_rate` holds the value of the step before
    if callable(schedule):
        return float(schedule(inner.iterations))
    return float(inner.learning_rate)
