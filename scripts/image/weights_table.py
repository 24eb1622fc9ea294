"""The pretrained weights that an image can be built with: the rows of weights.toml, or of a file of its form.

read_table()["distilbert-base-uncased"].revision
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from scripts.image.errors import ExitCode, ImageError

TABLE = Path(__file__).with_name("weights.toml")
DEFAULT = "minilm"
NEEDED = ("config.json", "model.safetensors", "tokenizer.json")
"""Without these files no job can use a folder of weights."""
SHA256_LABEL = "distilbert-trainer.weights.sha256"
"""The Dockerfile's label with the sum of the image's model.safetensors."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class KnownWeights:
    """A row of the table."""

    name: str
    licence: str
    repository: str = ""
    """On the hub: owner/name. Empty for the default, which comes from a package."""
    revision: str = ""
    """A commit, 40 hex digits."""
    sha256: str = ""
    """Of the default's model.safetensors; the others' is in `files`."""
    files: dict[str, str] = field(default_factory=dict)
    """File name -> SHA-256."""


def read_table(path: Path = TABLE) -> dict[str, KnownWeights]:
    """Return the known weights by the name that WEIGHTS takes; an ImageError names the row that is wrong."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ImageError(ExitCode.USAGE, f"{path}: {error}") from error
    return {name: _row(name, row, path) for name, row in document.items()}


def _row(name: str, row: object, path: Path) -> KnownWeights:
    def refuse(reason: str) -> ImageError:
        return ImageError(ExitCode.USAGE, f"{path}: [{name}] {reason}")

    if not isinstance(row, dict):
        raise refuse("is no table")
    texts = {key: value for key, value in row.items() if key != "files"}
    files = row.get("files", {})
    if not isinstance(files, dict) or not all(isinstance(text, str) for text in (*texts.values(), *files.values())):
        raise refuse("may hold text, and a table `files` of it")
    try:
        known = KnownWeights(**{"name": name, **texts}, files=files)
    except TypeError as error:
        raise refuse(f"does not have the keys it should: {error}") from None
    if not known.repository:
        return known
    if not re.fullmatch(r"[0-9a-f]{40}", known.revision):
        raise refuse(f"has the revision {known.revision!r}; write the commit's 40 hexadecimal digits")
    missing = [file for file in NEEDED if file not in files]
    if missing:
        raise refuse(f"lists no {', '.join(missing)} under `files`")
    for file, sha256 in files.items():
        if not _SHA256.fullmatch(sha256) or not re.fullmatch(r"\w[\w.-]*", file):
            raise refuse(f"has the file {file!r} with {sha256!r}; write a plain name and a SHA-256 in lower case")
    return known
