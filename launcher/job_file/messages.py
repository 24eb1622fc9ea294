"""pydantic's diagnostics as sentences that name the key, the value and what to write instead.

problems = describe(validation_error, source)
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from launcher.errors import Problem, advice, nearest
from launcher.job_file.diagnostics import Source
from launcher.job_file.schema import Job, Section

_NEEDED = {
    "string_type": "text in quotes",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "float_type": "a number",
    "list_type": "a list, [...],",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
}

_SCALARS = ("bool", "int", "float", "str")


def describe(error: ValidationError, source: Source) -> list[Problem]:
    """Return a problem for each key that is wrong, in the order of the schema."""
    problems: dict[str, Problem] = {}
    for detail in error.errors(include_url=False):
        key = ".".join(str(part) for part in place(detail))
        problems.setdefault(key, Problem(source.locate(key), _message(detail)))
    return list(problems.values())


def place(detail: ErrorDetails) -> tuple[int | str, ...]:
    """Return the key's parts; pydantic adds the type to the place of a value that may have several."""
    location = detail["loc"]
    return location[:-1] if _may_have_several_types(detail) else location


def _may_have_several_types(detail: ErrorDetails) -> bool:
    location = detail["loc"]
    return len(location) > 1 and location[-1] in _SCALARS and detail["type"].endswith("_type")


def _message(detail: ErrorDetails) -> str:
    kind, value = detail["type"], quote(detail["input"])
    context = detail.get("ctx", {})
    if kind == "missing":
        return _missing(detail["loc"])
    if kind == "extra_forbidden":
        *parents, name = detail["loc"]
        return f"does not exist; {advice(str(name), known_keys(tuple(parents)))}"
    if kind == "literal_error":
        return f"is {value}; {_allowed(detail['input'], context['expected'])}"
    if kind == "greater_than_equal":
        return f"is {value}; at least {context['ge']} is needed"
    needed = "text, a number, true or false" if _may_have_several_types(detail) else _NEEDED.get(kind)
    return f"is {value}; {needed} is needed{_with_a_dot(detail)}" if needed else f"is {value}: {detail['msg']}"


def _with_a_dot(detail: ErrorDetails) -> str:
    """Return what a table where a value is needed often was meant to be: a name with a dot."""
    *parents, name = place(detail)
    if not isinstance(detail["input"], Mapping) or not parents or not detail["input"]:
        return ""
    inner = next(iter(detail["input"]))
    return f'; a name with a dot is written in quotes: {".".join(map(str, parents))}."{name}.{inner}"'


def _missing(location: tuple[int | str, ...]) -> str:
    *parents, name = location
    section = _section(tuple(parents))
    meaning = section.model_fields[str(name)].description if section else None
    return "is missing" + (f" ({meaning.rstrip('.')})" if meaning else "; it is required")


def _allowed(value: object, expected: str) -> str:
    names = expected.replace("'", "").replace(" or ", ", ").split(", ")
    by_lower = {name.lower(): name for name in names}
    match = nearest(str(value).lower(), by_lower)
    return f"allowed are {', '.join(names)}" + (f"; did you mean {by_lower[match]}?" if match else "")


def known_keys(location: tuple[int | str, ...]) -> list[str]:
    """Return the keys that the table at a place of the job file may have."""
    section = _section(location)
    return list(section.model_fields) if section else []


def _section(location: tuple[int | str, ...]) -> type[Section] | None:
    """Return the class of the table at a place of the job file."""
    kind: Any = Job
    for part in location:
        if isinstance(kind, type) and issubclass(kind, Section):
            field = kind.model_fields.get(str(part))
            kind = _inner(field.annotation) if field else None
        elif typing.get_origin(kind) in (dict, list):
            kind = _inner(typing.get_args(kind)[-1])
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def _inner(annotation: Any) -> Any:  # noqa: ANN401 - any annotation
    """Take `None` out of `Section | None`."""
    options = [option for option in typing.get_args(annotation) if option is not type(None)]
    is_optional = type(None) in typing.get_args(annotation)
    return options[0] if is_optional and len(options) == 1 else annotation


def quote(value: object) -> str:
    """Return a value as the job file writes it, shortened."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list):
        return "a list"
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "...'"
