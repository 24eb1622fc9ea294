"""Rules on activations: saturated tanh and sigmoid.

The model of this image has neither, so that this rule is for models that have: their inputs must be saved.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from observability.rules.rule import AWS, Finding, Step, parameter
from observability.rules.selection import SelectingRule


@dataclass
class SaturatedActivation(SelectingRule):
    """Most nodes of a tanh or sigmoid layer get inputs at which the function is flat."""

    tensor_regex: str = parameter(".*tanh_input|.*sigmoid_input", "regular expression of activation inputs", AWS)
    threshold_tanh_min: float = parameter(-9.4999, "input of tanh below which it is flat", AWS)
    threshold_tanh_max: float = parameter(9.4999, "input of tanh above which it is flat", AWS)
    threshold_sigmoid_min: float = parameter(-23.0, "input of sigmoid below which it is flat", AWS)
    threshold_sigmoid_max: float = parameter(16.99999, "input of sigmoid above which it is flat", AWS)
    threshold_inactivity: float = parameter(1.0, "per cent of the batch below which a node is saturated", AWS)
    threshold_layer: float = parameter(50.0, "per cent of a layer's nodes that may be saturated", AWS)

    def look(self, step: Step) -> Iterator[Finding]:
        """Yield each saturated layer; the finding's value is the per cent of its nodes."""
        for name, value in self.selected(step):
            is_tanh = "tanh" in name
            low = self.threshold_tanh_min if is_tanh else self.threshold_sigmoid_min
            high = self.threshold_tanh_max if is_tanh else self.threshold_sigmoid_max
            active = (value > low) & (value < high)
            nodes = active.reshape(-1, value.shape[-1])  # the last axis is the layer's nodes
            saturated = 100 * float(np.mean(100 * nodes.mean(axis=0) < self.threshold_inactivity))
            if saturated > self.threshold_layer:
                yield Finding(f"{saturated:.4g} % of the nodes of {name} are saturated", saturated, step.number)
