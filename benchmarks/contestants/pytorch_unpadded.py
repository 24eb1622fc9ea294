"""PyTorch without padding, written by hand: what a strong engineer would use instead of us on a CPU.

    model = UnpaddedDistilBert(DistilBertForSequenceClassification.from_pretrained(folder))
    loss = model(pack(ids, lengths, labels))

The dense layers run on the batch's real tokens, packed one behind the other, by oneDNN; queries, keys and values are
one product; scaled_dot_product_attention runs on groups of reviews of alike length; behind the last layer's attention
there is [CLS] alone. The loss is that of transformers' class, which the weights come from. Batches are random, as ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional
from transformers import DistilBertForSequenceClassification

from benchmarks.contestants import clock as clocks

GROUP = 8
"""Reviews that share a call of attention: fewer leave less padding, more make fewer small products."""


@dataclass(frozen=True)
class Group:
    """Reviews of alike length, a slice of the packed tokens."""

    reviews: int
    width: int
    """Tokens of the longest."""
    tokens: slice
    from_packed: torch.Tensor
    """[reviews * width]: the slice's row for each position; padding repeats the slice's first row."""
    real: torch.Tensor
    """[tokens]: the position of each of the slice's rows."""
    mask: torch.Tensor | None
    """[reviews, 1, 1, width]: true where there is a token; None if there is no padding."""


@dataclass(frozen=True)
class Packed:
    """A batch, its longest reviews first."""

    ids: torch.Tensor
    """[tokens]"""
    positions: torch.Tensor
    """[tokens]: each token's place in its review."""
    firsts: torch.Tensor
    """[reviews]: the rows of [CLS]."""
    groups: tuple[Group, ...]
    labels: torch.Tensor


def pack(ids: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]) -> Packed:
    """Pack a batch: `ids` [reviews, width], of whose rows the first `lengths` are tokens."""
    order = np.argsort(-lengths, kind="stable")
    lengths = lengths[order]
    ends = np.cumsum(lengths)
    return Packed(
        torch.from_numpy(np.concatenate([ids[row, :length] for row, length in zip(order, lengths, strict=True)])),
        torch.from_numpy(np.concatenate([np.arange(length) for length in lengths])),
        torch.from_numpy(ends - lengths),
        tuple(_group(lengths[at : at + GROUP], int(ends[at] - lengths[at])) for at in range(0, len(lengths), GROUP)),
        torch.from_numpy(labels[order]),
    )


def _group(lengths: npt.NDArray[np.int64], first_row: int) -> Group:
    reviews, width, tokens = len(lengths), int(lengths[0]), int(lengths.sum())
    is_real = np.arange(width) < lengths[:, None]
    from_packed = np.zeros((reviews, width), np.int64)
    from_packed[is_real] = np.arange(tokens)
    mask = None if tokens == reviews * width else torch.from_numpy(is_real)[:, None, None, :]
    return Group(
        reviews,
        width,
        slice(first_row, first_row + tokens),
        torch.from_numpy(from_packed.ravel()),
        torch.from_numpy(np.flatnonzero(is_real)),
        mask,
    )


class Pad(torch.autograd.Function):
    """Packed rows to padded ones. Nothing reads the padding, so that its gradient is zero and needs no sum."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, group: Group) -> torch.Tensor:  # noqa: ANN401, D102 - autograd's
        ctx.group = group
        return rows if group.mask is None else rows.index_select(0, group.from_packed)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:  # noqa: ANN401, D102
        (gradient,) = gradients
        return (gradient if ctx.group.mask is None else gradient.index_select(0, ctx.group.real)), None


class Unpad(torch.autograd.Function):
    """Padded rows to packed ones."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, group: Group) -> torch.Tensor:  # noqa: ANN401, D102
        ctx.group, ctx.shape = group, rows.shape
        return rows if group.mask is None else rows.index_select(0, group.real)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:  # noqa: ANN401, D102
        (gradient,) = gradients
        if ctx.group.mask is None:
            return gradient, None
        return gradient.new_zeros(ctx.shape).index_copy_(0, ctx.group.real, gradient), None


class DenseProduct(torch.autograd.Function):
    """A dense layer in float32 by oneDNN, as torch.compile calls it; PyTorch itself takes MKL, slower on an EPYC."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:  # noqa: ANN401, D102
        ctx.save_for_backward(rows, weight)
        return _onednn(rows, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # noqa: ANN401, D102
        (gradient,) = gradients
        rows, weight = ctx.saved_tensors
        of_rows = _onednn(gradient, weight.t(), None)
        return of_rows, _onednn(gradient.t().contiguous(), rows.t(), None), gradient.sum(0)


def _onednn(rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")  # noqa: SLF001
    return product


class Dense(nn.Linear):
    """A dense layer that takes the faster product; autocast has oneDNN's already."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return [rows, out_features]."""
        if torch.is_autocast_enabled("cpu"):
            return functional.linear(rows, self.weight, self.bias)
        return DenseProduct.apply(rows, self.weight, self.bias)


class Layer(nn.Module):
    """A transformer layer with one product for queries, keys and values; the last one answers for [CLS] alone."""

    def __init__(self, theirs: Any, *, last: bool) -> None:  # noqa: ANN401 - transformers' TransformerBlock
        super().__init__()
        attention = theirs.attention
        self.heads, self.attention_dropout, self.last = attention.n_heads, attention.dropout_prob, last
        if last:
            self.queries, self.keys_values = attention.q_lin, _joined(attention.k_lin, attention.v_lin)
        else:
            self.queries_keys_values = _joined(attention.q_lin, attention.k_lin, attention.v_lin)
        self.output, self.norm = attention.out_lin, theirs.sa_layer_norm
        self.feed_forward, self.output_norm = theirs.ffn, theirs.output_layer_norm

    def forward(self, rows: torch.Tensor, batch: Packed) -> torch.Tensor:
        """Return [tokens, dim], of the last layer [reviews, dim]."""
        if self.last:
            projected, rows = self.keys_values(rows), rows.index_select(0, batch.firsts)
            queries = self.queries(rows).split([group.reviews for group in batch.groups])
        else:
            projected, queries = self.queries_keys_values(rows), [None] * len(batch.groups)
        attended = [
            self._attend(projected[group.tokens], group, query)
            for group, query in zip(batch.groups, queries, strict=True)
        ]
        rows = self.norm(self.output(torch.cat(attended)) + rows)
        answer: torch.Tensor = self.output_norm(self.feed_forward(rows) + rows)
        return answer

    def _attend(self, projected: torch.Tensor, group: Group, query: torch.Tensor | None) -> torch.Tensor:
        padded = Pad.apply(projected, group).view(group.reviews, group.width, 2 + (query is None), self.heads, -1)
        parts = [part.transpose(1, 2) for part in padded.unbind(2)]
        if query is not None:
            parts.insert(0, query.view(group.reviews, 1, self.heads, -1).transpose(1, 2))
        dropout = self.attention_dropout if self.training else 0.0
        attended = functional.scaled_dot_product_attention(*parts, attn_mask=group.mask, dropout_p=dropout)
        rows = attended.transpose(1, 2).reshape(-1, projected.shape[1] // (2 + (query is None)))
        return rows if query is not None else Unpad.apply(rows, group)


def _joined(*layers: nn.Linear) -> nn.Linear:
    """Return a dense layer whose outputs are those of several, side by side."""
    joined = nn.Linear(layers[0].in_features, sum(layer.out_features for layer in layers))
    with torch.no_grad():
        joined.weight.copy_(torch.cat([layer.weight for layer in layers]))
        joined.bias.copy_(torch.cat([layer.bias for layer in layers]))
    return joined


class UnpaddedDistilBert(nn.Module):
    """DistilBERT with a classifier, on packed batches; takes its weights from transformers' class."""

    def __init__(self, theirs: DistilBertForSequenceClassification) -> None:
        super().__init__()
        self.embeddings = theirs.distilbert.embeddings
        layers = theirs.distilbert.transformer.layer
        self.layers = nn.ModuleList(Layer(layer, last=layer is layers[-1]) for layer in layers)
        self.pre_classifier, self.classifier, self.dropout = theirs.pre_classifier, theirs.classifier, theirs.dropout
        for module in self.modules():
            if type(module) is nn.Linear:
                module.__class__ = Dense

    def forward(self, batch: Packed) -> torch.Tensor:
        """Return the mean cross-entropy."""
        embeddings = self.embeddings
        rows = embeddings.word_embeddings(batch.ids) + embeddings.position_embeddings(batch.positions)
        rows = embeddings.dropout(embeddings.LayerNorm(rows))
        for layer in self.layers:
            rows = layer(rows, batch)
        pooled = self.dropout(functional.relu(self.pre_classifier(rows)))
        return functional.cross_entropy(self.classifier(pooled).float(), batch.labels)


def batches(case: np.lib.npyio.NpzFile, options: Any) -> Iterator[Packed]:  # noqa: ANN401 - argparse's
    """Yield the plan's batches at random."""
    ids, lengths, labels = case["ids"], case["lengths"], case["labels"]
    for rows in case["mixed"][: options.steps]:
        yield pack(ids[rows], lengths[rows], labels[rows])


def main() -> None:
    """Train for the given steps."""
    options = clocks.arguments()
    torch.set_num_threads(clocks.cores())
    clock = clocks.StepClock()
    model = UnpaddedDistilBert(DistilBertForSequenceClassification.from_pretrained(options.weights)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate, fused=True)
    for batch in batches(np.load(options.case / "batches.npz"), options):
        with torch.autocast("cpu", torch.bfloat16, enabled=options.bfloat16):
            loss = model(batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        clock.step_ended(loss.item())
    clock.report(
        compute=f"{'bfloat16' if options.bfloat16 else 'float32'}, scaled_dot_product_attention on groups of {GROUP}",
        versions={"torch": torch.__version__, "threads": clocks.cores()},
    )


if __name__ == "__main__":
    main()
