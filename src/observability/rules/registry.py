"""The rules by name.

RULES["LossNotDecreasing"]
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from observability.rules import (
    activation_rules,
    label_rules,
    loss_rules,
    stall_rules,
    tensor_rules,
    weight_rules,
)
from observability.rules.rule import ProfilerRule, Rule, TensorRule

TENSOR_RULES: Mapping[str, type[TensorRule]] = {
    rule.__name__: rule
    for rule in (
        loss_rules.LossNotDecreasing,
        loss_rules.Overtraining,
        loss_rules.Overfit,
        tensor_rules.ExplodingTensor,
        weight_rules.VanishingGradient,
        weight_rules.WeightUpdateRatio,
        tensor_rules.AllZero,
        tensor_rules.UnchangedTensor,
        tensor_rules.TensorVariance,
        label_rules.ClassImbalance,
        label_rules.Confusion,
        stall_rules.StalledTrainingRule,
        weight_rules.PoorWeightInitialization,
        activation_rules.SaturatedActivation,
    )
}

NOT_EVALUATED: Mapping[str, str] = {
    "CheckInputImages": "this image reads texts",
    "CreateXgboostReport": "this image trains no trees",
    "DeadRelu": "the activations that it reads are not saved by this image's hook",
    "FeatureImportanceOverweight": "this image trains no trees",
    "NLPSequenceRatio": "the inputs that it reads are not saved by this image's hook",
    "SimilarAcrossRuns": "it compares two jobs, and this command sees one",
    "TreeDepth": "this image trains no trees",
    "Dataloader": "it reads what AWS's own build of TensorFlow records",
}
"""AWS's other rules -> why they are not evaluated here."""


def profiler_rules() -> Mapping[str, type[ProfilerRule]]:
    """Return the rules on the profiler's files; observability.profiler.rules has them, as RULES."""
    # Not imported above: its readers take their time, and most commands do without.
    rules: tuple[type[ProfilerRule], ...] = importlib.import_module("observability.profiler.rules").RULES
    return {rule.__name__: rule for rule in rules}


def all_rules() -> Mapping[str, type[Rule]]:
    """Return every rule that this image evaluates."""
    return {**TENSOR_RULES, **profiler_rules()}
