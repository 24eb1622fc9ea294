"""The model as others load it: SavedModel, transformers checkpoint, inference code; each is read back before it counts.

export_model(model, weights_folder, model_dir, max_seq_length=64)
verify_exports(model, model_dir, max_seq_length=64)
"""

from __future__ import annotations

import json
import logging
import shutil
import warnings
from importlib import metadata
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from star_rating.data.text_processing import UNCHANGED, TextProcessing
from star_rating.failures import DiskFullError, ExportError
from star_rating.model import pretrained_weights
from star_rating.model.distilbert import DistilBertClassifier
from star_rating.model.pretrained_weights import PretrainedWeights
from star_rating.results import inference
from star_rating.results.calibration import UNCALIBRATED, Calibration

log = logging.getLogger(__name__)

SAVED_MODEL = Path("tensorflow/saved_model/0")
FINE_TUNED = Path("transformers/fine-tuned")
PREPROCESSING = "preprocessing.json"
"""Beside the tokenizer: TextProcessing, for inference.py."""
CALIBRATION = "calibration.json"
"""The temperature of the SavedModel's probabilities, for who loads the transformers folder."""
NUMBER_OF_EXPORTS = 2
"""SavedModel and transformers: each holds the weights."""
LARGEST_DIFFERENCE = 1e-4
"""Between the logits of an export and of the model in memory; float32 through another implementation."""


def serving_module(classifier: DistilBertClassifier, temperature: float = 1.0) -> tf.Module:
    """Return what TensorFlow Serving runs: int32 [batch, length] twice, to logits and probabilities [batch, 5].

    The probabilities are those of the logits divided by `temperature`.
    """

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None], tf.int32, name="input_ids"),
            tf.TensorSpec([None, None], tf.int32, name="input_mask"),
        ]
    )
    def serve(input_ids: tf.Tensor, input_mask: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = classifier({"input_ids": input_ids, "input_mask": input_mask}, training=False)
        return {"logits": logits, "probabilities": tf.nn.softmax(logits / temperature)}

    module = tf.Module()
    # The variables and not the model: a Keras model in the tree would have each of its layers traced and saved apart.
    module.model_variables = classifier.variables
    module.serve = serve
    return module


def require_space(model_dir: Path, weights: PretrainedWeights) -> None:
    """Raise DiskFullError now if the exports of these weights will not fit later, after hours of training."""
    model_dir.mkdir(parents=True, exist_ok=True)
    needed = NUMBER_OF_EXPORTS * sum(tensor.nbytes for tensor in weights.tensors.values())
    free = shutil.disk_usage(model_dir).free
    if free < needed:
        raise DiskFullError(
            f"{model_dir} has {free / 1e6:,.0f} MB free, the exports need {needed / 1e6:,.0f} MB. "
            "Give the job a larger volume (VolumeSizeInGB)."
        )


def export_model(
    model: DistilBertClassifier,
    weights_folder: Path,
    model_dir: Path,
    max_seq_length: int,
    processing: TextProcessing = UNCHANGED,
    calibration: Calibration = UNCALIBRATED,
) -> None:
    """Write every export below model_dir; `weights_folder` lends its tokenizer.

    `processing` is that of the train channel's texts: whoever serves the model has to do the same.
    """
    _save_transformers(model, weights_folder, model_dir / FINE_TUNED, max_seq_length)
    settings = json.dumps(processing.as_settings(), indent=2)
    (model_dir / FINE_TUNED / PREPROCESSING).write_text(settings + "\n", encoding="utf-8")
    calibration.write(model_dir / FINE_TUNED / CALIBRATION)
    _save_saved_model(model, model_dir, calibration.temperature)
    code = model_dir / "code"
    code.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(inference.__file__, code / "inference.py")
    # SageMaker's TensorFlow Serving container installs this file before it imports inference.py.
    (code / "requirements.txt").write_text(f"tokenizers=={metadata.version('tokenizers')}\n", encoding="utf-8")


def _save_transformers(model: DistilBertClassifier, weights_folder: Path, folder: Path, max_seq_length: int) -> None:
    pretrained_weights.save(model, folder, weights_folder)
    # Whoever loads this tokenizer should truncate where training did.
    config_file = folder / "tokenizer_config.json"
    config = json.loads(config_file.read_text(encoding="utf-8")) if config_file.exists() else {}
    config["model_max_length"] = max_seq_length
    config_file.write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")


def _save_saved_model(model: DistilBertClassifier, model_dir: Path, temperature: float) -> None:
    # Exported in float32 whatever it was trained in: the variables are float32, and servers need no bfloat16.
    module = serving_module(_float32_copy(model, model_dir / FINE_TUNED), temperature)
    shutil.rmtree(model_dir / SAVED_MODEL, ignore_errors=True)
    tf.saved_model.save(module, str(model_dir / SAVED_MODEL), signatures={"serving_default": module.serve})


def _float32_copy(model: DistilBertClassifier, folder: Path) -> DistilBertClassifier:
    policy = tf_keras.mixed_precision.global_policy()
    tf_keras.mixed_precision.set_global_policy("float32")
    try:
        copy = DistilBertClassifier(model.config, model.number_of_classes)
        pretrained_weights.load_into(copy, pretrained_weights.load(folder))
    finally:
        tf_keras.mixed_precision.set_global_policy(policy)
    return copy


def verify_exports(model: DistilBertClassifier, model_dir: Path, max_seq_length: int) -> float:
    """Load both exports; return the largest difference of their logits from the model's, or raise ExportError."""
    batch = _probe_batch(model.config.vocab_size, max_seq_length)
    copy = _float32_copy(model, model_dir / FINE_TUNED)
    expected = copy(batch, training=False).numpy()
    # The same sums in another order: where they differ more, the model has diverged, and no reader can agree better.
    padded = batch | {"active_positions": tf.range(tf.size(batch["input_mask"]))}
    allowed = max(LARGEST_DIFFERENCE, 10 * float(np.abs(copy(padded, training=False).numpy() - expected).max()))
    if model.compute_dtype == "float32":
        _compare("the trained weights", np.asarray(model(batch, training=False)), expected, allowed)
    serve = tf.saved_model.load(str(model_dir / SAVED_MODEL)).signatures["serving_default"]
    largest = max(
        _compare("tensorflow/saved_model/0", serve(**batch)["logits"].numpy(), expected, allowed),
        _compare("transformers/fine-tuned", _transformers_logits(model_dir / FINE_TUNED, batch), expected, allowed),
    )
    log.info("exports read back: logits differ from the trained model's by at most %.1e", largest)
    return largest


def _probe_batch(vocabulary_size: int, max_seq_length: int) -> dict[str, tf.Tensor]:
    """Return reviews of several lengths, the longest and the shortest among them; any ids will do."""
    lengths = np.unique(np.linspace(2, max_seq_length, num=4, dtype=np.int64))
    mask = (np.arange(max_seq_length) < lengths[:, None]).astype(np.int32)
    ids = np.random.default_rng(0).integers(0, vocabulary_size, size=mask.shape) * mask
    return {"input_ids": tf.constant(ids, tf.int32), "input_mask": tf.constant(mask, tf.int32)}


def _transformers_logits(folder: Path, batch: dict[str, tf.Tensor]) -> npt.NDArray[np.float32]:
    """Ask transformers itself: it is what the export promises to work with."""
    policy = tf_keras.mixed_precision.global_policy()
    tf_keras.mixed_precision.set_global_policy("float32")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # transformers deprecates its TensorFlow classes
            from transformers import TFDistilBertForSequenceClassification  # four seconds, at the end of a job
            from transformers.utils import logging as transformers_logging

            transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
            loaded = TFDistilBertForSequenceClassification.from_pretrained(str(folder))
            return np.asarray(loaded(input_ids=batch["input_ids"], attention_mask=batch["input_mask"]).logits)
    finally:
        tf_keras.mixed_precision.set_global_policy(policy)


def _compare(what: str, found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32], allowed: float) -> float:
    difference = float(np.abs(found - expected).max())
    if not difference <= allowed:
        raise ExportError(
            f"The export {what}, loaded again, differs from the trained model by {difference:.2g} in its logits "
            f"(allowed: {allowed:g}). This is a defect of the image; keep the checkpoint and report it."
        )
    return difference
