"""What stands above the job file: keys of --set and of the environment, and their values as the schema wants them.

    key_parts('environment."a.b"')                              # ("environment", "a.b")
    value_of(("environment", "VERSION"), "1.10")                # "1.10": a text is wanted there
    value_of(("compute", "instance_count"), "2")                # 2
    parts_of_variable("LAUNCHER_ENVIRONMENT__MY_VAR", tree)     # ("environment", "MY_VAR")

A text arrives as it was written; it is read as TOML only if something else is wanted, or if it is in quotes.
"""

from __future__ import annotations

import re
import tomllib
import typing
from collections.abc import Mapping
from typing import Any, Self

from launcher.data import hyperparameters
from launcher.errors import UsageError
from launcher.job_file.schema import Job, Scalar, Section

PREFIX = "LAUNCHER_"

Parts = tuple[str, ...]

_PART = r"(?:\"(?:[^\"\\]|\\.)*\"|'[^']*'|[^.=\"'\s](?:[^.=\"']*[^.=\"'\s])?)"
_KEY = re.compile(rf"\s*({_PART}(?:\s*\.\s*{_PART})*)\s*")
_QUOTES = ('"', "'")


class Written(float):
    """A number of the job file that remembers how it was written: 1.10 is another version than 1.1."""

    text: str

    def __new__(cls, text: str) -> Self:
        """Read a number."""
        number = super().__new__(cls, text)
        number.text = text
        return number


def as_written(tree: dict[str, Any]) -> dict[str, Any]:
    """Return a job file's tree with the texts of numbers where the API takes texts, and plain numbers elsewhere."""
    written: dict[str, Any] = _as_written(tree, ())
    return written


def _as_written(value: Any, parts: Parts) -> Any:  # noqa: ANN401 - TOML's values
    if isinstance(value, dict):
        return {name: _as_written(inner, (*parts, name)) for name, inner in value.items()}
    if isinstance(value, list):
        return [_as_written(inner, (*parts, "")) for inner in value]
    if isinstance(value, Written):
        return value.text if _kind(parts) == Scalar and not _is_number(parts) else float(value)
    return value


def _is_number(parts: Parts) -> bool:
    """Tell whether the image takes a number there: that is sent as Python, and so AWS's SDK, writes it."""
    known = hyperparameters().get(parts[-1], {}) if parts[:-1] == ("hyperparameters",) else {}
    return known.get("kind") == "number"


def split_setting(text: str) -> tuple[str, str] | None:
    """Return key and value of `key=value`, where a quoted part of the key may have an equals sign; None without one."""
    match = _KEY.match(text)
    if match is None or not text[match.end() :].startswith("="):
        return None
    return match[1].strip(), text[match.end() + 1 :]


def key_parts(key: str) -> Parts:
    """Return the parts of a dotted key, with TOML's quotes around those that have a dot; raise UsageError."""
    if _KEY.fullmatch(key) is None:
        raise UsageError(f'--set {key}: is no key; write section.key, and a name with a dot in quotes: tags."a.b"')
    return tuple(_unquoted(part.strip()) for part in re.findall(_PART, key))


def dotted(parts: Parts) -> str:
    """Return the parts as one key, as messages have it."""
    return ".".join(parts)


def parts_of_variable(name: str, tree: Mapping[str, Any]) -> Parts:
    """Return the key that a variable LAUNCHER_SECTION__KEY stands for.

    Sections and keys are written in capitals there. Names that are the user's own are those of the job file, whatever
    their case; new ones are in small letters, but for environment variables, which keep theirs.
    """
    words = name.removeprefix(PREFIX).split("__")
    parts: list[str] = []
    here: Any = tree
    while words:
        kind = _kind(tuple(parts))
        is_names = typing.get_origin(kind) is dict
        if is_names and not _is_section(typing.get_args(kind)[-1]):
            words = ["__".join(words)]  # a flat table: whatever is left is one name
        word = words.pop(0)
        known = {str(key).lower(): str(key) for key in here} if is_names and isinstance(here, Mapping) else {}
        keeps_case = parts in (["environment"], ["processing", "environment"])
        parts.append(word if keeps_case else known.get(word.lower(), word.lower()))
        here = here.get(parts[-1]) if isinstance(here, Mapping) else None
    return tuple(parts)


def value_of(parts: Parts, value: object) -> object:
    """Return the value that a text stands for at a key of the job file; what is no text is returned as it is."""
    if not isinstance(value, str):
        return value
    if _wants_text(_kind(parts)):
        unquoted = _toml(value) if value.strip().startswith(_QUOTES) else None
        return unquoted if isinstance(unquoted, str) else value
    parsed = _toml(value)
    return value.strip() if parsed is None else parsed


def put(tree: dict[str, Any], parts: Parts, value: object, by: str) -> None:
    """Set a key of the job file's tree; raise UsageError if a part of the way there is no table."""
    *parents, name = parts
    table = tree
    for depth, parent in enumerate(parents, start=1):
        child = table.setdefault(parent, {})
        if not isinstance(child, dict):
            raise UsageError(f"{by}: {dotted(parts[:depth])} is a value, not a table")
        table = child
    table[name] = value


def _unquoted(part: str) -> str:
    if not part.startswith(_QUOTES):
        return part
    value = _toml(part)
    return value if isinstance(value, str) else part


def _toml(text: str) -> object:
    """Return what a text is as a TOML value, None if it is none."""
    try:
        parsed = tomllib.loads(f"value = {text}", parse_float=Written)
    except (ValueError, RecursionError):
        return None
    # A text with a line break could otherwise set other keys of this little document.
    return parsed["value"] if len(parsed) == 1 else None


def _kind(parts: Parts) -> Any:  # noqa: ANN401 - any annotation
    """Return the type that the schema has at a key; None for a key that it has not."""
    kind: Any = Job
    for part in parts:
        if _is_section(kind):
            field = kind.model_fields.get(part)
            kind = _without_none(field.annotation) if field else None
        else:
            kind = typing.get_args(kind)[-1] if typing.get_origin(kind) is dict else None
    return kind


def _is_section(kind: Any) -> bool:  # noqa: ANN401 - any annotation
    return isinstance(kind, type) and issubclass(kind, Section)


def _without_none(annotation: Any) -> Any:  # noqa: ANN401 - any annotation
    options = [option for option in typing.get_args(annotation) if option is not type(None)]
    is_optional = type(None) in typing.get_args(annotation)
    return options[0] if is_optional and len(options) == 1 else annotation


def _wants_text(kind: Any) -> bool:  # noqa: ANN401 - any annotation
    options = typing.get_args(kind)
    if typing.get_origin(kind) is typing.Literal:
        return all(isinstance(option, str) for option in options)
    return kind is str or (str in options and typing.get_origin(kind) not in (dict, list))
