"""A checkpoint of random weights for all contestants to start from, as transformers' PyTorch class would save it.

    write_weights(folder, DistilBertConfig(), tokenizer_folder)

Speed does not depend on what the weights are, as long as they are not special: these are drawn as transformers draws
a new model's. Written without any of the contestants, so that none has a part in it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from star_rating.model.config import DistilBertConfig

CLASSES = 5
Shape = tuple[int, ...]


def write_weights(folder: Path, config: DistilBertConfig, tokenizer_folder: Path, seed: int = 0) -> None:
    """Write config.json, model.safetensors and tokenizer.json."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        **config.to_json(),
        "architectures": ["DistilBertForSequenceClassification"],
        "id2label": {str(index): str(index + 1) for index in range(CLASSES)},
    }
    (folder / "config.json").write_text(json.dumps(document, indent=2), encoding="utf-8")
    pick = np.random.default_rng(seed)
    tensors = {name: draw(name, shape, config.initializer_range, pick) for name, shape in shapes(config)}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    shutil.copyfile(tokenizer_folder / "tokenizer.json", folder / "tokenizer.json")


def draw(name: str, shape: Shape, deviation: float, pick: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return a new tensor: normal, but for biases (zero) and the norms' factors (one)."""
    if name.endswith("bias"):
        return np.zeros(shape, np.float32)
    if len(shape) == 1:
        return np.ones(shape, np.float32)
    return pick.normal(0, deviation, shape).astype(np.float32)


def shapes(config: DistilBertConfig) -> Iterator[tuple[str, Shape]]:
    """Yield each tensor's name and shape; a weight of a dense layer is [out, in]."""
    dim, hidden_dim = config.dim, config.hidden_dim
    yield "distilbert.embeddings.word_embeddings.weight", (config.vocab_size, dim)
    yield "distilbert.embeddings.position_embeddings.weight", (config.max_position_embeddings, dim)
    layers: dict[str, Shape] = {"distilbert.embeddings.LayerNorm": (dim,)}
    for index in range(config.n_layers):
        layer = f"distilbert.transformer.layer.{index}"
        layers |= {f"{layer}.attention.{name}": (dim, dim) for name in ("q_lin", "k_lin", "v_lin", "out_lin")}
        layers |= {f"{layer}.ffn.lin1": (hidden_dim, dim), f"{layer}.ffn.lin2": (dim, hidden_dim)}
        layers |= {f"{layer}.{name}": (dim,) for name in ("sa_layer_norm", "output_layer_norm")}
    layers |= {"pre_classifier": (dim, dim), "classifier": (CLASSES, dim)}
    for name, shape in layers.items():
        yield f"{name}.weight", shape
        yield f"{name}.bias", shape[:1]
