"""Everything in a model that training changes, as arrays by name, and back to the last bit.

    tensors = capture(model)
    restore(model, tensors)
    restore_metrics(model, tensors)        # within an epoch; Keras clears them when it begins one

These are the weights, the optimizer's slots and step count (which the learning rate follows from), the step of the
dropout masks, and the running sums of the metrics.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from star_rating.failures import ConfigurationError

Tensors = Mapping[str, npt.NDArray[Any]]


def capture(model: tf_keras.Model) -> Tensors:
    """Copy the variables."""
    variables = {**_lasting(model), **_metrics(model)}
    return {name: np.asarray(variable.numpy()) for name, variable in variables.items()}


def restore(model: tf_keras.Model, tensors: Tensors) -> None:
    """Set weights, slots and counters; raise ConfigurationError if they are not this model's."""
    variables = _lasting(model)
    missing = sorted(variables.keys() - tensors.keys())
    unknown = sorted(tensors.keys() - variables.keys() - _metrics(model).keys())
    if missing or unknown:
        raise ConfigurationError(
            f"The checkpoint is of another model or optimizer: it lacks {len(missing)} of {len(variables)} variables "
            f"and has {len(unknown)} others, for example {[*missing, *unknown][0]}. Give the job an empty checkpoint "
            "path, or the settings of the run that wrote it."
        )
    for name, variable in variables.items():
        if variable.shape != tensors[name].shape:
            raise ConfigurationError(
                f"The checkpoint is of another model: {name} has shape {tensors[name].shape}, this job's "
                f"{tuple(variable.shape)}. Give the job an empty checkpoint path, or the weights of that run."
            )
        if variable.dtype.as_numpy_dtype != tensors[name].dtype:
            raise ConfigurationError(
                f"The checkpoint is of another model: {name} is {tensors[name].dtype}, this job's "
                f"{variable.dtype.name}. Give the job an empty checkpoint path, or the checkpoints of a run of this "
                "image."
            )
        variable.assign(tensors[name])


def restore_metrics(model: tf_keras.Model, tensors: Tensors) -> None:
    """Set the running sums of an epoch."""
    for name, variable in _metrics(model).items():
        tensor = tensors.get(name)
        if tensor is None or (tensor.dtype, tensor.shape) != (variable.dtype.as_numpy_dtype, variable.shape):
            raise ConfigurationError(
                f"The checkpoint has no running sum {name} of an epoch that it says is not over. Give the job an empty "
                "checkpoint path, or the checkpoints of a run of this image."
            )
        variable.assign(tensor)


def size(model: tf_keras.Model) -> int:
    """Return the bytes that `capture` copies."""
    return sum(variable.dtype.size * variable.shape.num_elements() for variable in _lasting(model).values())


def _lasting(model: tf_keras.Model) -> dict[str, tf.Variable]:
    weights = {f"model/{variable.name}": variable for variable in model.variables}
    slots = {f"optimizer/{variable.name}": variable for variable in model.optimizer.variables}
    return weights | slots


def _metrics(model: tf_keras.Model) -> dict[str, tf.Variable]:
    return {
        f"metric/{metric.name}/{variable.name}": variable for metric in model.metrics for variable in metric.variables
    }
