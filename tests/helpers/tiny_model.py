"""A DistilBERT of 2 layers and 32 dimensions with a tokenizer of its own: real in everything but size.

folder = tiny_weights(tmp_path / "weights")
"""

from __future__ import annotations

import json
import string
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file
from tokenizers import BertWordPieceTokenizer

DIM, HIDDEN_DIM, HEADS, LAYERS, POSITIONS = 32, 64, 4, 2, 512

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = (
    "the a an it is was this that and but not very i my you of for to in on with after works work broke broken good "
    "great best love bad worst poor terrible awful fine ok okay product price battery book"
)
VOCABULARY = [
    *SPECIAL_TOKENS,
    *string.ascii_lowercase,
    *(f"##{letter}" for letter in string.ascii_lowercase),
    *"0123456789.,!?'",
    *(word for word in WORDS.split() if len(word) > 1),
]


def tiny_weights(folder: Path, seed: int = 0) -> Path:
    """Write the checkpoint folder of a body (no head) with random weights, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "architectures": ["DistilBertModel"],
        "model_type": "distilbert",
        "vocab_size": len(VOCABULARY),
        "max_position_embeddings": POSITIONS,
        "n_layers": LAYERS,
        "n_heads": HEADS,
        "dim": DIM,
        "hidden_dim": HIDDEN_DIM,
        "dtype": "float32",
    }
    (folder / "config.json").write_text(json.dumps(config))
    save_file(_random_tensors(seed), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in VOCABULARY))
    tokenizer = BertWordPieceTokenizer({token: index for index, token in enumerate(VOCABULARY)}, lowercase=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    special_tokens = dict(zip(names, SPECIAL_TOKENS, strict=True))
    (folder / "special_tokens_map.json").write_text(json.dumps(special_tokens))
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {"tokenizer_class": "DistilBertTokenizer", "model_max_length": POSITIONS, "do_lower_case": True}
            | special_tokens
        )
    )
    return folder


def _random_tensors(seed: int) -> dict[str, npt.NDArray[np.float32]]:
    """Every tensor away from zero and one, so that a swapped or forgotten one shows."""
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(VOCABULARY), DIM),
        "embeddings.position_embeddings.weight": (POSITIONS, DIM),
    }
    norms = ["embeddings.LayerNorm"]
    kernels: dict[str, tuple[int, ...]] = {}
    for index in range(LAYERS):
        layer = f"transformer.layer.{index}"
        kernels |= {f"{layer}.attention.{name}": (DIM, DIM) for name in ("q_lin", "k_lin", "v_lin", "out_lin")}
        kernels |= {f"{layer}.ffn.lin1": (HIDDEN_DIM, DIM), f"{layer}.ffn.lin2": (DIM, HIDDEN_DIM)}
        norms += [f"{layer}.sa_layer_norm", f"{layer}.output_layer_norm"]
    shapes |= {f"{name}.weight": shape for name, shape in kernels.items()}
    shapes |= {f"{name}.bias": shape[:1] for name, shape in kernels.items()}
    random = np.random.default_rng(seed)
    tensors = {name: random.normal(0, 0.2, shape) for name, shape in shapes.items()}
    tensors |= {f"{name}.weight": random.normal(1, 0.2, DIM) for name in norms}
    tensors |= {f"{name}.bias": random.normal(0, 0.2, DIM) for name in norms}
    return {f"distilbert.{name}": tensor.astype(np.float32) for name, tensor in tensors.items()}
