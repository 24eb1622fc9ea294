"""Our DistilBERT beside transformers': logits, loss and all gradients of a batch, in each layout that ours can work in.

found = ours(model, in_bucket(batch), labels, jit_compile=True)
assert_alike(found, transformers_own(model, folder, batch, labels))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from star_rating.model import pretrained_weights
from star_rating.model.distilbert import DistilBertClassifier
from star_rating.model.packing import MOST_GROUPS, number_of_groups
from star_rating.model.xla import active_positions
from tests.helpers.transformers_reference import load_reference

TOLERANCE = 1e-5

Array = npt.NDArray[Any]
Batch = dict[str, tf.Tensor]


@dataclass(frozen=True)
class Computed:
    """What a model makes of a batch, dropout off."""

    logits: Array
    loss: Array
    gradients: Mapping[str, Array]
    """By PyTorch's names, which are ours; TensorFlow's layouts."""


def unpadded(batch: Batch) -> Batch:
    """Leave it to the model, which works on the real positions."""
    return batch


def in_groups(batch: Batch) -> Batch:
    """Widen the rows until the model groups the reviews by length."""
    width = batch["input_mask"].shape[1]
    assert number_of_groups(256) == MOST_GROUPS
    return {name: tf.pad(tensor, [[0, 0], [0, 256 - width]]) for name, tensor in batch.items()}


def in_bucket(batch: Batch) -> Batch:
    """Ask for the real positions and as much padding as the batch's bucket has room for."""
    mask = batch["input_mask"]
    chosen = active_positions(mask, batch_size=mask.shape[0])
    assert int(tf.reduce_sum(mask)) < len(chosen) < mask.shape.num_elements()
    return batch | {"active_positions": chosen}


def padded(batch: Batch) -> Batch:
    """Ask for all positions to be worked on, as the padded model does."""
    return batch | {"active_positions": tf.range(tf.size(batch["input_mask"]))}


def variables_by_name(model: DistilBertClassifier) -> dict[str, tf.Variable]:
    return {name: variable for name, variable, _ in pretrained_weights._named_variables(model)}


def loss_of(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))


def ours(model: DistilBertClassifier, batch: Batch, labels: tf.Tensor, *, jit_compile: bool) -> Computed:
    """Compute in one graph, as training does."""
    variables = variables_by_name(model)

    @tf.function(jit_compile=jit_compile)
    def step(batch: Batch) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            logits = model(batch, training=False)
            loss = loss_of(logits, labels)
        return logits, loss, [tf.convert_to_tensor(g) for g in tape.gradient(loss, list(variables.values()))]

    logits, loss, gradients = step(batch)
    return _computed(logits, loss, variables, gradients)


def transformers_own(
    model: DistilBertClassifier, tokenizer_folder: Path, folder: Path, batch: Batch, labels: tf.Tensor
) -> Computed:
    """Save our model to a new folder, load it into TFDistilBertForSequenceClassification, and compute with that."""
    pretrained_weights.save(model, folder, tokenizer_folder)
    reference = load_reference(folder)
    with tf.GradientTape() as tape:
        logits = reference(input_ids=batch["input_ids"], attention_mask=batch["input_mask"], training=False).logits
        loss = loss_of(logits, labels)
    variables = reference.trainable_variables
    return _computed(logits, loss, map(_our_name, variables), tape.gradient(loss, variables))


def assert_alike(found: Computed, expected: Computed) -> None:
    """Compare to TOLERANCE, and each gradient also to its own size: that of a small one shall be right, too."""
    np.testing.assert_allclose(found.logits, expected.logits, atol=TOLERANCE)
    np.testing.assert_allclose(found.loss, expected.loss, atol=TOLERANCE)
    assert found.gradients.keys() == expected.gradients.keys()
    for name, gradient in expected.gradients.items():
        np.testing.assert_allclose(found.gradients[name], gradient, atol=TOLERANCE, err_msg=name)
        # What a key's bias adds to all scores of a query, softmax takes away: its gradient is zero, and rounding.
        if not name.endswith("k_lin.bias"):
            difference, size = np.linalg.norm(found.gradients[name] - gradient), np.linalg.norm(gradient)
            assert difference <= TOLERANCE * size, f"{name} differs by {difference / size:.1e} of its size"


def _computed(logits: tf.Tensor, loss: tf.Tensor, names: Any, gradients: Sequence[Any]) -> Computed:
    whole = [tf.convert_to_tensor(gradient).numpy() for gradient in gradients]  # embeddings have slices
    return Computed(logits.numpy(), loss.numpy(), dict(zip(names, whole, strict=True)))


def _our_name(variable: tf.Variable) -> str:
    """transformers' TensorFlow name -> its PyTorch name, which is ours."""
    path = variable.name.removesuffix(":0").split("/")[1:]
    kind = {"kernel": "weight", "gamma": "weight", "embeddings": "weight", "beta": "bias"}.get(path[-1], path[-1])
    name = ".".join([*path[:-1], kind]).replace("layer_._", "layer.")
    return name.replace("position_embeddings.embeddings", "position_embeddings.weight")
