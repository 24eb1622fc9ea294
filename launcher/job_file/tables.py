"""Tables of a job file as text: `[hyperparameters]` written, and put into a file whose other lines stay as they are.

table = hyperparameters_table({"epochs": "3", "learning_rate": "3.1e-05"})
with_hyperparameters(Path("job.toml"), table)      # the file's text, without [tuning]
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from launcher.errors import JobFileError
from launcher.job_file.load import read

_HEADER = re.compile(r"\s*\[+\s*([A-Za-z_]+)")
_NUMBER = re.compile(r"[+-]?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")
_REPLACED = ("hyperparameters", "tuning")


def hyperparameters_table(values: Mapping[str, str]) -> str:
    """Return hyperparameters, which the API has as texts, as a table: numbers and booleans as such."""
    return "".join(["[hyperparameters]\n", *(f"{name} = {_toml(value)}\n" for name, value in values.items())])


def with_hyperparameters(path: Path, table: str) -> str:
    """Return a job file's text with another `[hyperparameters]` and without `[tuning]`; raise JobFileError."""
    text, tree = read(path)
    kept: list[str] = []
    remarks: list[str] = []  # above a table: they are that table's
    is_kept = True
    for line in text.splitlines(keepends=True):
        header = _HEADER.match(line)
        if header is None and line.lstrip().startswith("#"):
            remarks.append(line)
            continue
        is_kept = is_kept if header is None else header[1] not in _REPLACED
        kept += [*remarks, line] if is_kept else []
        remarks = []
    kept += remarks
    changed = "".join(kept).rstrip("\n") + "\n\n" + table
    wanted = {name: value for name, value in tree.items() if name not in _REPLACED} | tomllib.loads(table)
    try:
        is_right = tomllib.loads(changed) == wanted
    except tomllib.TOMLDecodeError:
        is_right = False
    if not is_right:
        where = " and ".join(f"[{name}]" for name in _REPLACED)
        raise JobFileError.of(str(path), f"has {where} in another form than tables of their own; write them as such")
    return changed


def _toml(value: str) -> str:
    if value.lower() in ("true", "false"):
        return value.lower()
    return value if _NUMBER.fullmatch(value) else json.dumps(value, ensure_ascii=False)
