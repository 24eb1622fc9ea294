"""Adam as the hyperparameters ask for it: schedule, decoupled weight decay, gradient clipping."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
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
class LayerRate:
    """How a layer's learning rate differs from the optimizer's."""

    factor: float = 1.0
    first_step: int = 0
    """Steps before it leave the layer's weights alone."""


@dataclass(frozen=True)
class LayerRates:
    """The learning rates of the layers by their depth: 0 is the head, 1 the body's top layer, the last the embeddings.

    With `decay`, each layer has a smaller rate than the one above, and with `unfreezing` it begins to train later:
    discriminative fine-tuning and gradual unfreezing (Howard and Ruder 2018, arXiv:1801.06146); for BERT, Sun et al.
    2019 (arXiv:1905.05583) found a decay of 0.95 to be the best.
    """

    decay: float
    unfreezing: float
    """Share of `total_steps` after which all layers train."""
    total_steps: int

    def rate(self, name: str, layers: int) -> LayerRate:
        """Return the rate of a variable of a model with so many layers in its body."""
        depth = depth_of(name, layers)
        return LayerRate(self.decay**depth, round(self.unfreezing * self.total_steps * depth / (layers + 1)))


def depth_of(name: str, layers: int) -> int:
    """Return the depth of a variable by its name, as `LayerRates` counts it."""
    if layer := re.search(r"/layer_(\d+)/", name):
        return layers - int(layer[1])
    return layers + 1 if "/embeddings/" in name else 0


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

    def __init__(
        self,
        *arguments: Any,  # noqa: ANN401 - Keras's
        layer_rates: LayerRates | None = None,
        average_decay: float = 0.0,
        **options: Any,  # noqa: ANN401 - Keras's
    ) -> None:
        """Take Adam's arguments, and what each layer's rate and the moving average of the weights follow from."""
        super().__init__(*arguments, **options)
        self.layer_rates = layer_rates
        self.average_decay = average_decay
        self._rates: list[LayerRate] = []
        self._averages: list[tf.Variable] = []

    def build(self, var_list: Sequence[tf.Variable]) -> None:
        """Make the slots; the averages begin as the weights are."""
        super().build(var_list)
        if self._rates:
            return
        layers = len({depth_of(variable.name, 0) for variable in var_list if "/layer_" in variable.name})
        rates = self.layer_rates
        self._rates = [rates.rate(variable.name, layers) if rates else LayerRate() for variable in var_list]
        if self.average_decay:
            self._averages = [
                self.add_variable_from_reference(variable, "average", initial_value=variable) for variable in var_list
            ]

    def averages(self, variables: Sequence[tf.Variable]) -> list[tf.Variable]:
        """Return the moving averages of the variables; empty without `average_decay`.

        Their decay is smaller in the first steps, min(decay, (1 + step) / (10 + step)), as that of TensorFlow's
        ExponentialMovingAverage. Polyak and Juditsky 1992 (doi:10.1137/0330046).
        """
        return [self._averages[self._index_dict[self._var_key(variable)]] for variable in variables if self._averages]

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
        learning_rate = self._rate_of(self._rates[index], self._shared.learning_rate)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].handle,
            v=self._velocities[index].handle,
            beta1_power=self._shared.beta_1_power,
            beta2_power=self._shared.beta_2_power,
            lr=learning_rate,
            beta1=self._shared.beta_1,
            beta2=self._shared.beta_2,
            epsilon=self._shared.epsilon,
            grad=tf.convert_to_tensor(gradient),
        )
        if self._averages:
            average, done = self._averages[index], tf.cast(self.iterations, tf.float32)
            decay = tf.minimum(self.average_decay, (1.0 + done) / (10.0 + done))
            average.assign_sub((1.0 - decay) * (average - variable))

    def _rate_of(self, rate: LayerRate, learning_rate: tf.Tensor) -> tf.Tensor:
        """Return a layer's learning rate in this step.

        A frozen layer's is 0: its moments go on, so that it does not start with a jump.
        """
        scaled = learning_rate if rate.factor == 1.0 else learning_rate * rate.factor
        return tf.where(self.iterations >= rate.first_step, scaled, 0.0) if rate.first_step else scaled

    def _apply_weight_decay(self, variables: Sequence[tf.Variable]) -> None:
        if self.layer_rates is None:
            super()._apply_weight_decay(variables)
            return
        for variable in variables:
            if self.weight_decay and self._use_weight_decay(variable):
                rate = self._rates[self._index_dict[self._var_key(variable)]]
                learning_rate = self._rate_of(rate, tf.cast(self.learning_rate, tf.float32))
                variable.assign_sub(variable * self.weight_decay * learning_rate)

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
        layer_rates=_layer_rates(hyperparameters, total_steps),
        average_decay=hyperparameters.weight_average_decay,
        jit_compile=False,  # else, on a GPU, each variable's one kernel would be a program of XLA's
    )
    if hyperparameters.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=list(NOT_DECAYED))
    return optimizer


def _layer_rates(hyperparameters: Hyperparameters, total_steps: int) -> LayerRates | None:
    decay, unfreezing = hyperparameters.layer_learning_rate_decay, hyperparameters.gradual_unfreezing
    return LayerRates(decay, unfreezing, total_steps) if decay != 1.0 or unfreezing else None


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
