"""DistilBERT's geometry and dropout, as transformers' config.json spells them.

    config = DistilBertConfig.from_json(json.loads(path.read_text()), path)

Imports no TensorFlow, so that a folder of weights can be checked before the seconds that TensorFlow takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from star_rating.failures import WeightsError, quote

LARGEST = 2**31 - 1
"""What a tensor's dimension can be."""


@dataclass(frozen=True)
class DistilBertConfig:
    """The keys of config.json that change the computation; the defaults are transformers' own."""

    vocab_size: int = 30522
    max_position_embeddings: int = 512
    """The longest sequence, in tokens."""
    n_layers: int = 6
    n_heads: int = 12
    dim: int = 768
    """Width of a token's vector; a multiple of n_heads."""
    hidden_dim: int = 3072
    """Width inside the feed-forward network."""
    dropout: float = 0.1
    """Of the embeddings and of each feed-forward network's output."""
    attention_dropout: float = 0.1
    """Of the attention probabilities."""
    seq_classif_dropout: float = 0.2
    """Of the classification head."""
    initializer_range: float = 0.02
    """Standard deviation of fresh weights."""

    @classmethod
    def from_json(cls, document: Mapping[str, object], source: Path) -> DistilBertConfig:
        """Read the decoded config.json; `source` is the file that a WeightsError names."""
        if document.get("model_type") != "distilbert":
            raise WeightsError(
                f"{source} has model_type {quote(document.get('model_type'))}; this image trains DistilBERT "
                "('distilbert'). Bring a DistilBERT checkpoint."
            )
        if document.get("activation", "gelu") != "gelu":
            raise WeightsError(f"{source}: activation is {quote(document['activation'])}; only 'gelu' is supported.")
        values = {field.name: document[field.name] for field in fields(cls) if field.name in document}
        for name, value in values.items():
            _check_value(name, value, source)
        config = cls(**values)  # type: ignore[arg-type]  # checked by the loop above
        if config.dim % config.n_heads:
            raise WeightsError(f"{source}: dim {config.dim} is not a multiple of n_heads {config.n_heads}.")
        return config

    def to_json(self) -> dict[str, object]:
        """Return what transformers' DistilBertConfig reads back as the same model."""
        return {
            "model_type": "distilbert",
            "activation": "gelu",
            "pad_token_id": 0,
            # The position embeddings are in the weights file, however they were made.
            "sinusoidal_pos_embds": False,
            "tie_weights_": True,
            **{field.name: getattr(self, field.name) for field in fields(self)},
        }


def _check_value(name: str, value: object, source: Path) -> None:
    """Reject a value that is not of the field's kind: a share, a positive number or a positive whole number."""
    default = getattr(DistilBertConfig, name)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(default, int):
        allowed = f"a positive whole number, up to {LARGEST:,}"
        valid = isinstance(value, int) and is_number and 0 < value <= LARGEST
    elif name == "initializer_range":
        allowed, valid = "a positive number, up to 10", is_number and 0 < value <= 10  # type: ignore[operator]
    else:
        allowed, valid = "a share of at least 0 and below 1", is_number and 0 <= value < 1  # type: ignore[operator]
    if not valid:
        raise WeightsError(f"{source}: {name} is {quote(value)}; it must be {allowed}.")
