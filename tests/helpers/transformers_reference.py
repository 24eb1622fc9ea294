"""transformers' own TensorFlow DistilBERT, to compare ours with.

reference = load_reference(folder)
logits = reference(input_ids=ids, attention_mask=mask, training=False).logits
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import TFDistilBertForSequenceClassification


@contextmanager
def quietly() -> Iterator[None]:
    """Let transformers warn of its TensorFlow classes' end without failing a test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def load_reference(folder: Path) -> Any:
    """Load a checkpoint with a head into TFDistilBertForSequenceClassification; every weight must be found."""
    with quietly():
        model, info = TFDistilBertForSequenceClassification.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values()), info
    return model
