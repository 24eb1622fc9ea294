"""How far loss and gradients of the hand-written PyTorch are from transformers'; runs in .venv-pytorch.

    .venv-pytorch/bin/python tests/helpers/unpadded_against_transformers.py CHECKPOINT     # one JSON line

Reviews of many lengths, some of them alike, dropout off. Differences are the largest of a tensor's.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import torch
from transformers import DistilBertForSequenceClassification

from benchmarks.contestants.pytorch_unpadded import UnpaddedDistilBert, pack

LENGTHS = np.array([5, 3, 5, 17, 9, 2, 30, 11, 4, 4, 21, 3, 8, 8, 8, 8, 8, 8, 8, 8, 1, 2])


def main() -> None:
    """Compare."""
    folder = sys.argv[1]
    theirs = DistilBertForSequenceClassification.from_pretrained(folder).eval()
    ours = UnpaddedDistilBert(DistilBertForSequenceClassification.from_pretrained(folder)).eval()
    pick = np.random.default_rng(0)
    mask = (np.arange(LENGTHS.max()) < LENGTHS[:, None]).astype(np.int64)
    ids = pick.integers(5, 99, mask.shape) * mask
    labels = pick.integers(0, 5, len(LENGTHS))
    their_loss = theirs(
        input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask), labels=torch.from_numpy(labels)
    ).loss
    our_loss = ours(pack(ids, LENGTHS, labels))
    their_loss.backward()
    our_loss.backward()
    layers, last = theirs.distilbert.transformer.layer, ours.layers[-1]
    first_joined = [getattr(layers[0].attention, f"{name}_lin").weight.grad for name in "qkv"]
    last_joined = [getattr(layers[-1].attention, f"{name}_lin").weight.grad for name in "kv"]
    pairs: dict[str, tuple[Any, Any]] = {
        "word embeddings": (
            theirs.distilbert.embeddings.word_embeddings.weight.grad,
            ours.embeddings.word_embeddings.weight.grad,
        ),
        "first layer's queries, keys and values": (
            torch.cat(first_joined),
            ours.layers[0].queries_keys_values.weight.grad,
        ),
        "last layer's queries": (layers[-1].attention.q_lin.weight.grad, last.queries.weight.grad),
        "last layer's keys and values": (torch.cat(last_joined), last.keys_values.weight.grad),
        "classifier": (theirs.classifier.weight.grad, ours.classifier.weight.grad),
    }
    differences = {name: float((one - other).abs().max()) for name, (one, other) in pairs.items()}
    sys.stdout.write(json.dumps({"loss": float((their_loss - our_loss).abs()), "gradients": differences}))


if __name__ == "__main__":
    main()
