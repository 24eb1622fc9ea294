"""Which rules to evaluate, with which parameters: CreateTrainingJob's rule configurations, a hyperparameter, or all.

    configured = read_configurations(json.loads(text), path)

SageMaker sends every parameter as a text. What it adds for itself (which trial, which action) is set aside.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from observability.rules import registry
from observability.rules.rule import Rule
from star_rating.failures import ConfigurationError, nearest_name, quote

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
    rules = registry.all_rules() if profiler else registry.TENSOR_RULES
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
    if invoked in registry.NOT_EVALUATED and invoked not in registry.all_rules():
        return ConfiguredRule(name, None, f"{invoked} is not evaluated here: {registry.NOT_EVALUATED[invoked]}")
    return ConfiguredRule(name, make_rule(invoked, texts, f"{where} ({name})"))


def make_rule(name: str, texts: Mapping[str, str], where: str) -> Rule:
    """Return a rule with parameters read from texts; raise ConfigurationError with the nearest name."""
    known = registry.all_rules()
    if name not in known:
        raise ConfigurationError(f"{where}: there is no rule {quote(name)}. {_advice(name, known)}")
    fields = known[name].parameters()
    hints = typing.get_type_hints(known[name])
    values: dict[str, Any] = {}
    for key, text in texts.items():
        if key in SET_ASIDE and key not in fields:
            continue
        if key not in fields:
            raise ConfigurationError(f"{where}: {name} has no parameter {quote(key)}. {_advice(key, fields)}")
        try:
            values[key] = _value(text.strip(), hints[key])
        except ValueError as error:
            raise ConfigurationError(f"{where}: {name}'s {key} is {quote(text)}; {error} is needed.") from None
    try:
        return known[name](**values)
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
