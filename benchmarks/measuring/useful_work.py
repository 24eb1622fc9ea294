"""The floating-point operations that fine-tuning DistilBERT needs, whoever does it.

Counted are the dense layers, on real tokens: a multiplication and an addition a weight and token forward, twice that
backward. The classifier reads [CLS] alone, so that the last layer's queries, output projection and feed-forward network
are needed once a review. Not counted are attention's own products, embeddings, norms, dropout and the optimizer: the
share of the machine's rate that follows is a lower bound of what its cores do.
"""

from __future__ import annotations

from collections.abc import Mapping

FLOPS_A_WEIGHT = 6
CLASSES = 5


def useful_flops(geometry: Mapping[str, int], tokens: int, reviews: int) -> int:
    """Return the operations of training steps over so many real tokens; `geometry` has config.json's keys."""
    dim, hidden_dim = geometry["dim"], geometry["hidden_dim"]
    keys_and_values = 2 * dim**2
    queries_to_output = 2 * dim**2 + 2 * dim * hidden_dim
    head = dim**2 + dim * CLASSES
    on_tokens = (geometry["n_layers"] - 1) * (keys_and_values + queries_to_output) + keys_and_values
    on_reviews = queries_to_output + head
    return FLOPS_A_WEIGHT * (on_tokens * tokens + on_reviews * reviews)
