"""SageMaker's three config files, read and checked; defaults where a bare `docker run` brings none.

    configuration = read_configuration(ROOT)
    configuration.hyperparameters, configuration.input_data, configuration.resources

What passes here, the toolkit can start training with: what it would fail on, with a traceback, is refused here with the
file, the key and what to change.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from failure import ContainerError, ExitCode

HYPERPARAMETERS = "hyperparameters.json"
INPUT_DATA_CONFIG = "inputdataconfig.json"
RESOURCE_CONFIG = "resourceconfig.json"

_STEERING = "sagemaker_"
"""Hyperparameters that begin so are SageMaker's SDK talking to the toolkit: another program, a download, MPI."""

_OTHER_PROGRAM = frozenset({"sagemaker_program", "sagemaker_submit_directory"})

_LONGEST_FILE = 20_000
"""Characters of a config file, as ASCII. The toolkit puts all three, parts of them twice, into one environment
variable, and Linux takes 131,072 bytes of that."""

_CHANNEL_NAME = re.compile(r"[A-Za-z0-9.\-_]{1,64}")  # CreateTrainingJob, ChannelName


@dataclass(frozen=True)
class Configuration:
    """What SageMaker says about a job, checked, with defaults for the files that are missing."""

    hyperparameters: Mapping[str, str | float | bool]
    input_data: Mapping[str, Mapping[str, Any]]
    """Channel name -> its entry in inputdataconfig.json."""
    resources: Mapping[str, Any]
    notes: tuple[str, ...]
    """A sentence for each file that was missing, what stands in for it, and for what is not used."""

    @property
    def hosts(self) -> list[str]:
        """All hosts of the job."""
        return list(self.resources["hosts"])


def read_configuration(root: Path) -> Configuration:
    """Read <root>/input/config; raise ContainerError that names file, key and value."""
    folder = root / "input" / "config"
    hyperparameters = _read_object(folder / HYPERPARAMETERS)
    input_data = _read_object(folder / INPUT_DATA_CONFIG)
    resources = _read_object(folder / RESOURCE_CONFIG)
    notes = []
    if hyperparameters is None:
        hyperparameters = {}
        notes.append(f"no {HYPERPARAMETERS}: every hyperparameter has its default")
    if input_data is None:
        input_data = {name: {} for name in _channel_folders(root)}
        notes.append(f"no {INPUT_DATA_CONFIG}: the channels are {', '.join(input_data) or 'none'}")
    if resources is None:
        resources = {"current_host": "algo-1", "hosts": ["algo-1"]}
        notes.append(f"no {RESOURCE_CONFIG}: one host, algo-1")
    if hyperparameters.keys() & _OTHER_PROGRAM:
        notes.append(f"{HYPERPARAMETERS} names a program to run: not used, this image trains with its own")
    hyperparameters = {name: value for name, value in hyperparameters.items() if not name.startswith(_STEERING)}
    _check_hyperparameters(hyperparameters, folder / HYPERPARAMETERS)
    _check_input_data(input_data, folder / INPUT_DATA_CONFIG)
    _check_resources(resources, folder / RESOURCE_CONFIG)
    return Configuration(hyperparameters, input_data, resources, tuple(notes))


def _read_object(file: Path) -> dict[str, Any] | None:
    """Read a JSON object, None if there is no such file."""
    try:
        content = json.loads(file.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ContainerError(
            ExitCode.CONFIGURATION,
            f"{file} cannot be read by user {os.getuid()}: {error.strerror}. Make it a readable file.",
        ) from None
    except (ValueError, RecursionError) as error:
        detail = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ContainerError(
            ExitCode.CONFIGURATION, f"{file} is not JSON: {detail}. Correct it, or leave it out to use the defaults."
        ) from None
    if not isinstance(content, dict):
        raise ContainerError(
            ExitCode.CONFIGURATION,
            f'{file} holds {_kind(content)}; a JSON object is needed, such as {{"name": "value"}}.',
        )
    size = len(json.dumps(content))
    if size > _LONGEST_FILE:
        raise ContainerError(
            ExitCode.CONFIGURATION,
            f"{file} is {size:,} characters long; a program can be passed {_LONGEST_FILE:,}. Shorten or remove values.",
        )
    return content


def _channel_folders(root: Path) -> list[str]:
    data = root / "input" / "data"
    return sorted(folder.name for folder in data.glob("*") if folder.is_dir() and _is_channel_name(folder.name))


def _is_channel_name(name: str) -> bool:
    return _CHANNEL_NAME.fullmatch(name) is not None and not name.startswith(".")


def _check_hyperparameters(hyperparameters: Mapping[str, Any], file: Path) -> None:
    for name, value in hyperparameters.items():
        if not isinstance(value, str | int | float):  # bool is an int
            raise ContainerError(
                ExitCode.CONFIGURATION,
                f"{file}: {name} is {_kind(value)}; a text, a number or true/false is needed. "
                "SageMaker sends every hyperparameter as a text.",
            )
        if "=" in name or not _can_be_passed(name) or not _can_be_passed(_argument(value)):
            raise ContainerError(
                ExitCode.HYPERPARAMETER,
                f"{file}: hyperparameter {name[:80]!r} (value {str(value)[:80]!r}) cannot be passed to a program. "
                "Remove what is not a letter, digit or punctuation, and '=' from names.",
            )


def _argument(value: str | float) -> str:
    """Return what the toolkit makes of a value: it decodes JSON where it can."""
    try:
        decoded = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return str(value)
    except RecursionError:
        return "\0"  # the toolkit would break on it, as on a text that no argument can hold
    return ",".join(f"{key}={item}" for key, item in decoded.items()) if isinstance(decoded, dict) else str(decoded)


def _can_be_passed(text: str) -> bool:
    """Return whether a text can be an argument or an environment variable."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _check_input_data(input_data: Mapping[str, Any], file: Path) -> None:
    for name, entry in input_data.items():
        if not _is_channel_name(name):
            raise ContainerError(
                ExitCode.CONFIGURATION,
                f"{file}: {name[:80]!r} is not a channel's name; up to 64 letters, digits, '.', '-' and '_' are.",
            )
        if not isinstance(entry, dict):
            raise ContainerError(
                ExitCode.CONFIGURATION,
                f"{file}: channel {name} is {_kind(entry)}; a JSON object is needed, {{}} if there is nothing to say.",
            )


def _check_resources(resources: Mapping[str, Any], file: Path) -> None:
    def require(condition: object, problem: str) -> None:
        if not condition:
            raise ContainerError(ExitCode.CONFIGURATION, f"{file}: {problem}.")

    hosts, current_host = resources.get("hosts"), resources.get("current_host")
    require(_is_list_of_names(hosts), 'hosts must be a list of host names, such as ["algo-1"]')
    require(
        isinstance(hosts, list) and current_host in hosts,
        f"current_host ({repr(current_host)[:80]}) must be one of hosts",
    )
    for key in ("current_instance_type", "current_group_name", "network_interface_name"):
        require(_is_name(resources.get(key, "default")), f"{key} must be a text")
    groups = resources.get("instance_groups", [])
    require(isinstance(groups, list), "instance_groups must be a list")
    for group in groups:
        named = isinstance(group, dict) and _is_name(group.get("instance_group_name"))
        require(
            named and _is_list_of_names(group.get("hosts")),
            "each of instance_groups must have an instance_group_name and a list of hosts",
        )


def _is_list_of_names(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(_is_name(item) for item in value)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value) and _can_be_passed(value)


def _kind(value: object) -> str:
    """Return what a JSON value is, in JSON's words."""
    if value is None:
        return "null"
    kinds: dict[type, str] = {bool: "true or false", int: "a number", float: "a number", str: "a text", list: "a list"}
    return kinds.get(type(value), "an object")
