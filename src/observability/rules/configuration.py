"""Which rules to evaluate, with which parameters: CreateTrainingJob's rule configurations, a hyperparameter, or all.

    configured = read_configurations(json.loads(text), path)
    configured = read_rules("Overfit, LossNotDecreasing(num_steps=20, mode=TRAIN)")    # hyperparameter debugger_rules

SageMaker sends every parameter as a text. What it adds for itself (which reader, which action) is set aside. The
hyperparameter is not JSON: sagemaker-training would change that on its way to a script's arguments.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from observability.profiler.report.rule import ProfilerReport
from observability.profiler.rules import PROFILE_RULES
from observability.rule import ProfilerRule, Rule, TensorRule
from observability.rules import label_rules, loss_rules, tensor_rules, weight_rules
from observability.rules.tensor_rules import listed
from star_rating.failures import ConfigurationError, HyperparameterError, nearest_name, quote

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
        tensor_rules.StalledTrainingRule,
        weight_rules.PoorWeightInitialization,
        tensor_rules.SaturatedActivation,
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


PROFILER_RULES: Mapping[str, type[ProfilerRule]] = {
    **{rule.__name__: rule for rule in PROFILE_RULES},
    ProfilerReport.__name__: ProfilerReport,
}

ALL_RULES: Mapping[str, type[Rule]] = {**TENSOR_RULES, **PROFILER_RULES}


SET_ASIDE = frozenset(
    {"rule_to_invoke", "action_json", "base_trial", "base_trial_path", "other_trials_s3_input_paths"}
    | {"scan_interval_us"}
)
"""What SageMaker and its SDK put among a rule's parameters for the platform."""


@dataclass
class ConfiguredRule:
    """One rule to evaluate, under the name of its configuration."""

    name: str
    """RuleConfigurationName."""
    rule: Rule | None
    """None if it is one of AWS's that this image does not evaluate."""
    not_evaluated: str = ""
    """Why there is no rule."""


def read_configurations(document: object, where: str) -> list[ConfiguredRule]:
    """Read a list in the shape of DebugRuleConfigurations; raise ConfigurationError that names what is wrong."""
    if not isinstance(document, list):
        raise ConfigurationError(f"{where}: a JSON list of rule configurations is needed.")
    configured = [_read(entry, f"{where}[{index}]") for index, entry in enumerate(document)]
    names = [entry.name for entry in configured]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"{where}: two rules have the RuleConfigurationName {quote(name)}; rename one.")
    return configured


def every_rule(*, profiler: bool) -> list[ConfiguredRule]:
    """Return each rule with its defaults, those on the profiler's files too if there are such files."""
    rules = ALL_RULES if profiler else TENSOR_RULES
    return [ConfiguredRule(name, rule()) for name, rule in rules.items()]


def _read(entry: object, where: str) -> ConfiguredRule:
    if not isinstance(entry, dict) or not isinstance(entry.get("RuleConfigurationName"), str):
        raise ConfigurationError(f"{where} has no RuleConfigurationName.")
    name: str = entry["RuleConfigurationName"]
    parameters: Any = entry.get("RuleParameters") or {}
    if not isinstance(parameters, dict) or any(isinstance(value, dict | list) for value in parameters.values()):
        raise ConfigurationError(f"{where} ({name}): RuleParameters must be an object of name and text.")
    texts: dict[str, str] = {key: str(value) for key, value in parameters.items() if value is not None}
    invoked = texts.get("rule_to_invoke", name)
    if invoked in NOT_EVALUATED and invoked not in ALL_RULES:
        return ConfiguredRule(name, None, f"{invoked} is not evaluated here: {NOT_EVALUATED[invoked]}")
    return ConfiguredRule(name, make_rule(invoked, texts, f"{where} ({name})"))


def make_rule(name: str, texts: Mapping[str, str], where: str) -> Rule:
    """Return a rule with parameters read from texts; raise ConfigurationError with the nearest name."""
    known = ALL_RULES
    if name not in known:
        raise ConfigurationError(f"{where}: there is no rule {quote(name)}. {_advice(name, known)}")
    parameters = known[name].parameters()
    values: dict[str, Any] = {}
    for key, text in texts.items():
        if key in SET_ASIDE and key not in parameters:
            continue
        if key not in parameters:
            raise ConfigurationError(f"{where}: {name} has no parameter {quote(key)}. {_advice(key, parameters)}")
        try:
            values[key] = _value(text.strip(), parameters[key].type)
        except ValueError as error:
            raise ConfigurationError(f"{where}: {name}'s {key} is {quote(text)}; {error} is needed.") from None
    try:
        return known[name].configured(values)
    except (ValueError, re.error) as error:  # parameters that do not fit together, or an expression that is none
        raise ConfigurationError(f"{where}: {name}: {error}.") from None


def _advice(name: str, known: Mapping[str, object]) -> str:
    nearest = nearest_name(name, known)
    return f"Did you mean {nearest}?" if nearest else f"Known are: {', '.join(sorted(known))}."


def _value(text: str, kind: Any) -> Any:  # noqa: ANN401 - a type, and a value of it
    """Read a parameter by its annotation; raise ValueError with what is needed instead."""
    options = typing.get_args(kind)
    if type(None) in options:
        if text in ("", "None"):
            return None
        kind = next(option for option in options if option is not type(None))
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError("True or False")
        return text.lower() == "true"
    if kind is int:
        if not text.lstrip("+-").isdecimal():
            raise ValueError("a whole number")
        return int(text)
    if kind is float:
        try:
            return float(text)
        except ValueError:
            raise ValueError("a number") from None
    return text


_RULE = re.compile(r"\s*(?P<name>\w+)\s*(?:\((?P<parameters>[^()]*)\))?\s*(?:,|$)")


def read_rules(text: str) -> list[ConfiguredRule]:
    """Return the rules that a text asks for; raise HyperparameterError that names what is wrong."""
    if text.strip().lower() == "auto":
        return every_rule(profiler=False)
    if text.strip().lower() == "none":
        return []
    try:
        return _parsed(text.strip())
    except ConfigurationError as error:
        raise HyperparameterError(f"Hyperparameter debugger_rules: {error}") from None


def _parsed(text: str) -> list[ConfiguredRule]:
    configured: dict[str, ConfiguredRule] = {}
    while text:
        match = _RULE.match(text)
        if match is None:
            raise ConfigurationError(f"{quote(text)} is no list of rules; write Overfit, AllZero(threshold=90).")
        name, pairs = match["name"], [pair.partition("=") for pair in listed(match["parameters"] or "")]
        rule = make_rule(name, {key.strip(): value for key, _, value in pairs}, "in the list")
        configured[name] = ConfiguredRule(name, rule)
        text = text[match.end() :]
    return list(configured.values())
