"""Which tensors a rule inspects: AWS's parameters collection_names and tensor_regex."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from observability.rules.rule import OURS, Array, Step, TensorRule, parameter

NUMBERS = "fiub"
"""Kinds of numpy's dtypes; a text is nobody's business."""


@dataclass
class SelectingRule(TensorRule):
    """A rule on the tensors that its parameters select: the union of both, or all."""

    collection_names: str = parameter("", "collections to inspect, with commas between", OURS)
    tensor_regex: str = parameter("", "regular expressions of tensor names to inspect, with commas between", OURS)

    def __post_init__(self) -> None:
        """Start with nothing seen."""
        self.collections = listed(self.collection_names)
        self.patterns = listed(self.tensor_regex)
        for pattern in self.patterns:
            re.compile(pattern)
        self.seen = False

    def selected(self, step: Step) -> Iterator[tuple[str, Array]]:
        """Yield name and value."""
        for name in step.names(self.collections, self.patterns):
            value = step.value(name)
            if value.dtype.kind in NUMBERS and value.size:
                self.seen = True
                yield name, value

    def reductions(self, step: Step, *kinds: str) -> Iterator[tuple[str, list[float]]]:
        """Yield name and reductions of what was saved as reductions alone; those that have all `kinds`."""
        for name in step.reduced(self.collections, self.patterns):
            values = [value for kind in kinds if (value := step.reduction(name, kind)) is not None]
            if len(values) == len(kinds):
                self.seen = True
                yield name, values

    def missing(self) -> str:
        """Name the collections and expressions if no tensor was in them."""
        return "" if self.seen else f"no tensor of {self.in_words()} is saved"

    def in_words(self) -> str:
        """Return what is selected."""
        parts = [f"collection {name}" for name in self.collections] + [f"names like {name}" for name in self.patterns]
        return " or ".join(parts) or "any collection"


def listed(text: str) -> list[str]:
    """Return the parts of a text with commas between."""
    return [part for part in (part.strip() for part in text.split(",")) if part]
