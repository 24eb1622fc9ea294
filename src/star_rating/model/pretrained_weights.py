"""Pretrained weights: transformers' folders, read into our DistilBERT and written from it, without transformers.

    weights = load(folder)
    model = DistilBertClassifier(weights.config)
    head_loaded = load_into(model, weights)
    save(model, exported, tokenizer_folder=folder, id2label=STAR_LABELS)

A folder holds config.json, model.safetensors with PyTorch's names and layouts (a kernel is [out, in]), and the
tokenizer's files. transformers' AutoModelForSequenceClassification and TFDistilBertForSequenceClassification load what
`save` writes.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialize

from star_rating.data.schema import STARS
from star_rating.failures import WeightsError
from star_rating.model.config import DistilBertConfig
from star_rating.model.tokenizer import export_tokenizer

if TYPE_CHECKING:  # TensorFlow takes seconds to import, and checking a folder does not need it
    import tensorflow as tf
    import tf_keras

    from star_rating.model.distilbert import DistilBertClassifier

log = logging.getLogger(__name__)

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
STAR_LABELS: Mapping[int, str] = dict(enumerate(STARS))
"""Class -> star rating, as in the TFRecords' label_ids."""

ENCODER_PREFIX = "distilbert."
HEAD_LAYERS = ("pre_classifier", "classifier")
MEAN_WEIGHT = 10.0
"""Of the mean of a review's tokens beside its [CLS], which a residual connection adds."""


@dataclass(frozen=True)
class PretrainedWeights:
    """A checkpoint folder's content, in memory."""

    folder: Path
    config: DistilBertConfig
    tensors: Mapping[str, npt.NDArray[np.float32]]
    """float32 by name, the encoder's with the `distilbert.` prefix, PyTorch's layouts."""

    def with_pooling(self, pooling: str, seed: int) -> PretrainedWeights:
        """Return the weights to start from: for pooling "mean" with one layer more, which mixes the tokens into [CLS].

        Its heads attend to all tokens nearly alike, and values and outputs pass through: [CLS] becomes the layer norm
        of itself plus MEAN_WEIGHT times the mean of the review's tokens. The rest of the layer begins as small random
        numbers. It is a layer of DistilBERT like the others, so that whatever loads a DistilBERT loads the result; it
        learns whom to attend to. Weights that have a head for the stars were trained as they are, and stay so.
        """
        if pooling == "cls":
            return self
        if "classifier.weight" in self.tensors and len(self.tensors["classifier.weight"]) == len(STAR_LABELS):
            log.info("pooling=%s: the weights have a classification head, and keep the pooling that it knows", pooling)
            return self
        config = replace(self.config, n_layers=self.config.n_layers + 1)
        random = np.random.default_rng(seed)
        prefix = f"{ENCODER_PREFIX}transformer.layer.{self.config.n_layers}."
        added = {}
        for name, shape in _encoder_shapes(config):
            if not name.startswith(prefix):
                continue
            value = random.normal(0.0, config.initializer_range, shape)
            match name.removeprefix(prefix):
                case "attention.v_lin.weight":
                    value = MEAN_WEIGHT * np.eye(config.dim)
                case "attention.out_lin.weight":
                    value = np.eye(config.dim)
                case "sa_layer_norm.weight" | "output_layer_norm.weight":
                    value += 1.0
            added[name] = value.astype(np.float32)
        return replace(self, config=config, tensors={**self.tensors, **added})


def load(folder: Path) -> PretrainedWeights:
    """Read a folder; a WeightsError says what is wrong with it and what to do."""
    config, path = read_config(folder), find_weights(folder)
    tensors = _read_tensors(path)
    _check_tensors(tensors, config, path)
    return PretrainedWeights(folder, config, tensors)


def read_config(folder: Path) -> DistilBertConfig:
    """Read and check config.json."""
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise WeightsError(
            f"{folder} has no {CONFIG_FILE}. Give a folder as save_pretrained of transformers writes it."
        )
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path} cannot be read as JSON: {error}. Copy the checkpoint again.") from error
    if not isinstance(document, dict):
        raise WeightsError(f"{path} holds no JSON object. Copy the checkpoint again.")
    return DistilBertConfig.from_json(document, path)


def find_weights(folder: Path) -> Path:
    """Return the path of model.safetensors; where another format lies instead, the WeightsError says how to convert."""
    path = folder / WEIGHTS_FILE
    if path.is_file():
        return path
    convert = (
        "Convert it once where transformers is installed: DistilBertModel.from_pretrained(folder{option})"
        ".save_pretrained(folder, safe_serialization=True)."
    )
    if (folder / "pytorch_model.bin").is_file():
        raise WeightsError(f"{folder} has pytorch_model.bin but no {WEIGHTS_FILE}. {convert.format(option='')}")
    if (folder / "tf_model.h5").is_file():
        raise WeightsError(f"{folder} has tf_model.h5 but no {WEIGHTS_FILE}. {convert.format(option=', from_tf=True')}")
    raise WeightsError(f"{folder} has no {WEIGHTS_FILE}. Give a folder as save_pretrained of transformers writes it.")


def load_into(model: DistilBertClassifier, weights: PretrainedWeights) -> bool:
    """Set the model's encoder and, if the checkpoint has one for as many classes, its head.

    Returns whether the head was set; otherwise it keeps its fresh weights. A WeightsError names a missing tensor, or
    one of another shape; then nothing has been set.
    """
    tensors = weights.tensors
    classes = tensors["classifier.weight"].shape[0] if "classifier.weight" in tensors else None
    head_loaded = classes == model.number_of_classes
    assignments = []
    for name, variable, is_kernel in _named_variables(model):
        if name.partition(".")[0] in HEAD_LAYERS and not head_loaded:
            continue
        if name not in tensors:
            raise WeightsError(
                f"{weights.folder / WEIGHTS_FILE} has no tensor {name}. "
                "It must hold a whole DistilBERT of the geometry in config.json."
            )
        value = tensors[name].T if is_kernel else tensors[name]
        if value.shape != tuple(variable.shape):
            expected = tuple(reversed(variable.shape)) if is_kernel else tuple(variable.shape)
            raise WeightsError(
                f"{weights.folder / WEIGHTS_FILE}: tensor {name} has shape {tensors[name].shape}, "
                f"but config.json makes it {expected}. The two files must be of one checkpoint."
            )
        assignments.append((variable, value))
    for variable, value in assignments:
        variable.assign(value)
    return head_loaded


def save(
    model: DistilBertClassifier, folder: Path, tokenizer_folder: Path, id2label: Mapping[int, str] = STAR_LABELS
) -> None:
    """Write config.json, model.safetensors and the tokenizer's files to `folder`, made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "architectures": ["DistilBertForSequenceClassification"],
        **model.config.to_json(),
        "dtype": "float32",
        "problem_type": "single_label_classification",
        "id2label": {str(index): label for index, label in id2label.items()},
        "label2id": {label: index for index, label in id2label.items()},
        "transformers_version": version("transformers"),
    }
    (folder / CONFIG_FILE).write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    tensors = {
        name: np.ascontiguousarray(variable.numpy().T if is_kernel else variable.numpy(), dtype=np.float32)
        for name, variable, is_kernel in _named_variables(model)
    }
    # transformers refuses a file that does not say whose names and layouts it has. Written here, not by safetensors'
    # save_file, which makes files that their owner alone can read.
    (folder / WEIGHTS_FILE).write_bytes(serialize(tensors, metadata={"format": "pt"}))
    export_tokenizer(tokenizer_folder, folder)


def _read_tensors(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    try:
        with safe_open(path, framework="np") as file:
            if (file.metadata() or {}).get("format") == "tf":
                raise WeightsError(
                    f"{path} was written by a TensorFlow class of transformers, with other names and layouts. Save the "
                    "model with a PyTorch class: DistilBertModel.from_pretrained(folder, from_tf=True)."
                )
            return {_full_name(name): file.get_tensor(name).astype(np.float32, copy=False) for name in file.keys()}  # noqa: SIM118 (no iterator)
    except (SafetensorError, OSError, TypeError) as error:
        raise WeightsError(f"{path} is damaged or not a safetensors file ({error}). Copy it again.") from error


def _check_tensors(tensors: Mapping[str, npt.NDArray[np.float32]], config: DistilBertConfig, path: Path) -> None:
    """Refuse, before a model is built of config.json's numbers, weights that are not those of its geometry.

    The names come one by one: a config of a billion layers ends at the first that is not there.
    """
    for name, shape in _encoder_shapes(config):
        if name not in tensors:
            raise WeightsError(
                f"{path} has no tensor {name}. It must hold a whole DistilBERT of the geometry in {CONFIG_FILE}."
            )
        if tensors[name].shape != shape:
            raise WeightsError(
                f"{path}: tensor {name} has shape {tensors[name].shape}, but {CONFIG_FILE} makes it {shape}. The two "
                "files must be of one checkpoint."
            )
    if any(name.startswith(f"{ENCODER_PREFIX}transformer.layer.{config.n_layers}.") for name in tensors):
        log.warning(
            "%s has more layers than n_layers in %s, which is %d: the rest is left out",
            path,
            CONFIG_FILE,
            config.n_layers,
        )
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise WeightsError(
                f"{path}: tensor {name} holds NaN or infinite values, nothing can be trained from it. Bring an earlier "
                "checkpoint of that training."
            )


def _encoder_shapes(config: DistilBertConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield name and shape of the encoder's tensors, as PyTorch has them."""
    dim, hidden_dim = config.dim, config.hidden_dim
    yield f"{ENCODER_PREFIX}embeddings.word_embeddings.weight", (config.vocab_size, dim)
    yield f"{ENCODER_PREFIX}embeddings.position_embeddings.weight", (config.max_position_embeddings, dim)
    norms = [f"{ENCODER_PREFIX}embeddings.LayerNorm"]
    for layer in range(config.n_layers):
        prefix = f"{ENCODER_PREFIX}transformer.layer.{layer}"
        kernels = {f"attention.{name}": (dim, dim) for name in ("q_lin", "k_lin", "v_lin", "out_lin")}
        kernels |= {"ffn.lin1": (hidden_dim, dim), "ffn.lin2": (dim, hidden_dim)}
        for name, shape in kernels.items():
            yield f"{prefix}.{name}.weight", shape
            yield f"{prefix}.{name}.bias", shape[:1]
        norms += [f"{prefix}.sa_layer_norm", f"{prefix}.output_layer_norm"]
        while norms:
            norm = norms.pop(0)
            yield f"{norm}.weight", (dim,)
            yield f"{norm}.bias", (dim,)


def _full_name(name: str) -> str:
    """Give an encoder's tensor its prefix; AutoModel, which has no head, saves without it."""
    return f"{ENCODER_PREFIX}{name}" if name.startswith(("embeddings.", "transformer.")) else name


def _named_variables(model: DistilBertClassifier) -> Iterator[tuple[str, tf.Variable, bool]]:
    """Yield PyTorch's name, our variable, and whether it is a kernel, which PyTorch keeps transposed."""
    for prefix, layer in _named_layers(model):
        for attribute, suffix in (
            ("embeddings", "weight"),
            ("kernel", "weight"),
            ("gamma", "weight"),
            ("beta", "bias"),
            ("bias", "bias"),
        ):
            if hasattr(layer, attribute):
                yield f"{prefix}.{suffix}", getattr(layer, attribute), attribute == "kernel"


def _named_layers(model: DistilBertClassifier) -> Iterator[tuple[str, tf_keras.layers.Layer]]:
    embeddings = model.distilbert.embeddings
    yield "distilbert.embeddings.word_embeddings", embeddings.word_embeddings
    yield "distilbert.embeddings.position_embeddings", embeddings.position_embeddings
    yield "distilbert.embeddings.LayerNorm", embeddings.layer_norm
    for index, block in enumerate(model.distilbert.blocks):
        prefix = f"distilbert.transformer.layer.{index}"
        for name in ("q_lin", "k_lin", "v_lin", "out_lin"):
            yield f"{prefix}.attention.{name}", getattr(block.attention, name)
        yield f"{prefix}.sa_layer_norm", block.sa_layer_norm
        yield f"{prefix}.ffn.lin1", block.lin1
        yield f"{prefix}.ffn.lin2", block.lin2
        yield f"{prefix}.output_layer_norm", block.output_layer_norm
    for name in HEAD_LAYERS:
        yield name, getattr(model, name)
