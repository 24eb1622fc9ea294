"""A request against botocore's own service model: names, types, ranges, lengths, enumerations and patterns.

    violations("CreateTrainingJob", request)      # [] if AWS's model has nothing to say against it

boto3 checks names, types and minimums before it sends; enumerations, patterns and maximums it leaves to the service.
Here all of them are checked, without a client and without a network.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from launcher.errors import nearest

Path = tuple[str | int, ...]

Shape = Any
"""A node of botocore's model, which has no types."""

_JAVA_CLASSES = {r"\p{Alnum}": "A-Za-z0-9", r"\p{L}": r"\w", r"\p{N}": "0-9", r"\p{Z}": r"\s"}
"""Java's character classes that the model uses; Python's `re` has the ones on the right. `\\w` is a little wider."""


@dataclass(frozen=True)
class Violation:
    """A place in the request, and what the model says against it."""

    path: Path
    message: str


def violations(operation: str, request: dict[str, Any]) -> list[Violation]:
    """Return everything that the model of a SageMaker operation has against a request."""
    return list(_walk(_service_model().operation_model(operation).input_shape, request, ()))


@functools.cache
def _service_model() -> Shape:
    # A quarter of a second; only commands that build a request pay it.
    from botocore import loaders, model  # noqa: PLC0415

    return model.ServiceModel(loaders.Loader().load_service_model("sagemaker", "service-2"), "sagemaker")


def _walk(shape: Shape, value: object, path: Path) -> Iterator[Violation]:
    check = _CHECKS.get(shape.type_name)
    if check is not None:
        yield from check(shape, value, path)


def _structure(shape: Shape, value: object, path: Path) -> Iterator[Violation]:
    if not isinstance(value, dict):
        yield Violation(path, f"is {value!r}; a table is needed")
        return
    for name in shape.required_members:
        if name not in value:
            yield Violation((*path, name), "is missing")
    for name, inner in value.items():
        if name in shape.members:
            yield from _walk(shape.members[name], inner, (*path, name))
        else:
            yield Violation((*path, name), "is no field of the API")


def _list(shape: Shape, value: object, path: Path) -> Iterator[Violation]:
    if not isinstance(value, list):
        yield Violation(path, f"is {value!r}; a list is needed")
        return
    yield from _size(shape, len(value), path, f"has {len(value)} entries", "")
    for index, inner in enumerate(value):
        yield from _walk(shape.member, inner, (*path, index))


def _map(shape: Shape, value: object, path: Path) -> Iterator[Violation]:
    if not isinstance(value, dict):
        yield Violation(path, f"is {value!r}; a table is needed")
        return
    yield from _size(shape, len(value), path, f"has {len(value)} entries", "")
    for name, inner in value.items():
        for violation in _walk(shape.key, name, ()):
            yield Violation((*path, name), f"as a name {violation.message}")
        yield from _walk(shape.value, inner, (*path, name))


def _string(shape: Shape, value: object, path: Path) -> Iterator[Violation]:
    if not isinstance(value, str):
        yield Violation(path, f"is {value!r}; text is needed")
        return
    shown = _shown(value, path)
    yield from _size(shape, len(value), path, f"is {shown}, {len(value)} characters", " characters")
    if shape.enum and value not in shape.enum:
        yield Violation(path, f"is {shown}; {_enumeration(value, shape.enum)}")
    pattern = shape.metadata.get("pattern")
    if pattern and not _compiled(pattern).fullmatch(value):
        yield Violation(path, f"is {shown}, which does not have the form {pattern}")


def _shown(value: str, path: Path) -> str:
    if path[:1] == ("Environment",):
        return "a value"  # which may be a secret
    return repr(value) if len(value) <= 80 else repr(value[:77] + "...")


def _number(shape: Shape, value: object, path: Path) -> Iterator[Violation]:
    if isinstance(value, bool) or not isinstance(value, int):
        yield Violation(path, f"is {value!r}; a whole number is needed")
        return
    yield from _size(shape, value, path, f"is {value}", "")


def _boolean(_: Shape, value: object, path: Path) -> Iterator[Violation]:
    if not isinstance(value, bool):
        yield Violation(path, f"is {value!r}; true or false is needed")


_CHECKS = {
    "structure": _structure,
    "list": _list,
    "map": _map,
    "string": _string,
    "integer": _number,
    "long": _number,
    "boolean": _boolean,
}


def _size(shape: Shape, size: int, path: Path, what: str, unit: str) -> Iterator[Violation]:
    minimum, maximum = shape.metadata.get("min"), shape.metadata.get("max")
    if minimum is not None and size < minimum:
        yield Violation(path, f"{what}; at least {minimum}{unit} are needed")
    if maximum is not None and size > maximum:
        yield Violation(path, f"{what}; at most {maximum}{unit} are allowed")


def _enumeration(value: str, allowed: list[str]) -> str:
    match = nearest(value, allowed)
    if match:
        return f"did you mean {match}?"
    return f"allowed are {', '.join(allowed)}" if len(allowed) <= 12 else f"it is none of the {len(allowed)} allowed"


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    for java, python in _JAVA_CLASSES.items():
        pattern = pattern.replace(java, python)
    return re.compile(pattern, re.DOTALL)
