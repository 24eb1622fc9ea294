"""The hyperparameter debugger_rules: which rules to evaluate while training.

    read_rules("Overfit, LossNotDecreasing(num_steps=20, mode=TRAIN)")

Not JSON: of that, sagemaker-training makes something else on its way to a script's arguments.
"""

from __future__ import annotations

import re

from observability.rules.configuration import ConfiguredRule, every_rule, make_rule
from observability.rules.selection import listed
from star_rating.failures import ConfigurationError, HyperparameterError, quote

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
