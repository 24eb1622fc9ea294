"""SageMaker's config files, /opt/ml/input/config/*.json: each holds a JSON object, or is a user error with a sentence.

config = read_object(contract.config_dir / "checkpointconfig.json")      # None: the job has none
folder = local_path(config, path)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from star_rating.failures import ConfigurationError, quote

LONGEST_PATH = 255
"""Bytes: what any file system takes for one name."""


def read_object(path: Path) -> dict[str, Any] | None:
    """Return the object, None if there is no such file; raise ConfigurationError for anything else in its place."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}. Make it a readable file.") from None
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path} is not JSON ({error}). SageMaker writes it; restore or remove it.") from None
    if not isinstance(value, dict):
        raise ConfigurationError(f"{path} holds no JSON object. SageMaker writes it; restore or remove it.")
    return value


def local_path(config: Mapping[str, Any], path: Path) -> Path | None:
    """Return a config's LocalPath, None if it has none; `path` is where the config was read."""
    value = config.get("LocalPath")
    if value is None or value == "":
        return None
    if not (is_path(value) and value.startswith("/")):
        raise ConfigurationError(f"{path}: LocalPath is {quote(value)}; a folder of the container is needed, from /.")
    return Path(value)


def is_path(value: object) -> bool:
    """Return whether a value can be the name of a file or folder."""
    return isinstance(value, str) and value.isprintable() and len(value.encode()) <= LONGEST_PATH
