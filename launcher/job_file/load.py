"""A Job from its layers: flag above environment above file above default.

    job = load_job("job.toml", settings={"compute.instance_count": "2"}, environ=os.environ)

The environment's names are LAUNCHER_ and the key in capitals, two underscores for a dot:
LAUNCHER_TRAINING_IMAGE, LAUNCHER_COMPUTE__INSTANCE_TYPE. job_file/overrides.py says how flags and environment are read.
"""

from __future__ import annotations

import copy
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from launcher.errors import AwsError, JobFileError, Problem, UsageError, nearest
from launcher.job_file.diagnostics import Source
from launcher.job_file.messages import describe, known_keys, place
from launcher.job_file.overrides import (
    PREFIX,
    Parts,
    Written,
    as_written,
    dotted,
    key_parts,
    parts_of_variable,
    put,
    split_setting,
    value_of,
)
from launcher.job_file.schema import Job

MAX_JOB_FILE_BYTES = 1 << 20
"""A job file that is larger is another file, say /dev/zero."""

_WHOLE_NUMBERS = range(-(1 << 63), 1 << 63)
"""TOML's own bounds; Python reads larger ones, and cannot write them."""

_STAND_INS = {
    "region": "us-east-1",
    "role": "arn:aws:iam::123456789012:role/unknown",
    "training_image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/unknown@sha256:" + "0" * 64,
}
"""What is required and missing, while the rest of a job file is looked at."""


class LoadedJob(Job):
    """A Job that knows where its values came from."""

    _source: Source = Source()
    _uncertain: frozenset[str] = frozenset()

    @property
    def source(self) -> Source:
        """Where each value came from."""
        return self._source

    @property
    def uncertain(self) -> frozenset[str]:
        """Names of keys whose values are wrong, and are not what this job has: nothing is to be concluded from them."""
        return self._uncertain


def load_job(
    path: str | Path,
    settings: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    default_region: str | None = None,
) -> LoadedJob:
    """Read a job file with what stands above it; raise JobFileError with every problem at once.

    `settings` are `section.key` -> value, as --set has them. `environ` is by default this process's, and then
    `default_region` is the profile's.
    """
    path = Path(path)
    variables = os.environ if environ is None else environ
    text, tree = read(path)
    overrides: dict[str, str] = {}
    for parts, value, by in [*_from_environment(variables, tree), *_from_settings(settings or {})]:
        overrides[dotted(parts)] = by
        put(tree, parts, value_of(parts, value), by)
    if "region" not in tree:
        _set_default_region(tree, variables, overrides, default_region, may_read_profile=environ is None)
    tree = as_written(tree)
    source = Source(path, text, overrides)
    impossible = [Problem(source.locate(key), message) for key, message in _impossible(tree, "")]
    if impossible:
        raise JobFileError(impossible)
    return _validated(tree, source)


def parse_settings(texts: tuple[str, ...]) -> dict[str, str]:
    """Split `section.key=value` texts; raise UsageError for one without a key or an equals sign."""
    settings = {}
    for text in texts:
        setting = split_setting(text)
        if setting is None:
            raise UsageError(f"--set {text}: write --set section.key=value, for example --set compute.instance_count=1")
        settings[setting[0]] = setting[1]
    return settings


def read(path: Path) -> tuple[str, dict[str, Any]]:
    """Return a job file's text and what TOML makes of it; raise JobFileError."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_JOB_FILE_BYTES + 1)
    except OSError as error:
        reason = error.strerror or "it cannot be read"
        raise JobFileError(
            [Problem(f"{path}:", f"{reason}; name a job file with --file, or start from job.toml of the repository")]
        ) from None
    if len(content) > MAX_JOB_FILE_BYTES:
        raise JobFileError([Problem(f"{path}:", f"is larger than {MAX_JOB_FILE_BYTES} bytes, and so no job file")])
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise JobFileError([Problem(f"{path}:", "is UTF-16; save it as UTF-8")])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise JobFileError([Problem(f"{path}:", f"is not UTF-8 at byte {error.start}; save it as UTF-8")]) from None
    try:
        return text, tomllib.loads(text, parse_float=Written)
    except RecursionError:
        raise JobFileError([Problem(f"{path}:", "is not TOML that can be read: its brackets are too deep")]) from None
    except ValueError as error:  # TOMLDecodeError is one; so is a number with thousands of digits
        raise JobFileError([Problem(f"{path}:", f"is not TOML: {str(error).partition(';')[0]}")]) from None


def _set_default_region(
    tree: dict[str, Any],
    environ: Mapping[str, str],
    overrides: dict[str, str],
    default: str | None,
    *,
    may_read_profile: bool,
) -> None:
    """Set what AWS's own tools would take, below the file: their variables, then the profile."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        if environ.get(name):
            tree["region"] = environ[name]
            overrides["region"] = f"environment variable {name}"
            return
    if default is not None:
        tree["region"] = default
        overrides["region"] = "the default region"
    elif may_read_profile and (region := _region_of_profile()):
        tree["region"] = region
        overrides["region"] = f"profile {environ.get('AWS_PROFILE') or 'default'}"


def _region_of_profile() -> str | None:
    import botocore.session  # noqa: PLC0415 - only if nothing else names a region
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415

    try:
        region: str | None = botocore.session.Session().get_config_variable("region")
    except BotoCoreError as error:
        raise AwsError(f"cannot read the profile: {str(error).rstrip('. ')}") from None
    return region


def _from_environment(environ: Mapping[str, str], tree: Mapping[str, Any]) -> list[tuple[Parts, object, str]]:
    return [
        (parts_of_variable(name, tree), value, f"environment variable {name}")
        for name, value in sorted(environ.items())
        if name.startswith(PREFIX)
    ]


def _from_settings(settings: Mapping[str, object]) -> list[tuple[Parts, object, str]]:
    return [(key_parts(key), value, f"--set {key}") for key, value in settings.items()]


def _impossible(value: object, key: str) -> Iterator[tuple[str, str]]:
    """Yield key and message of what no request can have, though Python can."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _impossible(inner, f"{key}.{name}" if key else name)
    elif isinstance(value, list):
        for inner in value:
            yield from _impossible(inner, key)
    elif isinstance(value, int) and value not in _WHOLE_NUMBERS:
        yield key, "is beyond the whole numbers of 64 bits"
    elif isinstance(value, str) and not value.isascii() and value.encode(errors="ignore").decode() != value:
        yield key, "is not UTF-8"


def _validated(tree: dict[str, Any], source: Source) -> LoadedJob:
    try:
        job = LoadedJob.model_validate(tree)
    except ValidationError as error:
        raise JobFileError(describe(error, source), rest=_without_mistakes(tree, error, source)) from None
    job._source = source  # noqa: SLF001 - its own class's
    return job


def _without_mistakes(tree: dict[str, Any], error: ValidationError, source: Source) -> LoadedJob | None:
    """Return what a job would be without the keys that are wrong, so that the other mistakes can be found as well."""
    tree, uncertain = copy.deepcopy(tree), set[str]()
    for _ in range(4):
        for detail in error.errors(include_url=False, include_context=False, include_input=False):
            uncertain |= _mend(tree, detail)
        try:
            job = LoadedJob.model_validate(tree)
        except ValidationError as next_error:
            error = next_error
            continue
        job._source, job._uncertain = source, frozenset(uncertain)  # noqa: SLF001 - its own class's
        return job
    return None


def _mend(tree: dict[str, Any], detail: ErrorDetails) -> set[str]:
    """Take a wrong key out, or what it was most likely meant to be in; return the names that are in doubt then."""
    *parents, name = place(detail)
    if detail["type"] == "missing" and parents:
        *parents, name = parents  # the table around it
    table: Any = tree
    for part in parents:
        table = table[part]
    if detail["type"] == "missing" and name in _STAND_INS:
        table[name] = _STAND_INS[str(name)]
        return {str(name)}
    if not isinstance(table, dict):
        table.clear()
        return {str(part) for part in parents}
    value = table.pop(name, None)
    meant = nearest(str(name), known_keys(tuple(parents))) if detail["type"] == "extra_forbidden" else None
    if meant and meant not in table:
        table[meant] = value
    return set() if detail["type"] == "extra_forbidden" and meant is None else {meant or str(name)}
