"""The pretrained weights' own tokenizer, cut to max_seq_length, in batches on all cores.

tokenizer = load_tokenizer(Path("/opt/distilbert-trainer/weights"), max_seq_length=64)
ids = tokenizer.encode(["Great product", "Broke after a week"]).ids
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tokenizers import Tokenizer

from star_rating.data.text_processing import UNCHANGED, TextProcessing, head_and_tail
from star_rating.failures import WeightsError

PAD_TOKEN = "[PAD]"  # noqa: S105 - a BERT token, not a secret


class TokenizedBatch(NamedTuple):
    """Token ids of a batch, unpadded, in order."""

    ids: list[list[int]]
    truncated: list[bool]
    """Whether the review was longer than max_seq_length."""


@dataclass(frozen=True)
class ReviewTokenizer:
    """A tokenizer that truncates and does not pad."""

    name: str
    sha256: str
    """Of the bytes of tokenizer.json; training compares it with its own weights' tokenizer."""
    vocabulary_size: int
    """One more than the largest id."""
    pad_id: int
    max_seq_length: int
    processing: TextProcessing
    _tokenizer: Tokenizer

    def encode(self, texts: Sequence[str]) -> TokenizedBatch:
        """Tokenise a batch, [CLS] and [SEP] included; runs outside the interpreter lock, on all cores."""
        encodings = self._tokenizer.encode_batch_fast(texts)
        longest = self.max_seq_length
        if self.processing.truncate == "head-tail":
            whole = [encoding.ids for encoding in encodings]
            return TokenizedBatch([head_and_tail(row, longest) for row in whole], [len(row) > longest for row in whole])
        ids = [encoding.ids for encoding in encodings]
        # `overflowing` makes a Python list of what was cut off: ask only where it can be anything but empty.
        truncated = [
            len(row) == longest and bool(encoding.overflowing) for row, encoding in zip(ids, encodings, strict=True)
        ]
        return TokenizedBatch(ids, truncated)

    def has_token(self, text: str) -> bool:
        """Tell whether a text holds a token besides those that every text gets."""
        return bool(self._tokenizer.encode(text, add_special_tokens=False).ids)


def load_tokenizer(weights: Path, max_seq_length: int, processing: TextProcessing = UNCHANGED) -> ReviewTokenizer:
    """Load `weights`/tokenizer.json; raise WeightsError when it is missing, damaged, or has no [PAD]."""
    path = weights / "tokenizer.json"
    try:
        serialized = path.read_bytes()
    except OSError as error:
        raise WeightsError(
            f"{path} cannot be read: {error.strerror}. Point --weights at a folder of pretrained weights that holds a "
            "tokenizer.json."
        ) from error
    try:
        tokenizer = Tokenizer.from_buffer(serialized)
    except ValueError as error:
        raise WeightsError(
            f"{path} is not a tokenizer of the `tokenizers` library. Copy it again from the model's page."
        ) from error
    pad_id = tokenizer.token_to_id(PAD_TOKEN)
    if pad_id is None:
        raise WeightsError(f"{path} has no token {PAD_TOKEN}. Use the tokenizer of a BERT or DistilBERT model.")
    # Published files carry the settings of whoever saved them, for example padding to 128.
    tokenizer.no_padding()
    if processing.truncate == "head":
        tokenizer.enable_truncation(max_seq_length)
    else:
        tokenizer.no_truncation()
    return ReviewTokenizer(
        name=_model_name(weights),
        sha256=hashlib.sha256(serialized).hexdigest(),
        vocabulary_size=max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1,
        pad_id=pad_id,
        max_seq_length=max_seq_length,
        processing=processing,
        _tokenizer=tokenizer,
    )


def _model_name(weights: Path) -> str:
    """Return the name that the weights' config.json gives itself, or else the folder's."""
    try:
        config = json.loads((weights / "config.json").read_bytes())
    except (OSError, ValueError):
        config = {}
    named = config.get("_name_or_path") if isinstance(config, dict) else None
    return str(named or weights.resolve().name)
