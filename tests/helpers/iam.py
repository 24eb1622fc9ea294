"""Would IAM allow it? The part of IAM's logic that the roles of infrastructure/template.yaml use.

    missing = [call for call in calls if not allows([document], call)]

A call is allowed if a statement allows it and none denies it. Actions and resources have `*` and `?`; of the conditions
those that the template has are known, and any other is an error rather than a guess.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Call:
    """What IAM is asked: an action on a resource, and what conditions look at."""

    action: str
    resource: str = "*"
    context: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __str__(self) -> str:
        """Return it as IAM's messages have it."""
        return f"{self.action} on {self.resource}"


def allows(documents: Iterable[Document], call: Call) -> bool:
    """Tell whether policies together allow a call."""
    effects = [one["Effect"] for document in documents for one in statements(document) if _applies(one, call)]
    return "Allow" in effects and "Deny" not in effects


def denies(documents: Iterable[Document], call: Call) -> bool:
    """Tell whether a statement denies a call, which no other can allow then."""
    return any(
        one["Effect"] == "Deny" and _applies(one, call) for document in documents for one in statements(document)
    )


def conditions_of(documents: Iterable[Document], call: Call) -> set[str]:
    """Return the keys that the conditions of the statements on a call's action and resource look at."""
    about = [one for document in documents for one in statements(document) if _names(one, call)]
    return {key for one in about for keys in one.get("Condition", {}).values() for key in keys}


def without(document: Document, sid: str) -> Document:
    """Return a policy without one of its statements."""
    return {**document, "Statement": [one for one in statements(document) if one["Sid"] != sid]}


def statements(document: Document) -> list[dict[str, Any]]:
    """Return a policy's statements; IAM takes one, or a list."""
    return listed(document["Statement"])


def _applies(statement: Mapping[str, Any], call: Call) -> bool:
    return _names(statement, call) and all(_conditions(statement.get("Condition", {}), call))


def _names(statement: Mapping[str, Any], call: Call) -> bool:
    return any(_like(call.action.lower(), action.lower()) for action in listed(statement["Action"])) and any(
        _like(call.resource, resource) for resource in listed(statement["Resource"])
    )


def _conditions(conditions: Mapping[str, Mapping[str, Any]], call: Call) -> Iterator[bool]:
    for operator, keys in conditions.items():
        for key, values in keys.items():
            there = call.context.get(key)
            if operator in ("StringEquals", "Bool"):
                yield there in listed(values)
            elif operator == "StringLike":
                yield there is not None and any(_like(there, value) for value in listed(values))
            else:
                raise NotImplementedError(f"{operator} is no condition of the template's")


def _like(text: str, pattern: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), text, re.DOTALL) is not None


def listed(value: Any) -> list[Any]:
    """Return a value of a policy as the list that IAM takes it for."""
    return value if isinstance(value, list) else [value]
