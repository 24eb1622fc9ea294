"""Search's expressions, evaluated over documents as Describe gives them. Pure.

    matches({"Filters": [{"Name": "Parents.ExperimentName", "Operator": "Equals", "Value": "e"}]}, document)

A property is named by its path: `TrainingJobStatus`, `HyperParameters.epochs`, `Metrics.test:accuracy.last`,
`Tags.project`. Where a path leads through a list, one entry that fits is enough.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from local_sagemaker.errors import invalid

Document = dict[str, Any]

_KEYED_LISTS = {"Tags": ("Key", "Value"), "FinalMetricDataList": ("MetricName", "Value")}
"""Lists whose entries are named by a field -> that field, and the one with the value."""

_STATISTICS = ("Last", "Min", "Max", "Avg", "Count", "StdDev")


def matches(expression: Document, document: Document) -> bool:
    """Tell whether a document fits an expression; an empty one fits everything."""
    found = [
        *(_filter(wanted, _values(document, wanted["Name"])) for wanted in expression.get("Filters", [])),
        *(_nested(wanted, document) for wanted in expression.get("NestedFilters", [])),
        *(matches(inner, document) for inner in expression.get("SubExpressions", [])),
    ]
    if not found:
        return True
    return any(found) if expression.get("Operator") == "Or" else all(found)


def refuse_incomplete(expression: Document) -> None:
    """Raise ApiError for a filter that compares with nothing."""
    nested = [wanted for entry in expression.get("NestedFilters", []) for wanted in entry["Filters"]]
    for wanted in (*expression.get("Filters", []), *nested):
        operator = wanted.get("Operator", "Equals")
        if "Value" not in wanted and operator not in ("Exists", "NotExists"):
            raise invalid(f"Value must be specified for the filter {wanted['Name']} with operator {operator}")
    for inner in expression.get("SubExpressions", []):
        refuse_incomplete(inner)


def sort_value(document: Document, name: str) -> object:
    """Return what a document is sorted by, or None."""
    values = _values(document, name)
    return values[0] if values else None


def _nested(wanted: Document, document: Document) -> bool:
    """Tell whether a single entry of a list fits all filters; they name its fields with the list's path before them."""
    prefix = wanted["NestedPropertyName"]
    entries = _values(document, prefix)
    return any(
        all(_filter(one, _values(entry, one["Name"].removeprefix(f"{prefix}."))) for one in wanted["Filters"])
        for entry in entries
    )


def _filter(wanted: Document, values: list[Any]) -> bool:
    operator, value = wanted.get("Operator", "Equals"), wanted.get("Value", "")
    if operator == "Exists":
        return bool(values)
    if operator == "NotExists":
        return not values
    if operator == "NotEquals":
        return not any(_OPERATORS["Equals"](found, value) for found in values)
    return any(_OPERATORS[operator](found, value) for found in values)


def _values(value: Any, name: str) -> list[Any]:  # noqa: ANN401 - JSON
    """Return all that a dotted name stands for; names in between may have dots themselves, as metrics do."""
    if not name:
        if isinstance(value, list):
            return [found for entry in value for found in _values(entry, "")]
        return [] if value is None else [_plain(value)]
    if isinstance(value, list):
        return [found for entry in value for found in _values(entry, name)]
    if not isinstance(value, dict):
        return []
    found: list[Any] = []
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        first, rest = ".".join(parts[:count]), ".".join(parts[count:])
        if first in value:
            found += _inside(first, value[first], rest)
    return found


def _inside(first: str, value: Any, rest: str) -> list[Any]:  # noqa: ANN401 - JSON
    if first in _KEYED_LISTS and rest:
        key, content = _KEYED_LISTS[first]
        return [entry.get(content, "") for entry in value if entry.get(key) == rest]
    if first == "Metrics" and isinstance(value, list) and rest:
        return [
            entry[field]
            for entry in value
            for field in _STATISTICS
            if field in entry and rest.lower() in _metric_names(entry["MetricName"], field)
        ]
    return _values(value, rest)


def _metric_names(metric: str, statistic: str) -> tuple[str, ...]:
    """Return what a metric's statistic is called, in lower case; the last value goes by the metric's name alone too."""
    named = f"{metric}.{statistic}".lower()
    return (named, metric.lower()) if statistic == "Last" else (named,)


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a trial component's parameter as its value; everything else as it is."""
    if isinstance(value, dict) and len(value) == 1 and set(value) <= {"NumberValue", "StringValue"}:
        return next(iter(value.values()))
    return value


def _number(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        pass
    try:
        time = dt.datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return (time if time.tzinfo else time.replace(tzinfo=dt.UTC)).timestamp()


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _equal(found: object, wanted: str) -> bool:
    numbers = _number(found), _number(wanted)
    return _text(found) == wanted or (None not in numbers and numbers[0] == numbers[1])


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[object, str], bool]:
    def ordered(found: object, wanted: str) -> bool:
        left, right = _number(found), _number(wanted)
        if left is None or right is None:
            return compare(_text(found), wanted)
        return compare(left, right)

    return ordered


_OPERATORS: dict[str, Callable[[object, str], bool]] = {
    "Equals": _equal,
    "GreaterThan": _ordered(lambda left, right: left > right),
    "GreaterThanOrEqualTo": _ordered(lambda left, right: left >= right),
    "LessThan": _ordered(lambda left, right: left < right),
    "LessThanOrEqualTo": _ordered(lambda left, right: left <= right),
    "Contains": lambda found, wanted: wanted in _text(found),
    "In": lambda found, wanted: _text(found) in [part.strip() for part in wanted.split(",")],
}
