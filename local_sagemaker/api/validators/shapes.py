"""What AWS's model has against a request, in the words of the service.

    refuse_wrong_fields("CreateTrainingJob", request)     # raises ApiError, or returns

A wrong type is a SerializationException, the first one that is met; everything else is one ValidationException with all
that was found: `2 validation errors detected: Value '0' at 'a.b' failed to satisfy constraint: ...; Value null at ...`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from launcher.request.shapes import Path, Shape, Violation, service_model, shape_violations
from local_sagemaker.errors import ApiError

_LONGEST_VALUE = 1000
"""Characters of a value that are shown; a request may have megabytes."""

_JSON_NAMES = {"integer": "an Integer", "long": "a Long", "string": "a String", "boolean": "a Boolean"}
_NUMBER_NAMES = {"float": "a Float", "double": "a Double", "timestamp": "a Timestamp"}

_AT_AN_ENTRY = {
    "key": "Map keys must satisfy constraint",
    "value": "Map value must satisfy constraint",
    "member": "Member must satisfy constraint",
}


def without_nulls(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return JSON without the fields that are null, which the protocol takes for absent."""
    if isinstance(value, dict):
        return {name: without_nulls(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [without_nulls(inner) for inner in value]
    return value


def refuse_wrong_fields(operation: str, request: dict[str, Any]) -> None:
    """Raise ApiError for what the model says against a request; fields that it does not know are passed over."""
    refuse_what_breaks(service_model().operation_model(operation).input_shape, request)


def refuse_what_breaks(shape: Shape, request: dict[str, Any], code: str = "ValidationException") -> None:
    """Raise ApiError for what a shape says against a request; `code` is the service's for a constraint."""
    found = [violation for violation in shape_violations(shape, request) if violation.kind != "unknown"]
    for violation in found:
        if violation.kind == "type":
            raise ApiError("SerializationException", _type_message(violation))
    messages = list(dict.fromkeys(_messages(found, request)))
    if messages:
        errors = "validation error" if len(messages) == 1 else "validation errors"
        raise ApiError(code, f"{len(messages)} {errors} detected: {'; '.join(messages)}")


def only_known_fields(shape: Shape, value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a request or an answer without what the model does not know; times have milliseconds, as the service's."""
    if shape.type_name == "structure":
        return {name: only_known_fields(shape.members[name], value[name]) for name in value if name in shape.members}
    if shape.type_name == "list":
        return [only_known_fields(shape.member, inner) for inner in value]
    if shape.type_name == "map":
        return {name: only_known_fields(shape.value, inner) for name, inner in value.items()}
    return round(value, 3) if shape.type_name == "timestamp" and isinstance(value, float) else value


def not_here(request: Any, fields: Mapping[str, Sequence[str]]) -> Iterator[str]:  # noqa: ANN401 - JSON
    """Yield a refusal for each field that asks for what this emulator has not.

    A field's name is a path, with `*` for every entry of a list. With it stands what is missing, and behind that the
    values that are no request for it; false, 0 and empty ones never are.
    """
    for path, (why, *harmless) in fields.items():
        for value in _at(request, path.split(".")):
            if value and str(value) not in harmless:
                shown = f" {value}" if harmless else ""
                yield f"{path.replace('.*', '')}{shown} is not available: the local SageMaker {why}"


def _at(value: Any, path: Sequence[str]) -> Iterator[Any]:  # noqa: ANN401 - JSON
    if not path:
        yield value
    elif path[0] == "*":
        for entry in value:
            yield from _at(entry, path[1:])
    elif path[0] in value:
        yield from _at(value[path[0]], path[1:])


def one_constraint(place: str, value: object, constraint: str) -> str:
    """Return the message for a single broken constraint that the model does not have and the service does."""
    return f"1 validation error detected: Value {_shown(value)} at '{place}' failed to satisfy constraint: {constraint}"


def _messages(found: list[Violation], request: dict[str, Any]) -> Iterator[str]:
    for violation in found:
        constraint = _constraint(violation)
        path, value = violation.path, violation.value
        if violation.role:  # told of the map or list, with all that holds for its entries
            constraint = f"{_AT_AN_ENTRY[violation.role]}: [{', '.join(_all_constraints(violation.shape))}]"
            path, value = path[:-1], _inside(request, path[:-1])
        shown = "" if path[:1] == ("Environment",) else f" {_shown(value)}"
        yield f"Value{shown} at '{_place(path)}' failed to satisfy constraint: {constraint}"


def _constraint(violation: Violation) -> str:
    if violation.kind == "missing":
        return "Member must not be null"
    is_number = isinstance(violation.value, int)
    return dict(_constraints(violation.shape, "value" if is_number else "length"))[violation.kind]


def _all_constraints(shape: Shape) -> list[str]:
    return [text for _, text in _constraints(shape, "length")]


def _constraints(shape: Shape, measure: str) -> Iterator[tuple[str, str]]:
    """Yield kind and wording of all that the model asks of a shape, in the service's order."""
    metadata = shape.metadata
    if "max" in metadata:
        yield "maximum", f"Member must have {measure} less than or equal to {metadata['max']}"
    if "min" in metadata:
        yield "minimum", f"Member must have {measure} greater than or equal to {metadata['min']}"
    if shape.type_name == "string" and shape.enum:
        yield "enumeration", f"Member must satisfy enum value set: [{', '.join(shape.enum)}]"
    if "pattern" in metadata:
        yield "pattern", f"Member must satisfy regular expression pattern: {metadata['pattern']}"


def _type_message(violation: Violation) -> str:
    value, wanted = violation.value, violation.shape.type_name
    if isinstance(value, dict):
        return "Start of structure or map found where not expected"
    if isinstance(value, list):
        return "Start of list found where not expected"
    if wanted in ("structure", "map", "list"):
        return "Unexpected value type in payload"
    token = f"{str(value).upper()}_VALUE" if isinstance(value, bool) else "NUMBER_VALUE"
    token = "STRING_VALUE" if isinstance(value, str) else token
    return f"{token} can not be converted to {(_JSON_NAMES | _NUMBER_NAMES)[wanted]}"


def _place(path: Path) -> str:
    """Return `resourceConfig.instanceType`, `inputDataConfig.1.member.channelName`: lists are counted from one."""
    return ".".join(f"{part + 1}.member" if isinstance(part, int) else part[:1].lower() + part[1:] for part in path)


def _shown(value: object) -> str:
    if value is None:
        return "null"
    text = value if isinstance(value, str) else json.dumps(value)
    return f"'{text}'" if len(text) <= _LONGEST_VALUE else f"'{text[:_LONGEST_VALUE]}...'"


def _inside(request: Any, path: Path) -> object:  # noqa: ANN401 - JSON
    for part in path:
        request = request[part]
    return request
