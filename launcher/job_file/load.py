"""A Job from its layers: flag above environment above file above default.

    job = load_job("job.toml", settings={"compute.instance_count": "2"}, environ=os.environ)

The environment's names are LAUNCHER_ and the key in capitals, two underscores for a dot:
LAUNCHER_TRAINING_IMAGE, LAUNCHER_COMPUTE__INSTANCE_TYPE. Values of flags and environment are read as TOML values
(`3`, `true`, `["a"]`), and as text where they are none.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from launcher.errors import JobFileError, Problem, UsageError
from launcher.job_file.messages import describe
from launcher.job_file.schema import Job
from launcher.job_file.source import Source

PREFIX = "LAUNCHER_"


class LoadedJob(Job):
    """A Job that knows where its values came from."""

    _source: Source = Source()

    @property
    def source(self) -> Source:
        """Where each value came from."""
        return self._source


def load_job(
    path: str | Path, settings: Mapping[str, object] | None = None, environ: Mapping[str, str] | None = None
) -> LoadedJob:
    """Read a job file with what stands above it; raise JobFileError with every problem at once.

    `settings` are `section.key` -> value, as --set has them. `environ` is by default this process's.
    """
    path = Path(path)
    environ = os.environ if environ is None else environ
    text, tree = _read(path)
    overrides: dict[str, str] = {}
    raw: dict[str, str] = {}
    _set_default_region(tree, environ, overrides)
    for key, value, by in [*_from_environment(environ), *_from_settings(settings or {})]:
        overrides[key] = by
        raw[key] = value if isinstance(value, str) else ""
        _put(tree, key, _toml_value(value), by)
    return _validated(tree, Source(path, text, overrides), raw)


def parse_settings(texts: tuple[str, ...]) -> dict[str, str]:
    """Split `section.key=value` texts; raise UsageError for one without a key or an equals sign."""
    settings = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip(". "):
            raise UsageError(f"--set {text}: write --set section.key=value, for example --set compute.instance_count=1")
        settings[key.strip()] = value.strip()
    return settings


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        reason = error.strerror or "it cannot be read"
        raise JobFileError(
            [Problem(f"{path}:", f"{reason}; name a job file with --file, or start from job.toml of the repository")]
        ) from None
    except UnicodeDecodeError as error:
        raise JobFileError([Problem(f"{path}:", f"is not UTF-8 at byte {error.start}; save it as UTF-8")]) from None
    try:
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise JobFileError([Problem(f"{path}:", f"is not TOML: {error}")]) from None


def _set_default_region(tree: dict[str, Any], environ: Mapping[str, str], overrides: dict[str, str]) -> None:
    """AWS's own variables stand below the file: they are the default."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        if "region" not in tree and environ.get(name):
            tree["region"] = environ[name]
            overrides["region"] = f"environment variable {name}"


def _from_environment(environ: Mapping[str, str]) -> list[tuple[str, str, str]]:
    return [
        (name.removeprefix(PREFIX).lower().replace("__", "."), value, f"environment variable {name}")
        for name, value in sorted(environ.items())
        if name.startswith(PREFIX)
    ]


def _from_settings(settings: Mapping[str, object]) -> list[tuple[str, object, str]]:
    return [(key, value, f"--set {key}") for key, value in settings.items()]


def _toml_value(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        parsed = tomllib.loads(f"value = {value}")
    except tomllib.TOMLDecodeError:
        return value
    # A text with a line break could otherwise set other keys of this little document.
    return parsed["value"] if len(parsed) == 1 else value


def _put(tree: dict[str, Any], key: str, value: object, by: str) -> None:
    *parents, name = key.split(".")
    table = tree
    for depth, parent in enumerate(parents, start=1):
        child = table.setdefault(parent, {})
        if not isinstance(child, dict):
            raise JobFileError([Problem(f"{by}:", f"{'.'.join(parents[:depth])} is a value, not a table")])
        table = child
    table[name] = value


def _validated(tree: dict[str, Any], source: Source, raw: Mapping[str, str]) -> LoadedJob:
    try:
        job = LoadedJob.model_validate(tree)
    except ValidationError as error:
        texts = _meant_as_text(error, raw)
        if not texts:
            raise JobFileError(describe(error, source)) from None
        for key in texts:
            _put(tree, key, raw[key], key)
        return _validated(tree, source, {key: text for key, text in raw.items() if key not in texts})
    job._source = source  # noqa: SLF001 - its own class's
    return job


def _meant_as_text(error: ValidationError, raw: Mapping[str, str]) -> list[str]:
    """Return overridden keys that look like a number but have to be text: an account, say."""
    places = (".".join(map(str, detail["loc"])) for detail in error.errors() if detail["type"] == "string_type")
    return [place for place in places if raw.get(place)]
