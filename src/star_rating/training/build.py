"""The model of a run: compiled, with the pretrained weights, and with all the variables that a step needs."""

from __future__ import annotations

import logging

import tf_keras

from star_rating.checkpointing import model_state
from star_rating.data.schema import NUMBER_OF_CLASSES
from star_rating.failures import HyperparameterError
from star_rating.hyperparameters import Hyperparameters
from star_rating.model import pretrained_weights
from star_rating.model.distilbert import DistilBertClassifier
from star_rating.model.optimizer import build_optimizer
from star_rating.training.progress import Examples
from star_rating.training.skipping import SkippingClassifier

log = logging.getLogger(__name__)


def build_model(
    hyperparameters: Hyperparameters,
    pretrained: pretrained_weights.PretrainedWeights,
    total_steps: int,
    classifier: type[DistilBertClassifier] | None = None,
) -> DistilBertClassifier:
    """Return a compiled classifier with the pretrained weights; its head is new unless the checkpoint has one."""
    positions = pretrained.config.max_position_embeddings
    if hyperparameters.max_seq_length > positions:
        raise HyperparameterError(
            f"Hyperparameter max_seq_length is {hyperparameters.max_seq_length}: the weights have {positions} "
            f"positions. Set it to {positions} at the most, and run `prepare` with the same number."
        )
    if classifier is None:
        classifier = SkippingClassifier if hyperparameters.skip_nonfinite_steps else DistilBertClassifier
    model = classifier(pretrained.config, NUMBER_OF_CLASSES)
    if pretrained_weights.load_into(model, pretrained):
        log.info("the classification head comes from the weights")
    if hyperparameters.freeze_bert_layer:
        model.freeze_body()
    model.compile(
        optimizer=build_optimizer(hyperparameters, total_steps),
        loss=tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[tf_keras.metrics.SparseCategoricalAccuracy("accuracy"), Examples()],
    )
    model_state.build(model, NUMBER_OF_CLASSES)
    return model
