"""A request against botocore's own service model: names, types, ranges, lengths, enumerations and patterns.

    violations("CreateTrainingJob", request)      # [] if AWS's model has nothing to say against it

boto3 checks names, types and minimums before it sends; enumerations, patterns and maximums it leaves to the service.
Here all of them are checked, without a client and without a network. A violation is told in two ways: as a sentence for
the job file (its `message`), and as the service itself words it (local_sagemaker/api/validators/shapes.py).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from launcher.errors import nearest

Path = tuple[str | int, ...]

Shape = Any
"""A node of botocore's model, which has no types."""

_FROM_JAVA = {
    r"\p{Alnum}": "A-Za-z0-9",
    r"\p{ASCII}": r"[\x00-\x7f]",
    r"[\p{Print}]": r"[\x20-\x7e]",
    r"[\p{L}\p{M}\p{S}\p{N}\p{P}]": r"[^\s\x00-\x1f]",
    r"[\p{L}\p{M}\p{N}\p{P}\p{S}\p{Zs}]": r"[^\x00-\x1f]",
    r"[\p{L}\p{M}\p{Z}\p{S}\p{N}\p{P}]": r"[^\x00-\x1f]",
    r"\p{L}\p{M}": r"\w",
    r"\p{L}": r"\w",
    r"\p{N}": "0-9",
    r"\p{P}": r"!-/:-@\[-`{-~",
    r"\p{Z}": r"\s",
    r"\uD800\uDC00-\uDBFF\uDFFF": r"\U00010000-\U0010FFFF",
    r"\z": r"\Z",
    r"\w-_": r"\w_-",
    ")${1,": "){1,",
}
"""What of the models' patterns Python's `re` does not read -> what it reads in its place, sometimes a little wider."""


Kind = Literal["unknown", "missing", "type", "minimum", "maximum", "enumeration", "pattern"]

Role = Literal["", "key", "value", "member"]
"""What a value is to the map or list that it stands in; empty: a structure's field, or a structure in a list."""


@dataclass(frozen=True)
class Violation:
    """A place in the request, what stands there, and the constraint of the model that it breaks."""

    path: Path
    kind: Kind
    shape: Shape
    value: object = None
    role: Role = ""

    @property
    def message(self) -> str:
        """The violation as the end of a sentence that begins with its place."""
        said = _SENTENCES[self.kind](self)
        return f"as a name {said}" if self.role == "key" else said


def violations(operation: str, request: dict[str, Any]) -> list[Violation]:
    """Return everything that the model of a SageMaker operation has against a request."""
    return shape_violations(service_model().operation_model(operation).input_shape, request)


def shape_violations(shape: Shape, value: object) -> list[Violation]:
    """Return everything that a shape of any model of botocore's has against a value."""
    return list(_walk(shape, value, (), ""))


@functools.cache
def service_model() -> Shape:
    """Return botocore's model of SageMaker."""
    # A quarter of a second; only commands that build a request pay it.
    from botocore import loaders, model  # noqa: PLC0415

    return model.ServiceModel(loaders.Loader().load_service_model("sagemaker", "service-2"), "sagemaker")


def _walk(shape: Shape, value: object, path: Path, role: Role) -> Iterator[Violation]:
    accepted = _TYPES.get(shape.type_name)
    if accepted is None:
        return  # documents and blobs: anything goes
    if not isinstance(value, accepted) or (isinstance(value, bool) and shape.type_name != "boolean"):
        yield Violation(path, "type", shape, value, role)
        return
    check = _CHECKS.get(shape.type_name)
    if check is not None:
        yield from check(shape, value, path, role)


def _structure(shape: Shape, value: dict[str, Any], path: Path, _: Role) -> Iterator[Violation]:
    for name in shape.required_members:
        if name not in value:
            yield Violation((*path, name), "missing", shape.members[name])
    for name, inner in value.items():
        if name in shape.members:
            yield from _walk(shape.members[name], inner, (*path, name), "")
        else:
            yield Violation((*path, name), "unknown", shape, inner)


def _list(shape: Shape, value: list[Any], path: Path, role: Role) -> Iterator[Violation]:
    yield from _size(shape, len(value), value, path, role)
    inside: Role = "" if shape.member.type_name == "structure" else "member"
    for index, inner in enumerate(value):
        yield from _walk(shape.member, inner, (*path, index), inside)


def _map(shape: Shape, value: dict[str, Any], path: Path, role: Role) -> Iterator[Violation]:
    yield from _size(shape, len(value), value, path, role)
    for name, inner in value.items():
        yield from _walk(shape.key, name, (*path, name), "key")
        yield from _walk(shape.value, inner, (*path, name), "value")


def _string(shape: Shape, value: str, path: Path, role: Role) -> Iterator[Violation]:
    yield from _size(shape, len(value), value, path, role)
    if shape.enum and value not in shape.enum:
        yield Violation(path, "enumeration", shape, value, role)
    pattern = shape.metadata.get("pattern")
    if pattern and not _compiled(pattern).fullmatch(value):
        yield Violation(path, "pattern", shape, value, role)


def _number(shape: Shape, value: int, path: Path, role: Role) -> Iterator[Violation]:
    yield from _size(shape, value, value, path, role)


def _size(shape: Shape, size: int, value: object, path: Path, role: Role) -> Iterator[Violation]:
    minimum, maximum = shape.metadata.get("min"), shape.metadata.get("max")
    if minimum is not None and size < minimum:
        yield Violation(path, "minimum", shape, value, role)
    if maximum is not None and size > maximum:
        yield Violation(path, "maximum", shape, value, role)


_TYPES: dict[str, Any] = {
    "structure": dict,
    "map": dict,
    "list": list,
    "string": str,
    "integer": int,
    "long": int,
    "float": int | float,
    "double": int | float,
    "timestamp": int | float,
    "boolean": bool,
}
"""Type of the model -> what it is in JSON; a timestamp is in seconds since 1970."""

_CHECKS: dict[str, Any] = {
    "structure": _structure,
    "list": _list,
    "map": _map,
    "string": _string,
    "integer": _number,
    "long": _number,
}

_NEEDED = {"structure": "a table", "map": "a table", "list": "a list", "string": "text", "boolean": "true or false"}


def _type_sentence(violation: Violation) -> str:
    return f"is {violation.value!r}; {_NEEDED.get(violation.shape.type_name, 'a whole number')} is needed"


def _size_sentence(violation: Violation) -> str:
    value, unit = violation.value, ""
    if isinstance(value, str):
        what, unit = f"is {_shown(violation)}, {len(value)} characters", " characters"
    else:
        what = f"has {len(value)} entries" if isinstance(value, list | dict) else f"is {value}"
    if violation.kind == "minimum":
        return f"{what}; at least {violation.shape.metadata['min']}{unit} are needed"
    return f"{what}; at most {violation.shape.metadata['max']}{unit} are allowed"


def _enumeration_sentence(violation: Violation) -> str:
    allowed = violation.shape.enum
    match = nearest(str(violation.value), allowed)
    if match:
        return f"is {_shown(violation)}; did you mean {match}?"
    known = f"allowed are {', '.join(allowed)}" if len(allowed) <= 12 else f"it is none of the {len(allowed)} allowed"
    return f"is {_shown(violation)}; {known}"


def _pattern_sentence(violation: Violation) -> str:
    return f"is {_shown(violation)}, which does not have the form {violation.shape.metadata['pattern']}"


_SENTENCES: dict[Kind, Callable[[Violation], str]] = {
    "unknown": lambda _: "is no field of the API",
    "missing": lambda _: "is missing",
    "type": _type_sentence,
    "minimum": _size_sentence,
    "maximum": _size_sentence,
    "enumeration": _enumeration_sentence,
    "pattern": _pattern_sentence,
}


def _shown(violation: Violation) -> str:
    # A value of Environment may be a secret; a name is none.
    if violation.path[:1] == ("Environment",) and violation.role != "key":
        return "a value"
    value = str(violation.value)
    return repr(value) if len(value) <= 80 else repr(value[:77] + "...")


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    for java, python in _FROM_JAVA.items():
        pattern = pattern.replace(java, python)
    return re.compile(pattern, re.DOTALL)
